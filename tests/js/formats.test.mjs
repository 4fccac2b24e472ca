import assert from "node:assert/strict";
import { test } from "node:test";
import { load, plain } from "./load.mjs";

const { AtlasFormats } = load([]);
const english = AtlasFormats("en"), german = AtlasFormats("de");

test("a number has a true minus sign, never a negative zero, and a dash where it is missing", () => {
  assert.equal(english.number(-1.5, 1), "−1.5");
  assert.equal(english.number(-0.004), "0.00");
  for (const missing of [null, undefined, NaN, Infinity]) assert.equal(english.number(missing), "–");
  assert.equal(english.signed(0.25), "+0.25");
  assert.equal(english.signed(-2), "−2.00");
  assert.equal(english.signed(-0.001), "0.00");
});

test("a change is seen where two decimals show it", () => {
  assert.deepEqual([0, 0.004, -0.004, 0.006, -0.01].map(english.seen), [false, false, false, true, true]);
});

test("a number is written as its language writes it", () => {
  assert.equal(english.number(1234.5), "1234.50");
  assert.equal(german.number(-1234.5), "−1234,50");
  assert.equal(english.count(1234567), "1,234,567");
  assert.equal(AtlasFormats("es").count(1234), "1.234");
  assert.equal(english.percent(0.95), "95%");
  assert.equal(german.percent(0.5), "50\u00a0%");
  assert.equal(english.list(["a", "b", "c"]), "a, b and c");
  assert.equal(german.list(["a", "b", "c"]), "a, b und c");
});

test("small values keep digits that are not zero", () => {
  assert.equal(english.fine(0.00123), "+0.0012");
  assert.equal(english.fine(-3.21), "−3.21");
  assert.equal(english.size(-0.00123), "0.0012");
  assert.equal(english.fine(0), "0.00");
  assert.equal(english.percent(0.012), "1.2%");
  assert.equal(english.percent(0.0996), "10%");
  assert.equal(english.percent(0), "0%");
});

test("a photograph is described with whose grade it is", () => {
  const grade = { number: 2, name: "moderate" }, drawn = AtlasFormats("en", { drawn: true });
  assert.equal(english.plate(1233, 1.5, grade), "Plate 1,234. Score: 1.50. Human grade: 2 (moderate).");
  assert.equal(drawn.plate(0, 1.5, grade), "Plate 1. Score: 1.50. Drawn as grade 2 (moderate).");
  assert.equal(english.plate(0, 1.5, undefined), "Plate 1. Score: 1.50. No human grade.");
  assert.deepEqual([english.graded(grade), drawn.graded(grade)], ["Human grade: 2 (moderate).", "Drawn as grade 2 (moderate)."]);
});

test("an address gives back what was written into it", () => {
  const { readAddress, writeAddress } = english;
  for (const pairs of [{}, { a: "1", b: "x=y&z", words: "50 % & more = a+b # ümlaut, 糖" }, { view: "12,-3,1.5" }]) {
    assert.deepEqual(plain(readAddress(`#${writeAddress(pairs)}`)), pairs);
  }
  assert.equal(writeAddress({ view: "1,2", text: "two words" }), "view=1,2&text=two+words");
});

test("an address that somebody typed is read as far as it means anything", () => {
  const { readAddress } = english;
  assert.deepEqual(plain(readAddress("")), {});
  assert.deepEqual(plain(readAddress("#main")), {});
  assert.deepEqual(plain(readAddress("#a=%zz&=x&b=1=2")), { a: "%zz", b: "1=2" });
});

test("a table holds text as text", () => {
  assert.equal(english.csv([["a", "b"], ["=SUM(A1)", -1.5], ['say "so", twice', null], ["-2", "line\nbreak"]]),
    'a,b\r\n\'=SUM(A1),-1.5\r\n"say ""so"", twice",\r\n-2,"line\nbreak"\r\n');
});
