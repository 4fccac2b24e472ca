import assert from "node:assert/strict";
import { test } from "node:test";
import { load, plain } from "./load.mjs";

const { AtlasDraft } = load(["draft"]);
const base = {
  file: {
    images: { a1: { title: "First" } }, clusters: { 2: { note: "Soft" } }, pins: { images: ["a1"], clusters: [2] },
    lessons: [{ title: "One", slug: "one", stops: [{ image: "a1", text: "Look" }, { cluster: 2 }] }],
  },
  clusters: { 2: ["p1", "p2"] }, images: { a1: 3 },
};

test("only what differs from the atlas is a change, and only changes are kept", () => {
  const draft = AtlasDraft(base);
  assert.equal(draft.kept(), null);
  draft.write("images", "a1", { title: "Other" });
  draft.choose("exclude", "patches", "p1", true);
  draft.choose("pins", "images", "a1", false);
  assert.equal(draft.changes(), 3);
  draft.write("images", "a1", { title: "First" });
  draft.choose("exclude", "patches", "p1", false);
  draft.choose("pins", "images", "a1", true);
  assert.equal(draft.changes(), 0);
  assert.equal(draft.kept(), null);
});

test("a kept draft goes on where it was", () => {
  const draft = AtlasDraft(base);
  draft.write("clusters", "2", { title: "Clouds" });
  draft.remove("one");
  const again = AtlasDraft(base, JSON.parse(draft.kept()));
  assert.deepEqual(plain(again.entry("clusters", "2")), { title: "Clouds", note: "Soft" });
  assert.deepEqual(plain(again.lessons()), []);
  assert.equal(again.toml(), draft.toml());
});

test("a lesson put back as the atlas has it is no change", () => {
  const draft = AtlasDraft(base);
  const [lesson] = draft.lessons();
  draft.put({ ...lesson, summary: "New" });
  assert.equal(draft.changes(), 1);
  draft.put(lesson);
  assert.equal(draft.changes(), 0);
});

test("each new lesson gets an address of its own", () => {
  const draft = AtlasDraft(base);
  assert.equal(draft.slug("One"), "one-2");
  assert.equal(draft.slug("Ödeme & Blut!"), "deme-blut");
  assert.equal(draft.slug("糖"), "lesson");
  assert.match(draft.slug("x".repeat(200)), /^x{70}$/);
  draft.put({ title: "One", slug: draft.slug("One"), stops: [] });
  assert.equal(draft.slug("One"), "one-3");
  draft.remove("one");
  assert.equal(draft.slug("One"), "one-3"); // the atlas as built still has the first
});
