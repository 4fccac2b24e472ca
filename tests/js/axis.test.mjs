import assert from "node:assert/strict";
import { test } from "node:test";
import { load, numbers, plain } from "./load.mjs";

const { AtlasAxis } = load(["axis"]);
const draw = numbers(3);
const severity = Array.from({ length: 300 }, () => draw(4001) / 1000).sort((a, b) => a - b);
const axis = AtlasAxis({ severity, scale: { lowest: 0, highest: 4 } });
const all = [...severity.keys()];

test("a sample has one photograph from each step that holds any", () => {
  for (const into of [1, 10, 40, 160]) {
    const step = (row) => Math.min(into - 1, Math.floor((severity[row] / 4) * into));
    const rows = axis.sample(all, into, 5);
    assert.equal(new Set(rows.map(step)).size, rows.length);
    assert.deepEqual(plain(rows.map(step)), [...new Set(all.map(step))]);
  }
});

test("a seed gives the same sample again, and another seed another", () => {
  assert.deepEqual(axis.sample(all, 40, 5), axis.sample(all, 40, 5));
  assert.notDeepEqual(axis.sample(all, 40, 5), axis.sample(all, 40, 6));
});

test("a filter changes the sample only in the steps from which it takes photographs", () => {
  const kept = all.filter((row) => severity[row] >= 2);
  assert.deepEqual(plain(axis.sample(kept, 40, 9)), plain(axis.sample(all, 40, 9)).filter((row) => severity[row] >= 2));
});

test("a place on the strip is that of a plain search", () => {
  const rows = all.filter((row) => row % 3 === 1);
  for (const row of all) assert.equal(axis.place(rows, row), Math.min(rows.length - 1, rows.filter((one) => one < row).length));
  for (const score of [-1, 0, 0.7, 2, 3.999, 5]) {
    const above = rows.findIndex((row) => severity[row] >= score), below = rows.findLastIndex((row) => severity[row] <= score);
    assert.equal(axis.scored(rows, score, true), above < 0 ? rows.length - 1 : above);
    assert.equal(axis.scored(rows, score, false), Math.max(0, below));
  }
});

test("smoothing moves photographs along the axis and loses none", () => {
  for (const filled of [[0], [axis.BINS - 1], [0, 57, 58, 199]]) {
    const bins = new Float64Array(axis.BINS);
    for (const bin of filled) bins[bin] += 1;
    const smooth = [...axis.smooth(bins)];
    assert.ok(Math.abs(smooth.reduce((a, b) => a + b) - filled.length) < 1e-9);
    assert.ok(smooth.every((value) => value >= 0));
  }
});
