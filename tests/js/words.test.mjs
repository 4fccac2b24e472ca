import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

test("a message without a translation is English, its values filled in", () => {
  const { gettext, ngettext } = load([]);
  assert.equal(gettext("Photograph %(number)s of %(total)s", { number: 3, total: "1,000" }), "Photograph 3 of 1,000");
  assert.equal(gettext("95%% of them"), "95% of them");
  assert.deepEqual([0, 1, 2].map((n) => ngettext("%(n)s patch", "%(n)s patches", n)), ["0 patches", "1 patch", "2 patches"]);
  assert.equal(ngettext("%(n)s patch", "%(n)s patches", 1000, { n: "1,000" }), "1,000 patches");
});

test("a value is never read as a message", () => {
  const { gettext } = load([]);
  assert.equal(gettext("No photograph matches “%(text)s”.", { text: "50%% %(other)s" }), "No photograph matches “50%% %(other)s”.");
});

test("a translation is used where there is one", () => {
  const messages = { "Play": "Abspielen", "%(n)s patch": ["%(n)s Ausschnitt", "%(n)s Ausschnitte"] };
  const { gettext, ngettext } = load([], { ATLAS_WORDS: { language: "de", messages } });
  assert.equal(gettext("Play"), "Abspielen");
  assert.equal(gettext("Pause"), "Pause");
  assert.deepEqual([1, 3].map((n) => ngettext("%(n)s patch", "%(n)s patches", n)), ["1 Ausschnitt", "3 Ausschnitte"]);
});
