// Which photographs fit a choice, and in which order they are shown. Nothing here touches the page.
//
// AtlasSieve(images)(filters) -> { rows, counts }: which photographs match all filters, and for each kind of filter how many would
// match with another choice of that kind. A filter that is missing, null or "" lets all pass.
//   grades, eyes, trusts, qualities: Set of strings, "none" for photographs without    low, high: score
//   differ: the grade read from the score and the human grade differ by this many or more, either way; its counts are by this number
//   cluster: number    unsure, noted: true    mask: 1 for each photograph that a search found, as of AtlasMeaning
//   lesions: Set of kinds, of which all must be found in a photograph, or "none"; its counts are of what another kind would leave
//   place: number of the place where they must lie, from 0; without kinds, any lesion must. "none" then means: none there
"use strict";
window.AtlasSieve = (images) => {
  const total = images.id.length;
  // Each choice gets a small number, so that a pass over all photographs touches nothing but typed arrays.
  const coded = (values) => {
    const names = [...new Set(values.map((value) => (value === null ? "none" : String(value))))];
    const code = new Map(names.map((name, k) => [name, k]));
    return { names, codes: Uint16Array.from(values, (value) => code.get(value === null ? "none" : String(value))) };
  };
  const kinds = { grades: coded(images.grade), ...(images.eye && { eyes: coded(images.eye) }), trusts: coded(images.trust), ...(images.quality && { qualities: coded(images.quality) }) };
  const severity = Float64Array.from(images.severity);
  const gap = Int16Array.from(images.difference, (value) => (value === null ? -1 : Math.abs(value)));
  const [SCORE, GAP, CLUSTER, NOTED, TEXT, LESIONS, UNSURE] = [1, 2, 3, 4, 5, 6, 7];
  const NONE = 1; // a photograph's kinds as bits: none found, then one for each kind; 0 where the net did not look
  const bits = new Map([["none", NONE], ...images.lesions.map((kind, k) => [kind.key, 2 << k])]);
  const heldAt = (place) => { // of any place, or of those that lie in one
    const here = (kind, row) => (place === null ? kind.counts[row] : (kind.places?.[row] ?? 0) & (1 << place));
    const known = (row) => (place === null ? images.looked?.[row] : images.lesions.some((kind) => (kind.places?.[row] ?? null) !== null));
    return Uint32Array.from(images.id, (_, row) => images.lesions.reduce((sum, kind) => sum | (here(kind, row) ? bits.get(kind.key) : 0), 0) || (known(row) ? NONE : 0));
  };
  const kindBits = Uint32Array.from(bits.values());
  const highest = (values) => values.reduce((most, value) => Math.max(most, value), 0);
  const sizes = { cluster: 1 + highest(images.clusters.map(highest)), differ: 1 + highest(gap) };
  const made = new Map(); // by place
  const noted = Uint8Array.from(images.note, (note) => (note === "" ? 0 : 1));

  return (filters) => {
    const chosen = Object.entries(kinds).map(([name, { names, codes }], k) => ({
      name, names, codes, kind: 10 + k, fits: Uint8Array.from(names, (one) => (!filters[name] || filters[name].has(one) ? 1 : 0)), counts: new Uint32Array(names.length),
    }));
    const codes = chosen.map((one) => one.codes), fits = chosen.map((one) => one.fits);
    const given = (value, otherwise) => (value === null || value === undefined || value === "" ? otherwise : Number(value));
    const low = given(filters.low, -Infinity) - 1e-9;
    const high = given(filters.high, Infinity) + 1e-9;
    const least = given(filters.differ, null);
    const cluster = given(filters.cluster, null);
    const text = filters.mask ?? null;
    const wanted = [...filters.lesions ?? []].reduce((sum, key) => sum | (bits.get(key) ?? 0), 0);
    const place = given(filters.place, null);
    if (!made.has(place)) made.set(place, heldAt(place));
    const held = made.get(place);
    const some = place !== null && !wanted; // any lesion must lie there
    const rows = [];
    const counts = { unsure: 0, noted: 0 };
    const tallies = { cluster: new Uint32Array(sizes.cluster), lesions: new Uint32Array(kindBits.length), differ: new Uint32Array(sizes.differ) };
    for (let row = 0; row < total; row += 1) {
      let fails = 0;
      let only = 0; // the one kind of filter that keeps this photograph out
      for (let k = 0; k < chosen.length; k += 1) if (!fits[k][codes[k][row]]) { fails += 1; only = chosen[k].kind; }
      if (severity[row] < low || severity[row] > high) { fails += 1; only = SCORE; }
      if (least !== null && gap[row] < least) { fails += 1; only = GAP; }
      if (filters.unsure && !images.unsure[row]) { fails += 1; only = UNSURE; }
      if (filters.noted && !noted[row]) { fails += 1; only = NOTED; }
      if ((held[row] & wanted) !== wanted || (some && held[row] <= NONE)) { fails += 1; only = LESIONS; }
      if (text && !text[row]) { fails += 1; only = TEXT; }
      if (fails > 1) continue;
      if (cluster !== null && !images.clusters[row].includes(cluster)) { fails += 1; only = CLUSTER; }
      if (fails > 1) continue;
      if (fails === 0) {
        rows.push(row);
        for (let k = 0; k < kindBits.length; k += 1) if (held[row] & kindBits[k]) tallies.lesions[k] += 1;
      }
      for (let k = 0; k < chosen.length; k += 1) if (fails === 0 || only === chosen[k].kind) chosen[k].counts[codes[k][row]] += 1;
      if (fails === 0 || only === CLUSTER) for (const one of images.clusters[row]) tallies.cluster[one] += 1;
      if (fails === 0 || only === GAP) for (let n = 1; n <= gap[row]; n += 1) tallies.differ[n] += 1;
      if (fails === 0 || only === UNSURE) counts.unsure += images.unsure[row];
      if (fails === 0 || only === NOTED) counts.noted += noted[row];
    }
    for (const name of ["cluster", "differ"]) counts[name] = new Map([...tallies[name].entries()].filter(([, n]) => n));
    counts.lesions = new Map([...bits.keys()].map((key, k) => [key, tallies.lesions[k]]));
    for (const { name, names, counts: tally } of chosen) counts[name] = new Map(names.map((one, k) => [one, tally[k]]));
    return { rows, counts };
  };
};

// AtlasOrder(images)(rows, order, kinds): sorts rows, which are in ascending severity, in place. "severe": most severe first; "apart": score
// and grade farthest apart first; "lesions": most lesions of `kinds` first, of all kinds where the list is empty; else as they are.
window.AtlasOrder = (images) => (rows, order, kinds = []) => {
  const falling = (value) => rows.sort((a, b) => value(b) - value(a) || a - b);
  if (order === "severe") return rows.reverse();
  if (order === "apart") return falling((row) => (images.difference[row] === null ? -1 : Math.abs(images.difference[row])));
  if (order !== "lesions") return rows;
  const wanted = images.lesions.filter((kind) => !kinds.length || kinds.includes(kind.key));
  return falling((row) => wanted.reduce((sum, kind) => sum + (kind.counts[row] ?? 0), 0));
};

// AtlasDiffer(pairs, flagged): what an address asks of the filter "differ", as a text. Addresses of earlier atlases ask for flags, for a
// direction, or for a range of differences: they get the filter that holds what they asked for.
window.AtlasDiffer = ({ differ, gap, flagged: flags, from, to }, flagged) => {
  if (differ !== undefined) return differ;
  if (flags === "1" || gap === "flagged") return String(flagged);
  if (gap === "milder" || gap === "severer") return "1";
  const least = Math.ceil(Math.max(Number(from ?? 0), -Number(to ?? 0)));
  return least >= 1 ? String(least) : "";
};
