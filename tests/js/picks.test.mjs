import assert from "node:assert/strict";
import { test } from "node:test";
import { load, numbers, plain } from "./load.mjs";

const { AtlasPicks } = load(["picks"]);
const { MOST, toggled, moved, keep, kept, write, read, image, isPatch, columns } = AtlasPicks;
const pick = (k) => ({ key: k % 2 ? `00000000000000${10 + k}-0${k}02w2` : `00000000000000${10 + k}`, plate: k + 1 });
const full = Array.from({ length: MOST }, (_, k) => pick(k));

test("a picture is added at the end, and taken out by the same act", () => {
  let picks = [];
  for (const one of full) {
    const { picks: next, done } = toggled(picks, one);
    assert.equal(done, "added");
    assert.deepEqual(plain(next), [...plain(picks), one]);
    picks = next;
  }
  const { picks: fewer, done } = toggled(picks, full[2]);
  assert.equal(done, "removed");
  assert.deepEqual(plain(fewer), full.filter((_, k) => k !== 2));
});

test("the seventh is refused and nothing is lost", () => {
  const { picks, done } = toggled(full, pick(7));
  assert.equal(done, "full");
  assert.deepEqual(plain(picks), full);
});

test("moves keep every picture and stay within the list", () => {
  const draw = numbers(3);
  let picks = full;
  for (let k = 0; k < 200; k += 1) {
    const { key } = picks[draw(MOST)], by = draw(7) - 3, from = picks.findIndex((one) => one.key === key);
    picks = moved(picks, key, by);
    assert.equal(picks.findIndex((one) => one.key === key), Math.min(MOST - 1, Math.max(0, from + by)));
    assert.deepEqual(plain(picks).map((one) => one.key).sort(), full.map((one) => one.key).sort());
  }
});

test("what the browser keeps and what an address holds come back", () => {
  for (let n = 0; n <= MOST; n += 1) {
    const picks = full.slice(0, n);
    assert.deepEqual(plain(kept(keep(picks))), picks);
    assert.deepEqual(plain(read(write(picks))), picks.map(({ key }) => key));
  }
});

test("what cannot be read is left out", () => {
  for (const text of [null, undefined, "", "{", "7", "null", '{"a":1}', "[1,[2],[null]]"]) assert.deepEqual(plain(kept(text)), []);
  assert.deepEqual(plain(kept('[["a b",1],["../x",2],["ab12","<b>"]]')), [{ key: "ab12", plate: 0 }]);
  assert.deepEqual(plain(read("ab12,ab12,<script>,,../x,cd34-0102w1")), ["ab12", "cd34-0102w1"]);
  assert.equal(read(Array.from({ length: 20 }, (_, k) => `k${k}`).join(",")).length, MOST);
});

test("a patch leads to its photograph", () => {
  assert.equal(image("00ac889374d0d638-0404w1"), "00ac889374d0d638");
  assert.deepEqual([isPatch("00ac889374d0d638-0404w1"), isPatch("00ac889374d0d638")], [true, false]);
});

test("two to six lie in even rows", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 6].map(columns), [1, 2, 3, 2, 3, 3]);
});
