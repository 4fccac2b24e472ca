// The score axis: where each photograph lies on it, a sample in equal steps, and the density of photographs. Nothing here touches the page.
//
// AtlasAxis(images) takes the columns of data/images.js, photographs in ascending severity, and returns
//   part(row)                       the share 0..1 of the axis below a photograph's score
//   sample(rows, into, seed)        one of `rows` drawn at random from each of `into` equal steps of the axis that holds any
//   place(rows, row)                the place among ascending `rows` nearest to a photograph that may not be among them
//   scored(rows, score, forwards)   the place of the first photograph at or above a score, or else of the last at or below it
//   BINS, binOf(row), smooth(bins)  counts along the axis, smoothed by a Gaussian of three bins
"use strict";
window.AtlasAxis = (images) => {
  const { lowest, highest } = images.scale;
  const part = (row) => Math.min(1, Math.max(0, (images.severity[row] - lowest) / (highest - lowest)));
  const stepOf = (row, steps) => Math.min(steps - 1, Math.floor(part(row) * steps));
  const binOf = (row) => stepOf(row, BINS);
  const first = (rows, passed) => { // the place of the first row that is not passed, by bisection
    let [low, high] = [0, rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (passed(rows[middle])) low = middle + 1; else high = middle;
    }
    return low;
  };

  // 0..1, the same for the same seed and step: what is filtered out of one step moves no other.
  const random = (seed, step) => {
    let x = (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(step + 1, 0x85ebca6b)) >>> 0;
    for (const [shift, factor] of [[16, 0x21f0aaad], [15, 0x735a2d97]]) x = Math.imul(x ^ (x >>> shift), factor) >>> 0;
    return ((x ^ (x >>> 15)) >>> 0) / 2 ** 32;
  };
  const sample = (rows, into, seed) => {
    const held = Array.from({ length: into }, () => []);
    for (const row of rows) held[stepOf(row, into)].push(row);
    return held.flatMap((those, step) => (those.length ? [those[Math.floor(random(seed, step) * those.length)]] : []));
  };
  const place = (rows, row) => Math.min(first(rows, (one) => one < row), rows.length - 1);
  const scored = (rows, score, forwards) => {
    const found = first(rows, (one) => (forwards ? images.severity[one] < score : images.severity[one] <= score));
    return Math.max(0, Math.min(rows.length - 1, forwards ? found : found - 1));
  };

  const BINS = 200;
  const smooth = (bins) => {
    const width = 3;
    const kernel = Array.from({ length: 6 * width + 1 }, (_, k) => Math.exp(-0.5 * ((k - 3 * width) / width) ** 2));
    const sum = kernel.reduce((a, b) => a + b);
    // mass that would fall off an end is laid back onto the scale
    const inside = (k) => (k < 0 ? -k - 1 : k >= BINS ? 2 * BINS - k - 1 : k);
    const out = new Float64Array(BINS);
    bins.forEach((mass, at) => { if (mass) kernel.forEach((weight, k) => { out[inside(at + k - 3 * width)] += (mass * weight) / sum; }); });
    return out;
  };

  return { BINS, part, binOf, sample, place, scored, smooth };
};
