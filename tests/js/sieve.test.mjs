import assert from "node:assert/strict";
import { test } from "node:test";
import { load, numbers, plain } from "./load.mjs";

const { AtlasSieve, AtlasOrder, AtlasDiffer, AtlasMeaning } = load(["meaning", "sieve"]);

const MANY = 400;
const draw = numbers(7);
const some = (make) => Array.from({ length: MANY }, make);
const counts = () => some(() => [null, 0, 0, 1, 4][draw(5)]);
const KINDS = ["microaneurysm", "haemorrhage", "exudate"];
const images = {
  id: some((_, k) => `${k.toString(16).padStart(3, "0")}${"0".repeat(13)}`),
  severity: some((_, k) => (4 * k) / MANY),
  grade: some(() => [null, 0, 1, 2][draw(4)]), eye: some(() => [null, "left", "right"][draw(3)]), trust: some(() => [null, "high", "low"][draw(3)]), quality: some(() => [null, "good", "usable", "poor"][draw(4)]),
  difference: some(() => [null, -3, -2, -1, 0, 1, 2][draw(7)]),
  clusters: some(() => [1, 2, 3].filter(() => draw(2))), flagged: some(() => draw(2)), unsure: some(() => draw(2)),
  note: some((_, k) => ["", "", "A quiet disc", `Ward ${k}`][draw(4)]), looked: some(() => 1),
  lesions: KINDS.map((key) => ({ key, counts: counts() })),
};
for (const kind of images.lesions) kind.places = kind.counts.map((count) => (count === null ? null : count && 1 + draw(7)));

// The same by the plain meaning of each filter.
const has = (row, kind, place) => (place === null ? kind.counts[row] : (kind.places[row] ?? 0) & (1 << place)) > 0;
const known = (row, place) => place === null || images.lesions.some((kind) => kind.places[row] !== null);
const fits = (row, { grades, eyes, trusts, qualities, low = null, high = null, differ = null, cluster = null, unsure, noted, text = "", lesions = new Set(), place = null }) => {
  const among = (set, value) => !set || set.has(value === null ? "none" : String(value));
  const gap = images.difference[row];
  const any = images.lesions.some((kind) => has(row, kind, place));
  return among(grades, images.grade[row]) && among(eyes, images.eye[row]) && among(trusts, images.trust[row]) && among(qualities, images.quality[row])
    && (low === null || images.severity[row] >= low) && (high === null || images.severity[row] <= high)
    && (differ === null || differ === "" || (gap !== null && Math.abs(gap) >= differ))
    && (cluster === null || images.clusters[row].includes(cluster))
    && (!unsure || images.unsure[row] === 1) && (!noted || images.note[row] !== "")
    && text.toLowerCase().split(" ").every((word) => images.note[row].toLowerCase().includes(word))
    && [...lesions].every((key) => (key === "none" ? !any && known(row, place) : has(row, images.lesions.find((kind) => kind.key === key), place)))
    && (place === null || lesions.size > 0 || any);
};
const FILTERS = [
  {}, { grades: new Set(["1", "none"]) }, { grades: new Set() }, { eyes: new Set(["left"]), low: 1, high: 3 }, { trusts: new Set(["high"]), differ: 1 }, { differ: "2" }, { qualities: new Set(["good", "none"]), grades: new Set(["1", "2"]) }, { differ: 3, grades: new Set(["0"]) }, { differ: "" },
  { cluster: 2, differ: 2 }, { unsure: true, noted: true }, { text: "quiet disc" }, { lesions: new Set(["haemorrhage", "exudate"]) },
  { lesions: new Set(["none"]) }, { place: 1 }, { place: 2, lesions: new Set(["microaneurysm"]) }, { place: 0, lesions: new Set(["none"]) },
  { lesions: new Set(["none", "exudate"]) }, { grades: new Set(["2"]), eyes: new Set(["right", "none"]), cluster: 1, text: "ward", low: 0.5 },
];

const mask = (text) => (text ? AtlasMeaning(images).search(text)?.mask : null);
const searched = ({ text, ...filters }) => ({ ...filters, mask: mask(text) });

test("the photographs that match are those of a plain search", () => {
  const sieve = AtlasSieve(images);
  for (const filters of FILTERS) {
    assert.deepEqual(plain(sieve(searched(filters)).rows), [...images.id.keys()].filter((row) => fits(row, filters)), JSON.stringify(filters));
  }
});

test("each number tells how many photographs that choice would leave", () => {
  const sieve = AtlasSieve(images);
  for (const filters of FILTERS) {
    const { counts: tallies, rows } = sieve(searched(filters));
    for (const [name, values] of Object.entries({ grades: images.grade, eyes: images.eye, trusts: images.trust, qualities: images.quality })) {
      for (const value of new Set(values)) {
        const choice = value === null ? "none" : String(value);
        assert.equal(tallies[name].get(choice), sieve(searched({ ...filters, [name]: new Set([choice]) })).rows.length);
      }
    }
    for (const cluster of [1, 2, 3]) assert.equal(tallies.cluster.get(cluster) ?? 0, sieve(searched({ ...filters, cluster })).rows.length);
    for (const differ of [1, 2, 3, 4]) assert.equal(tallies.differ.get(differ) ?? 0, sieve(searched({ ...filters, differ })).rows.length);
    for (const name of ["unsure", "noted"]) assert.equal(tallies[name], sieve(searched({ ...filters, [name]: true })).rows.length);
    for (const key of KINDS) assert.equal(tallies.lesions.get(key), rows.filter((row) => has(row, images.lesions.find((kind) => kind.key === key), filters.place ?? null)).length);
  }
});

test("addresses of earlier atlases ask for the difference that holds what they asked for", () => {
  const asked = (pairs) => AtlasDiffer(pairs, 2);
  assert.equal(asked({}), "");
  assert.equal(asked({ differ: "3", flagged: "1" }), "3");
  assert.equal(asked({ flagged: "1" }), "2");
  assert.equal(asked({ gap: "flagged" }), "2");
  assert.equal(asked({ gap: "milder" }), "1");
  assert.equal(asked({ gap: "agree" }), "");
  assert.equal(asked({ from: "1.5" }), "2");
  assert.equal(asked({ to: "-2" }), "2");
  assert.equal(asked({ from: "-0.5", to: "0.5" }), "");
  assert.equal(asked({ from: "x" }), "");
});

test("orders", () => {
  const order = AtlasOrder(images), rows = () => [...images.id.keys()];
  const falls = (values) => values.every((value, k) => k === 0 || value <= values[k - 1]);
  assert.deepEqual(order(rows(), ""), rows());
  assert.deepEqual(order(rows(), "severe"), rows().reverse());
  assert.ok(falls(order(rows(), "apart").map((row) => Math.abs(images.difference[row] ?? 0))));
  const total = (kinds) => (row) => images.lesions.filter((kind) => kinds.includes(kind.key)).reduce((sum, kind) => sum + (kind.counts[row] ?? 0), 0);
  assert.ok(falls(order(rows(), "lesions").map(total(KINDS))));
  assert.ok(falls(order(rows(), "lesions", ["exudate"]).map(total(["exudate"]))));
});
