// In which light a photograph is shown: its green channel or all of it as grey, its contrast and its brightness. Only what the
// screen and paper show changes, never the data. Nothing here touches the page.
//
// A light is {tone, contrast, brightness}: tone is "", "redfree" or "grey", the others are steps, 0 as the photograph is.
"use strict";
window.AtlasLight = (() => {
  const PLAIN = Object.freeze({ tone: "", contrast: 0, brightness: 0 });
  const TONES = ["redfree", "grey"];
  // A step multiplies by this factor; a red-free photograph is dark and flat, so there is more room upwards.
  const STEPS = { contrast: { letter: "c", factor: 1.25, from: -3, to: 6 }, brightness: { letter: "b", factor: 1.2, from: -4, to: 6 } };
  const KEYS = { g: "redfree", y: "grey", j: "contrast-", k: "contrast+", ",": "brightness-", ".": "brightness+", n: "reset" };
  const within = (name, step) => Math.min(STEPS[name].to, Math.max(STEPS[name].from, step));

  // As text, for the address: "redfree,c2,b-1"; "" is the plain photograph. What cannot be read counts as plain.
  const write = (light) => [light.tone, ...Object.entries(STEPS).map(([name, { letter }]) => light[name] && letter + light[name])].filter(Boolean).join(",");
  const read = (text) => {
    const light = { ...PLAIN };
    for (const part of String(text ?? "").split(",")) {
      if (TONES.includes(part)) light.tone = part;
      for (const [name, { letter }] of Object.entries(STEPS)) {
        if (part.startsWith(letter) && /^.-?\d{1,2}$/.test(part)) light[name] = within(name, Number(part.slice(1)));
      }
    }
    return light;
  };

  // The light after a control was used: "redfree" and "grey" switch, "contrast+" and the like are steps, "reset" is plain.
  const change = (light, action) => {
    if (action === "reset") return { ...PLAIN };
    if (TONES.includes(action)) return { ...light, tone: light.tone === action ? "" : action };
    const name = action.slice(0, -1);
    return { ...light, [name]: within(name, light[name] + (action.endsWith("+") ? 1 : -1)) };
  };
  const possible = (light, action) => write(change(light, action)) !== write(light);

  // The value of CSS `filter`. The red-free filter is an SVG filter of this id in the page.
  const REDFREE = "light-redfree";
  // CSS changes contrast around mid-grey, and a photograph of the retina is darker than that: more contrast would only make it black.
  // Brightened first, and with less contrast after it, values change around PIVOT instead: f (b x - 1/2) + 1/2 = F (x - p) + p.
  const PIVOT = { "": 0.5, redfree: 0.3, grey: 0.4 };
  const css = (light) => {
    const [contrast, brightness] = ["contrast", "brightness"].map((name) => STEPS[name].factor ** light[name]);
    const around = 1 + 2 * PIVOT[light.tone] * (contrast - 1);
    const functions = { brightness: (brightness * contrast) / around, contrast: around };
    return [
      { redfree: `url("#${REDFREE}")`, grey: "grayscale(1)" }[light.tone],
      ...Object.entries(functions).map(([name, value]) => Math.abs(value - 1) > 1e-9 && `${name}(${Number(value.toFixed(4))})`),
    ].filter(Boolean).join(" ");
  };

  // In words, for paper. `signed` and `list` write numbers and lists in the page's language.
  const told = (light, { signed, list }) => {
    const changes = [
      { redfree: gettext("red-free (green channel)"), grey: gettext("greyscale") }[light.tone],
      light.contrast && gettext("contrast %(step)s", { step: signed(light.contrast, 0) }),
      light.brightness && gettext("brightness %(step)s", { step: signed(light.brightness, 0) }),
    ].filter(Boolean);
    return changes.length ? gettext("Display: %(changes)s.", { changes: list(changes) }) : "";
  };

  // A link to a page of the atlas that carries the light along. An address after "#" that names a place of the page stays as it is.
  const carried = (href, text, { readAddress, writeAddress }) => {
    const [path, hash = ""] = href.split(/#(.*)/s, 2);
    if (!/\.html(\?.*)?$/.test(path) || (hash && !hash.includes("="))) return href;
    const pairs = readAddress(hash);
    delete pairs.light;
    const address = writeAddress(text ? { ...pairs, light: text } : pairs);
    return address ? `${path}#${address}` : path;
  };

  return { PLAIN, KEYS, REDFREE, read, write, change, possible, css, told, carried };
})();
