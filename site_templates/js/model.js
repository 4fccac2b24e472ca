// The head of a scorer, as far as a page needs it: the exact score of a photograph without some of its cells. Nothing here touches the page.
//
// AtlasModel(cells) takes an entry of window.ATLAS_CELLS and returns {rows, columns, places, whole, without}: `places` are the
// row-major numbers of the cells in the image area, `whole` is the score, and without(hidden) the score without the cells of a set of
// numbers.
"use strict";
window.AtlasModel = (() => {
  // The 24-bit whole numbers of a part, times the step of each hidden unit.
  const numbers = ({ sums, step }) => {
    const bytes = atob(sums);
    const found = new Float64Array(bytes.length / 3);
    for (let k = 0; k < found.length; k++) {
      const low = bytes.charCodeAt(3 * k) | (bytes.charCodeAt(3 * k + 1) << 8);
      found[k] = (low | ((bytes.charCodeAt(3 * k + 2) << 24) >> 8)) * step[k % step.length];
    }
    return found;
  };

  // For each of `cells` that divide a length, which of `coarse` ones that divide it too it lies in, and with what share of those.
  const overlaps = (coarse, cells) => Array.from({ length: cells }, (_, at) => {
    const found = [];
    for (let one = 0; one < coarse; one++) {
      const share = Math.min((at + 1) * coarse / cells, one + 1) - Math.max(at * coarse / cells, one);
      if (share > 1e-9) found.push([one, share]);
    }
    return found;
  });

  // What each cell adds to each hidden unit: `units` numbers for one cell after the other.
  const added = (live) => {
    const [rows, columns] = live.shape;
    const units = live.whole.length;
    const sums = new Float64Array(live.cells.length * units);
    let first = 0;
    for (const part of live.parts) {
      const own = numbers(part);
      const width = part.step.length;
      const column = part.units ?? part.step.map((_, k) => k); // of each unit, in `own`
      const add = (place, from, share) => {
        for (let k = 0; k < column.length; k++) sums[place * units + first + k] += share * own[from * width + column[k]];
      };
      if (part.shape[0] === rows && part.shape[1] === columns) live.cells.forEach((cell, place) => add(place, place, 1));
      else {
        const down = overlaps(part.shape[0], rows), across = overlaps(part.shape[1], columns);
        live.cells.forEach((cell, place) => {
          for (const [row, height] of down[Math.floor(cell / columns)]) {
            for (const [along, breadth] of across[cell % columns]) add(place, row * part.shape[1] + along, height * breadth);
          }
        });
      }
      first += column.length;
    }
    return sums;
  };

  return ({ live, scale }) => {
    const [rows, columns] = live.shape;
    const units = live.whole.length;
    let sums = null; // until something is hidden: most readers only look
    const score = (z) => {
      let logit = live.bias;
      for (let k = 0; k < units; k++) if (z[k] > 0) logit += live.weight[k] * z[k];
      return scale.lowest + scale.span / (1 + Math.exp(-logit));
    };
    const without = (left) => {
      sums ??= added(live);
      const z = Float64Array.from(live.whole);
      live.cells.forEach((cell, place) => {
        if (!left.has(cell)) return;
        for (let k = 0; k < units; k++) z[k] -= sums[place * units + k];
      });
      return score(z);
    };
    return { rows, columns, places: live.cells, whole: score(live.whole), without };
  };
})();
