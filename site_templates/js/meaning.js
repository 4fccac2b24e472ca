// What a search means: kinds of lesion, grades, clusters and words of the glossary by any of their names, and words of titles and
// notes, file names, ids and numbers of plates. Case, accents, hyphens, spaces, plural and British or American spelling do not
// matter. Nothing here touches the page.
//
// AtlasMeaning(images, senses) takes the columns and window.ATLAS_MEANINGS, [{key, name, words, rows}], and returns
//   search(text)      null where there is nothing to search for, else {mask, senses, terms, unknown}: which photographs match; the
//                     senses that it has in this atlas, as {sense, count}; those that only the glossary explains; words without a match
//   why(row, result)  why a photograph matches, in words
//   explains(rows, result)  whether there are such words for any of them
//   near(text)        names that are spelled almost like it, the nearest first, as [{text, sense}]
// A sense's key is "lesion:<kind>", "marked:<kind>" with its rows, "grade:<number>", "cluster:<number>" or "term:<entry of the glossary>".
"use strict";
window.AtlasMeaning = (images, senses = [], { drawn = false, graded = null, count = String } = {}) => {
  const total = images.id.length;

  // ---- spelling: a word in two forms, since "ä" is written as "a" by some and as "ae" by others --------------------------------------
  const bare = (text) => text.toLowerCase().replace(/ß/g, "ss").normalize("NFD").replace(/\p{M}/gu, "");
  const LETTERS = { ä: "ae", ö: "oe", ü: "ue" };
  const spelled = (text) => bare(text.toLowerCase().normalize("NFC").replace(/[äöü]/g, (letter) => LETTERS[letter]))
    .replace(/ae|oe/g, "e").replace(/is(ation|ed|e\b)/g, "iz$1").replace(/\b(dis)c(s?)\b/g, "$1k$2").replace(/fibre/g, "fiber").replace(/colour/g, "color");
  const stem = (word) => (word.length > 3 ? word.replace(/s$/, "") : word);
  const split = (text) => text.split(/[^\p{L}\p{N}]+/u).filter(Boolean).map(stem);
  const forms = (text) => [bare(text), spelled(text)].map(split);
  const joined = (text) => forms(text).map((words) => words.join(""));

  const known = senses.map((sense) => ({ sense, names: sense.words.map((text) => ({ text, forms: forms(text), joined: joined(text) })) }));
  const same = (one, other) => one.some((form, k) => form === other[k]);
  const exactly = (phrase) => {
    const wanted = joined(phrase);
    return wanted[0] ? known.filter(({ names }) => names.some((name) => same(name.joined, wanted))).map(({ sense }) => sense) : [];
  };
  const partly = (word) => { // a word of a name, or how it begins
    const wanted = joined(word);
    if (wanted[0].length < 3) return [];
    return known.filter(({ names }) => names.some((name) => name.forms.some((words, k) => words.some((one) => one.startsWith(wanted[k]))))).map(({ sense }) => sense);
  };

  // ---- which photographs a sense has --------------------------------------------------------------------------------------------
  const kindOf = (sense) => images.lesions.find((kind) => `lesion:${kind.key}` === sense.key);
  const gradeOf = (row) => images.grade[row] ?? images.read[row];
  const masks = new Map();
  const rowsOf = (sense) => {
    if (masks.has(sense.key)) return masks.get(sense.key);
    const mask = new Uint8Array(total), value = sense.key.split(":")[1], kind = kindOf(sense);
    for (const row of sense.rows ?? []) mask[row] = 1;
    if (kind) kind.counts.forEach((n, row) => { mask[row] = n ? 1 : 0; });
    else if (sense.key.startsWith("grade:")) for (let row = 0; row < total; row += 1) mask[row] = gradeOf(row) === Number(value) ? 1 : 0;
    else if (sense.key.startsWith("cluster:")) for (let row = 0; row < total; row += 1) mask[row] = images.clusters[row].includes(Number(value)) ? 1 : 0;
    masks.set(sense.key, mask);
    return mask;
  };
  const size = (mask) => {
    let sum = 0;
    for (let row = 0; row < mask.length; row += 1) sum += mask[row];
    return sum;
  };
  const sizes = new Map(); // each is counted once: "did you mean" asks for those of all
  const sizeOf = (sense) => {
    if (!sizes.has(sense.key)) sizes.set(sense.key, sense.key.startsWith("term:") && !sense.rows ? 0 : size(rowsOf(sense)));
    return sizes.get(sense.key);
  };

  // ---- words of titles, notes and file names, ids by how they begin, plates by number ("#12" finds plate 12 alone) -----------------
  let index = null; // made in an idle moment, or when words are first looked for
  const indexed = () => {
    if (!index) {
      const prose = images.note.map((note, row) => bare(`${images.name?.[row] ?? ""}\n${note}`));
      const worded = prose.flatMap((text, row) => (text.length > 1 ? [row] : []));
      index = { prose, worded, byId: [...images.id.keys()].sort((a, b) => (images.id[a] < images.id[b] ? -1 : 1)) };
    }
    return index;
  };
  (window.requestIdleCallback ?? setTimeout)(indexed);
  const written = (phrase, mask) => {
    const { prose, worded } = indexed(), wanted = bare(phrase);
    for (const row of worded) if (prose[row].includes(wanted)) mask[row] = 1;
    return mask;
  };
  const literal = (word) => {
    const mask = new Uint8Array(total), { byId } = indexed();
    const plate = Number(/^#?(\d{1,9})$/.exec(word)?.[1] ?? NaN) - 1;
    if (plate >= 0 && plate < total) mask[plate] = 1;
    if (word.startsWith("#") && plate >= 0) return mask;
    written(word, mask);
    let [low, high] = [0, total];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (images.id[byId[middle]] < word) low = middle + 1; else high = middle;
    }
    for (; low < total && images.id[byId[low]].startsWith(word); low += 1) mask[byId[low]] = 1;
    return mask;
  };

  // ---- the search ---------------------------------------------------------------------------------------------------------------
  const LONGEST = 7; // words of a name, at most
  const PLATES = new Set(["plate", bare(gettext("Plate %(number)s", { number: "" })).trim()]); // "plate 12" is "#12"
  const parts = (text) => { // the longest names first: "cotton wool spot" is one thing
    const words = text.toLowerCase().split(/\s+/).filter(Boolean), found = [];
    for (let k = 0; k < words.length;) {
      if (PLATES.has(bare(words[k])) && /^#?\d+$/.test(words[k + 1] ?? "")) {
        found.push({ phrase: `${words[k]} ${words[k + 1]}`, senses: [], mask: literal(`#${words[k + 1].replace("#", "")}`) });
        k += 2;
        continue;
      }
      let many = Math.min(LONGEST, words.length - k);
      while (many > 1 && !exactly(words.slice(k, k + many).join(" ")).length) many -= 1;
      const phrase = words.slice(k, k + many).join(" "), exact = exactly(phrase);
      found.push({ phrase, senses: exact.length ? exact : partly(phrase), mask: many > 1 ? written(phrase, new Uint8Array(total)) : literal(phrase) });
      k += many;
    }
    return found;
  };
  const search = (text) => {
    const all = parts(text);
    if (!all.length) return null;
    const mask = new Uint8Array(total).fill(1), held = new Map(), unknown = [];
    for (const part of all) {
      for (const sense of part.senses) {
        const own = rowsOf(sense);
        held.set(sense.key, { sense, count: sizeOf(sense) });
        own.forEach((one, row) => { part.mask[row] |= one; });
      }
      if (!size(part.mask)) unknown.push(part.phrase);
      for (let row = 0; row < total; row += 1) mask[row] &= part.mask[row];
    }
    const meant = [...held.values()];
    return {
      mask, unknown, phrases: all.map(({ phrase }) => bare(phrase)),
      senses: meant.filter((one) => one.count), terms: meant.filter((one) => !one.count && one.sense.key.startsWith("term:")).map((one) => one.sense),
    };
  };

  const told = (row, { key, name }) => {
    const kind = images.lesions.find((one) => `lesion:${one.key}` === key);
    if (kind) return gettext("%(kind)s: %(n)s found by the network", { kind: kind.plural, n: count(kind.counts[row]) });
    if (key.startsWith("marked:")) return drawn ? gettext("%(kind)s: drawn", { kind: name }) : gettext("%(kind)s: marked by a person", { kind: name });
    if (!key.startsWith("grade:")) return name;
    const stage = images.grades.find((one) => one.number === images.grade[row]);
    return stage && graded ? graded(stage).replace(/\.$/, "") : gettext("read as grade %(grade)s", { grade: name });
  };
  const inProse = (row, phrases) => {
    const text = indexed().prose[row];
    return text.length > 1 && phrases.some((phrase) => text.includes(phrase));
  };
  const why = (row, { senses: held, phrases }) => {
    const reasons = held.filter(({ sense }) => rowsOf(sense)[row]).map(({ sense }) => told(row, sense));
    if (inProse(row, phrases)) reasons.push(gettext("in its title, note or name"));
    return reasons;
  };
  const explains = (rows, { senses: held, phrases }) => rows.some((row) => inProse(row, phrases) || held.some(({ sense }) => rowsOf(sense)[row]));

  // ---- spelled almost like it -----------------------------------------------------------------------------------------------------
  const apart = (one, other, most) => { // Levenshtein's distance, given up beyond `most`
    if (Math.abs(one.length - other.length) > most) return most + 1;
    let before = Array.from({ length: other.length + 1 }, (_, k) => k);
    for (let k = 0; k < one.length; k += 1) {
      const now = [k + 1];
      for (let j = 0; j < other.length; j += 1) now.push(Math.min(before[j + 1] + 1, now[j] + 1, before[j] + (one[k] === other[j] ? 0 : 1)));
      before = now;
    }
    return before.at(-1);
  };
  const near = (text) => {
    const wanted = joined(text), most = Math.min(4, Math.max(1, Math.floor(wanted[0].length / 3)));
    if (wanted[0].length < 3) return []; // anything would be near, and the reader is still typing
    const found = known.flatMap(({ sense, names }) => names.map((name) => ({
      text: name.text, sense, far: Math.min(...name.joined.map((form, k) => apart(wanted[k], form, most))),
    }))).filter(({ far }) => far <= most).map((one) => ({ ...one, far: one.far + (sizeOf(one.sense) ? 0 : 0.5) })).sort((a, b) => a.far - b.far || a.text.length - b.text.length);
    const seen = new Set();
    return found.filter(({ sense, text: own }) => {
      const fresh = !seen.has(sense.key) && !seen.has(own.toLowerCase());
      seen.add(sense.key).add(own.toLowerCase());
      return fresh;
    }).slice(0, 4).map(({ text: own, sense }) => ({ text: own, sense }));
  };

  return { search, why, explains, near };
};
