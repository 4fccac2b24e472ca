import assert from "node:assert/strict";
import { test } from "node:test";
import { load, numbers, plain } from "./load.mjs";

const world = load(["light"]);
const { PLAIN, KEYS, read, write, change, possible, css, told, carried } = world.AtlasLight;
const formats = world.AtlasFormats("en");
const draw = numbers(5);
const actions = [...new Set(Object.values(KEYS))];
const lights = [{ ...PLAIN }];
for (let k = 0; k < 400; k++) lights.push(change(lights.at(-1), actions[draw(actions.length)]));

// What a filter makes of a grey value between 0 and 1, by the definitions of CSS.
const applied = (filter, value) => [...filter.matchAll(/(brightness|contrast)\(([\d.]+)\)/g)]
  .reduce((x, [, name, by]) => (name === "brightness" ? x * by : (x - 0.5) * by + 0.5), value);

test("a light is read back from the address as it was", () => {
  for (const light of lights) assert.deepEqual(plain(read(write(light))), plain(light));
  assert.ok(new Set(lights.map(write)).size > 50);
});

test("an address that cannot be read shows the plain photograph, and steps stay within bounds", () => {
  for (const text of [undefined, "", "x", "c", "cx", "redfreegrey", "b1.5"]) assert.deepEqual(plain(read(text)), plain(PLAIN));
  let most = read("c99,b99");
  assert.equal(write(most), write(read(write(most))));
  for (const action of ["contrast+", "brightness+"]) assert.ok(!possible(most, action));
  for (let k = 0; k < 20; k++) most = change(change(most, "contrast-"), "brightness-");
  for (const action of ["contrast-", "brightness-"]) assert.ok(!possible(most, action));
});

test("each step forth can be taken back, switches switch, and the original is reached at once", () => {
  for (const light of lights) {
    for (const name of ["contrast", "brightness"]) {
      if (possible(light, `${name}+`)) assert.deepEqual(plain(change(change(light, `${name}+`), `${name}-`)), plain(light));
    }
    for (const tone of ["redfree", "grey"]) assert.equal(change(change(light, tone), tone).tone, light.tone === tone ? tone : "");
    assert.deepEqual(plain(change(light, "reset")), plain(PLAIN));
  }
  assert.ok(!possible(PLAIN, "reset"));
});

test("the plain photograph has no filter, and only tones take colours away", () => {
  assert.equal(css(PLAIN), "");
  for (const light of lights) {
    assert.equal(css(light).includes("url("), light.tone === "redfree");
    assert.equal(css(light).includes("grayscale(1)"), light.tone === "grey");
    assert.equal(css(light) === "", write(light) === "");
  }
});

test("brightness multiplies values, and contrast changes their differences around one of them", () => {
  for (const [tone, pivot] of [["", 0.5], ["redfree", 0.3], ["grey", 0.4]]) {
    for (let contrast = -3; contrast <= 6; contrast++) {
      const filter = css({ ...PLAIN, tone, contrast });
      assert.ok(Math.abs(applied(filter, pivot) - pivot) < 1e-3);
      const difference = applied(filter, pivot + 0.1) - applied(filter, pivot);
      assert.ok(Math.abs(difference - 0.1 * 1.25 ** contrast) < 1e-3);
      assert.ok(Math.abs(applied(css({ ...PLAIN, tone, brightness: contrast }), 0.2) - 0.2 * 1.2 ** contrast) < 1e-3);
    }
  }
});

test("words name each change, and nothing where there is none", () => {
  assert.equal(told(PLAIN, formats), "");
  assert.equal(told(read("redfree,c2,b-1"), formats), "Display: red-free (green channel), contrast +2 and brightness −1.");
  assert.equal(told(read("grey"), formats), "Display: greyscale.");
});

test("a link carries the light along, once, and keeps what it says", () => {
  const to = (href, text) => carried(href, text, formats);
  assert.equal(to("../images/a.html", "redfree,c2"), "../images/a.html#light=redfree,c2");
  assert.equal(to("compare.html#a=1f", "grey"), "compare.html#a=1f&light=grey");
  assert.equal(to(to("compare.html#a=1f", "grey"), "b2"), "compare.html#a=1f&light=b2");
  assert.equal(to(to("compare.html#a=1f", "grey"), ""), "compare.html#a=1f");
  assert.equal(to(to("strip.html", "grey"), ""), "strip.html");
  for (const other of ["images/a.html#patch-1", "tables/images.csv"]) assert.equal(to(other, "grey"), other);
});
