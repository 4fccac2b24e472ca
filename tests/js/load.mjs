// Loads scripts of the site, as a page would, into a world without a page: what they need of one, a test must give them.
import { readFileSync } from "node:fs";
import { createContext, runInContext } from "node:vm";

const FOLDER = new URL("../../site_templates/js/", import.meta.url);

// load(["deck"], { ATLAS_WORDS }) -> the global object after words.js, formats.js and the scripts that are named.
export const load = (names, world = {}) => {
  const globals = { atob, TextDecoder, TextEncoder, setTimeout: (act) => act(), ...world };
  globals.window = globals;
  createContext(globals);
  for (const name of ["words", "formats", ...names]) {
    runInContext(readFileSync(new URL(`${name}.js`, FOLDER), "utf8"), globals, { filename: `${name}.js` });
  }
  globals.Atlas = globals.AtlasFormats(globals.ATLAS_WORDS?.language);
  return globals;
};

// What a script returned, without the prototypes of its own world.
export const plain = (value) => structuredClone(value);

// Numbers that look random and are the same every time (a linear congruential generator).
export const numbers = (seed) => {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
};
