import assert from "node:assert/strict";
import { test } from "node:test";
import { load, plain } from "./load.mjs";

const { AtlasMeaning } = load(["meaning"]);
const MANY = 300;
const some = (make) => Array.from({ length: MANY }, (_, k) => make(k));
const images = {
  id: some((k) => `${k.toString(16).padStart(3, "0")}${"0".repeat(13)}`),
  grade: some((k) => (k % 10 === 9 ? null : k % 5)), read: some((k) => (k + 1) % 5),
  clusters: some((k) => (k % 7 ? [] : [2, 5])),
  note: some((k) => ({ 3: "A quiet disc", 17: "Größe und Lage: Exsudat", 40: "cotton-wool spot" })[k] ?? ""),
  grades: ["normal", "mild", "moderate", "severe", "proliferative"].map((name, number) => ({ name, number })),
  lesions: [
    { key: "haemorrhage", plural: "haemorrhages", counts: some((k) => (k % 4 ? 0 : k % 3 + 1)) },
    { key: "hard_exudate", plural: "hard exudates", counts: some((k) => (k % 6 ? null : 3)) },
    { key: "cotton_wool_spot", plural: "cotton-wool spots", counts: some((k) => Number(k % 50 === 0)) },
  ],
};
const SENSES = [
  { key: "lesion:haemorrhage", name: "haemorrhages", words: ["haemorrhage", "haemorrhages", "Dot and blot haemorrhage", "HE", "Hämorrhagie", "bleeding"] },
  { key: "lesion:hard_exudate", name: "hard exudates", words: ["hard exudate", "hard exudates", "exudate", "EX", "Exsudat"] },
  { key: "lesion:cotton_wool_spot", name: "cotton-wool spots", words: ["cotton-wool spot", "Cotton wool spot", "CWS", "soft exudate"] },
  { key: "marked:haemorrhage", name: "haemorrhages", words: ["haemorrhage"], rows: [1, 5] },
  { key: "grade:3", name: "3 (severe)", words: ["severe", "Severe non-proliferative retinopathy", "severe NPDR"] },
  { key: "grade:4", name: "4 (proliferative)", words: ["proliferative", "PDR"] },
  { key: "cluster:5", name: "Cluster 5: Ring of lipid", words: ["Ring of lipid", "Cluster 5", "c5"] },
  { key: "term:irma", name: "IRMA", words: ["IRMA", "intraretinal microvascular abnormality"] },
  { key: "term:macular-oedema", name: "Diabetic macular oedema", words: ["macular oedema", "DME"] },
];
const meaning = AtlasMeaning(images, SENSES);
const rows = (text) => [...plain(meaning.search(text).mask)].flatMap((one, row) => (one ? [row] : []));
const holds = (fits) => [...images.id.keys()].filter(fits);
const bleeds = (row) => images.lesions[0].counts[row] > 0 || [1, 5].includes(row);
const cotton = (row) => images.lesions[2].counts[row] > 0 || row === 40;

test("a kind of lesion is found by every name, in any spelling", () => {
  const wanted = holds(bleeds);
  for (const text of ["haemorrhage", "Hemorrhage", "HAEMORRHAGES", "hemorrhages", "haemorr", "hemorr"]) assert.deepEqual(rows(text), wanted, text);
  const net = holds((row) => images.lesions[0].counts[row] > 0);
  for (const text of ["he", "bleeding", "hämorrhagie", "hamorrhagie", "haemorrhagie", "blot"]) assert.deepEqual(rows(text), net, text);
});

test("a name of several words is one thing, with or without a hyphen", () => {
  for (const text of ["cotton wool spot", "cotton-wool spots", "Cottonwool spot", "CWS"]) {
    assert.deepEqual(rows(text).filter((row) => row !== 40), holds(cotton).filter((row) => row !== 40), text);
  }
  assert.ok(rows("cotton-wool spot").includes(40), "and a note is found by its words");
  assert.deepEqual(rows("soft exudate"), holds((row) => images.lesions[2].counts[row] > 0), "not every exudate");
  assert.deepEqual(rows("exudate").filter((row) => row !== 17), holds((row) => images.lesions[1].counts[row] > 0 && row !== 17));
});

test("a plate is found by its number, with and without the word", () => {
  for (const text of ["#12", "plate 12", "Plate #12"]) assert.deepEqual(rows(text), [11], text);
  assert.deepEqual(rows("plate 0012").length, 1);
  assert.deepEqual(rows("plate"), []);
});

test("every part of a search must hold", () => {
  const severe = (row) => (images.grade[row] ?? images.read[row]) === 3;
  assert.deepEqual(rows("severe hemorrhage"), holds((row) => severe(row) && bleeds(row)));
  assert.deepEqual(rows("severe npdr c5"), holds((row) => severe(row) && images.clusters[row].includes(5)));
  assert.deepEqual(rows("ring of lipid"), holds((row) => images.clusters[row].includes(5)));
  assert.deepEqual(rows("severe nonsense"), []);
});

test("words of notes, ids and plates are found as well", () => {
  assert.deepEqual(rows("quiet DISC"), [3]);
  assert.deepEqual(rows("grosse"), [17]);
  assert.deepEqual(rows("#12"), [11]);
  assert.deepEqual(rows("0ff"), [255]);
  assert.deepEqual(rows("0f"), Array.from({ length: 16 }, (_, k) => 240 + k));
  assert.deepEqual(rows("#0"), []);
  assert.equal(meaning.search("   "), null);
});

test("results say why they match, and with how many", () => {
  const result = meaning.search("hemorrhage severe");
  const row = holds((k) => images.grade[k] === 3 && images.lesions[0].counts[k] > 0)[0];
  assert.deepEqual(plain(meaning.why(row, result)), [`haemorrhages: ${images.lesions[0].counts[row]} found by the network`, "read as grade 3 (severe)"]);
  assert.deepEqual(plain(meaning.why(3, meaning.search("disc"))), ["in its title, note or name"]);
  assert.deepEqual(plain(meaning.why(5, meaning.search("haemorrhage"))), ["haemorrhages: marked by a person"]);
  for (const text of ["hemorrhage severe", "disc", "#12", "0ff", "mouse"]) {
    const found = meaning.search(text), all = rows(text);
    assert.equal(meaning.explains(all, found), all.some((k) => meaning.why(k, found).length > 0));
  }
  assert.equal(meaning.explains(rows("disc"), meaning.search("disc")), true);
  assert.equal(meaning.explains(rows("0ff"), meaning.search("0ff")), false);
  const counts = Object.fromEntries(plain(result.senses).map(({ sense, count }) => [sense.key, count]));
  assert.equal(counts["lesion:haemorrhage"], holds((k) => images.lesions[0].counts[k] > 0).length);
  assert.equal(counts["marked:haemorrhage"], 2);
});

test("what only the glossary knows leads there, and what is misspelled to what is meant", () => {
  const result = meaning.search("IRMA");
  assert.deepEqual(plain(result.terms).map(({ key }) => key), ["term:irma"]);
  assert.equal(meaning.search("macular edema").terms[0].key, "term:macular-oedema");
  assert.deepEqual(plain(meaning.search("haemorage").unknown), ["haemorage"]);
  assert.equal(meaning.near("haemorage")[0].sense.key, "lesion:haemorrhage");
  assert.equal(meaning.near("exsudate")[0].sense.key, "lesion:hard_exudate");
  assert.equal(meaning.near("prolifrative")[0].sense.key, "grade:4");
  assert.deepEqual(plain(meaning.near("xqzw")), []);
});
