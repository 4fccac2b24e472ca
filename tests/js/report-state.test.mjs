import assert from "node:assert/strict";
import { test } from "node:test";
import { load, numbers, plain } from "./load.mjs";

const { writeCells, readCells, writeView, readView } = load(["report-state"]).AtlasReportState;

test("any set of cells is read back from the address as it was, and runs are short", () => {
  const draw = numbers(3);
  for (let k = 0; k < 200; k++) {
    const cells = new Set(Array.from({ length: draw(60) }, () => draw(144)));
    assert.deepEqual([...plain(readCells(writeCells(cells), 144))], [...cells].sort((a, b) => a - b));
  }
  assert.equal(writeCells(new Set()), "");
  assert.equal(writeCells(new Set([9, 4, 3, 5])), "3-5.9");
});

test("what cannot be read hides nothing, and cells beyond the grid are left out", () => {
  for (const text of [undefined, "", "x", "3-", "-3", "5-3", "1e3", "3--5"]) assert.equal(readCells(text, 100).size, 0);
  assert.deepEqual([...plain(readCells("98-999999.7", 100))], [98, 99, 7]);
});

test("a view is read back to a ten-thousandth of the plate, and the whole plate is not written", () => {
  assert.equal(writeView({ x: 0.5, y: 0.5, scale: 1 }), "");
  assert.deepEqual(plain(readView(writeView({ x: 0.25, y: 1 / 3, scale: 2.25 }))), { x: 0.25, y: 0.3333, scale: 2.25 });
  for (const text of [undefined, "", "1,2", "a,b,c", "2,0.5,3", "0.5,0.5,0"]) assert.deepEqual(plain(readView(text)), { x: 0.5, y: 0.5, scale: 1 });
});
