import assert from "node:assert/strict";
import { test } from "node:test";
import { load, plain } from "./load.mjs";

const { AtlasDeck, AtlasQuizWords, Atlas } = load(["deck", "quiz-words"]);
const STAGES = ["normal", "mild", "severe"].map((name, number) => ({ number, name, count: 2, colour: "#000000" }));
const deck = { id: [], retinas: [[1, 15]], shape: [4, 4], window: 1, grid: 10, scale: { lowest: 0, highest: 2 }, stages: STAGES };
const rules = AtlasDeck(deck), words = AtlasQuizWords(deck, Atlas);
const retina = 0; // the first cell is outside the image area

test("kappa is 1 for equal grades, 0 for grades by chance, negative for opposite ones", () => {
  assert.equal(rules.kappa([[0, 0], [1, 1], [2, 2]]), 1);
  assert.equal(rules.kappa([[0, 0], [0, 2], [2, 0], [2, 2]]), 0);
  assert.equal(rules.kappa([[0, 2], [2, 0]]), -1);
  assert.ok(Number.isNaN(rules.kappa([[1, 1], [1, 1]])));
});

test("a mark should lie on outlined lesions, else on the strongest places of the map", () => {
  const outlined = rules.target({ lesions: { exudate: [0, 99] }, strongest: [1, 2] });
  assert.equal(outlined.kind, "lesions");
  assert.deepEqual(plain(outlined.areas), [{ kind: "exudate", left: 0, top: 0, right: 0.1, bottom: 0.1 }, { kind: "exudate", left: 0.9, top: 0.9, right: 1, bottom: 1 }]);
  assert.deepEqual(plain(rules.target({ lesions: null, strongest: [1, 2] })), { kind: "cells", areas: [[1, 0], [2, 0]].map(([column, row]) => (
    { kind: "", left: column / 4, top: row / 4, right: (column + 1) / 4, bottom: (row + 1) / 4 })) });
  assert.equal(rules.target({ lesions: null, strongest: [] }), null);
});

test("a circle touches an area when its middle is no farther from it than its radius", () => {
  const area = { kind: "", left: 0.4, top: 0.4, right: 0.6, bottom: 0.6 };
  for (const [mark, hit] of [[{ x: 0.5, y: 0.5, r: 0.01 }, true], [{ x: 0.7, y: 0.5, r: 0.11 }, true], [{ x: 0.7, y: 0.5, r: 0.09 }, false], [{ x: 0.7, y: 0.7, r: 0.11 }, false]]) {
    assert.equal(rules.touched(mark, [area]).length > 0, hit);
  }
});

test("chance is the share of places at which a mark would hit", () => {
  const half = [{ kind: "", left: 0, top: 0, right: 0.5, bottom: 1 }];
  assert.equal(rules.chance({ r: 1e-6 }, { retina: null }, half), 0.5);
  assert.equal(rules.chance({ r: 2 }, { retina }, half), 1);
  assert.equal(rules.chance({ r: 1e-6 }, { retina: null }, []), 0);
  const first = [{ kind: "", left: 0, top: 0, right: 0.25, bottom: 0.25 }];
  assert.equal(rules.chance({ r: 1e-6 }, { retina }, first), 0, "a place off the retina is never tried");
});

const judged = (human, own, score, hit = null, chance = null, kind = "lesions") => (
  { answer: { grade: human, score, read: Math.min(2, Math.round(score)) }, own: { grade: own, mark: hit === null ? null : {} }, target: { kind }, hit, chance, kinds: [] });

test("a result sums up what was judged", () => {
  const all = [judged(0, 0, 0.2), judged(1, 2, 1.4, true, 0.25), judged(2, 2, 3.9, false, 0.05, "cells"), judged(2, 0, 1.6)];
  const { kappa, scorer, chance, ...rest } = plain(rules.result(all));
  assert.deepEqual(rest, { same: 2, near: 3, marks: 2, onLesions: 1, hit: 0.5 });
  assert.ok(Math.abs(chance - 0.15) < 1e-12);
  assert.equal(kappa, rules.kappa([[0, 0], [1, 2], [2, 2], [2, 0]]));
  assert.equal(scorer, 1);
  assert.ok(Number.isNaN(rules.result([judged(1, 1, 1)]).hit));
});

test("what an address asks is made possible, and written back as it is", () => {
  assert.deepEqual(plain(rules.wanted({})), { seed: "", n: 6, stages: [0, 1, 2], all: true });
  assert.deepEqual(plain(rules.wanted({ seed: 7, n: "99", stages: "2,0,8" })), { seed: "7", n: 4, stages: [0, 2], all: false });
  assert.deepEqual(plain(rules.wanted({ n: "-3", stages: "," })), { seed: "", n: 1, stages: [0, 1, 2], all: true });
  for (const asked of [{ seed: "a", n: 3, stages: "1" }, { seed: "b", n: 6 }]) {
    const wanted = rules.wanted(asked);
    assert.deepEqual(rules.wanted(rules.address(wanted)), wanted);
  }
});

test("the sentences name both grades and how far they are apart", () => {
  assert.equal(words.agreement(judged(1, 1, 1)), "You agree with the grade of this photograph: 1 (mild).");
  assert.equal(words.agreement(judged(0, 1, 1)), "Your grade: 1 (mild). Grade of this photograph: 0 (normal). Yours is 1 grade too severe.");
  assert.equal(words.agreement(judged(2, 0, 1)), "Your grade: 0 (normal). Grade of this photograph: 2 (severe). Yours is 2 grades too mild.");
});

test("the sentences tell whether the mark hit, and how easily it would have", () => {
  const found = { ...judged(2, 2, 2, true, 0.123), kinds: ["exudate", "haemorrhage"] };
  assert.equal(words.region(found), "Your mark touches an outlined lesion: exudate and haemorrhage. A mark of this size, placed at random on the image area, would hit 12% of the time.");
  assert.match(words.region(judged(2, 2, 2, false, 0.5, "cells")), /^Your mark does not touch the strongest places of the map\./);
  assert.match(words.region(judged(2, 2, 2)), /^You marked nothing\. The outlines show/);
  assert.match(words.region({ ...judged(0, 0, 0), target: null }), /^In a photograph of the lowest grade/);
  assert.match(words.region({ ...judged(1, 0, 0), target: null }), /^Nothing shows where to look/);
});

test("the places of marks are those of a grid of three by three", () => {
  const at = [0.1, 0.5, 0.9];
  assert.deepEqual(at.map((y) => at.map((x) => words.place({ x, y }))), [["upper left", "top", "upper right"], ["left", "centre", "right"], ["lower left", "bottom", "lower right"]]);
});
