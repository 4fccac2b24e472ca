// Thousands of thumbnails without lag: only the cells in sight exist. And the sieve that chooses among all photographs.
"use strict";

// On a narrow screen the controls wait in a drawer, so that the plates come first.
for (const drawer of document.querySelectorAll("details.drawer")) {
  const wide = matchMedia("(min-width: 60.01rem)");
  drawer.open = wide.matches;
  drawer.dataset.set = "";
  wide.addEventListener("change", () => { drawer.open = wide.matches; });
}

// Atlas.grid(host, images, moved) fills `host`, a box of fixed height, with cells of fixed size. `moved` hears of each change of place.
Atlas.grid = (host, images, moved = () => {}) => {
  const { el, number } = Atlas;
  const GAP = 2;
  const CAPTION = 24;
  const PRINTED = 96;
  const runway = el("div", { class: "runway", role: "list", "aria-label": host.dataset.label });
  host.append(runway);
  const colours = new Map(images.grades.map((grade) => [grade.number, grade]));
  const cells = new Map(); // by place in the list
  const picked = new Set(); // rows of `images`
  let marked = false; // whether photographs bear the letters of the lesions found in them
  let list = [];
  let active = 0;
  let columns = 1;
  let side = 100;
  let seen = { first: 0, last: 0 };

  const step = () => side + CAPTION + GAP;
  const rowOf = (place) => Math.floor(place / columns);

  const has = (row) => images.lesions.filter((kind) => kind.counts[row]);
  const found = (row) => (has(row).length ? `, lesions found: ${has(row).map((kind) => `${kind.plural} ${kind.counts[row]}`).join(", ")}` : "");
  const letters = (row) => el("span", { class: "letters", "aria-hidden": "true" },
    has(row).map((kind) => el("b", { class: "letter", style: { "--kind": kind.colour } }, kind.letter)));
  const words = (row) => {
    const grade = colours.get(images.grade[row]);
    return `Plate ${row + 1}: photograph scored ${number(images.severity[row])}, ${grade ? `human grade ${grade.number} ${grade.name}` : "no human grade"}${marked ? found(row) : ""}`;
  };
  const verdict = (row) => {
    const gap = images.disagreement[row];
    return gap === null ? "" : `By its place among the graded photographs, the score reads ${number(Math.abs(gap), 1)} grades ${gap > 0 ? "more severe" : "milder"} than the human grade.`;
  };
  const put = (cell, place) => {
    cell.style.transform = `translate(${(place % columns) * (side + GAP)}px, ${rowOf(place) * step()}px)`;
    cell.style.width = `${side}px`;
    cell.style.height = `${side + CAPTION}px`;
  };
  const make = (place) => {
    const row = list[place];
    const grade = colours.get(images.grade[row]);
    const cell = el("div", {
      class: `cell thumb${images.flagged[row] ? " flagged" : ""}${picked.has(row) ? " picked" : ""}`, role: "listitem",
      "aria-posinset": place + 1, "aria-setsize": list.length, style: { "--grade": grade?.colour ?? "transparent" }, dataset: { place, row },
    },
    el("a", { href: `${Atlas.root}images/${images.id[row]}.html`, tabindex: place === active ? 0 : -1, title: images.flagged[row] ? verdict(row) : null },
      el("img", { src: `${Atlas.root}thumbnails/${images.id[row]}.jpg`, alt: words(row), width: 160, height: 160, decoding: "async", draggable: "false" }), marked ? letters(row) : null),
    el("div", { class: "line", "aria-hidden": "true" }, el("span", {}, number(images.severity[row])), grade ? el("span", {}, String(grade.number)) : null));
    put(cell, place);
    return cell;
  };
  const held = () => Number(document.activeElement?.closest?.(".cell")?.dataset.place ?? -1);

  const render = () => {
    const height = host.clientHeight;
    const spare = Math.ceil(height / step() / 2); // half a screen more above and below
    const top = Math.floor(host.scrollTop / step());
    const bottom = Math.ceil((host.scrollTop + height) / step());
    const from = Math.max(0, (top - spare) * columns);
    const to = Math.min(list.length, (bottom + spare) * columns);
    const kept = host.contains(document.activeElement) ? held() : -1; // the focus is not pulled from under the reader
    for (const [place, cell] of cells) {
      if ((place < from || place >= to) && place !== kept) {
        cell.remove();
        cells.delete(place);
      }
    }
    let after = kept >= to ? cells.get(kept) ?? null : null;
    for (let place = to - 1; place >= from; place -= 1) {
      let cell = cells.get(place);
      if (!cell) {
        cell = make(place);
        cells.set(place, cell);
        runway.insertBefore(cell, after);
      }
      after = cell;
    }
    const first = Math.ceil(host.scrollTop / step() - 0.05) * columns;
    const last = Math.max(first, Math.floor((host.scrollTop + height + GAP + 1) / step()) * columns - 1);
    seen = { first: Math.min(first, Math.max(0, list.length - 1)), last: Math.min(last, list.length - 1) };
  };

  const mark = (place) => {
    cells.get(active)?.querySelector("a").setAttribute("tabindex", "-1");
    cells.get(active)?.classList.remove("current");
    active = place;
    cells.get(active)?.querySelector("a").setAttribute("tabindex", "0");
    cells.get(active)?.classList.add("current");
  };
  const tell = () => moved({ place: active, row: list.length ? list[active] : null, ...seen });

  const scrolled = () => {
    render();
    if (list.length && (rowOf(active) < rowOf(seen.first) || rowOf(active) > rowOf(Math.max(seen.first, seen.last)))) {
      mark(rowOf(active) < rowOf(seen.first) ? seen.first : Math.max(seen.first, seen.last - (columns - 1)));
    }
    tell();
  };

  // Bring a place of the list into sight. align "start" puts its row on top; without it the grid moves as little as it must.
  const go = (place, { focus = false, align = "nearest" } = {}) => {
    if (!list.length) return;
    const target = Math.min(list.length - 1, Math.max(0, place));
    const top = rowOf(target) * step();
    const height = host.clientHeight;
    if (align === "start" || top < host.scrollTop) host.scrollTop = top;
    else if (top + side + CAPTION > host.scrollTop + height) host.scrollTop = top + side + CAPTION - height;
    mark(target);
    render();
    mark(target);
    if (focus) cells.get(target).querySelector("a").focus({ preventScroll: true });
    tell();
  };

  const measure = () => {
    const width = host.clientWidth;
    const least = width < 520 ? 84 : 116;
    columns = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
    side = Math.max(40, (width - (columns - 1) * GAP) / columns);
    runway.style.height = `${Math.max(0, Math.ceil(list.length / columns) * step() - GAP)}px`;
  };
  const clear = () => {
    for (const cell of cells.values()) cell.remove();
    cells.clear();
  };

  // Show other rows of the columns, in the given order, standing at place `at`.
  const show = (rows, at = 0) => {
    const focused = host.contains(document.activeElement);
    list = rows;
    clear();
    measure();
    active = Math.min(Math.max(0, at), Math.max(0, list.length - 1));
    if (list.length) go(active, { align: "start", focus: focused });
    else {
      host.scrollTop = 0;
      render();
      tell();
    }
  };

  const keys = (event) => {
    if (Atlas.typing(event) || event.shiftKey || !list.length || document.querySelector("dialog[open]")) return;
    const inside = host.contains(event.target);
    if (!inside && event.target !== document.body && event.target.id !== "main") return;
    const rows = Math.max(1, Math.floor(host.clientHeight / step()));
    const place = {
      ArrowRight: active + 1, ArrowLeft: active - 1, Home: 0, End: list.length - 1,
      ArrowDown: active + columns < list.length ? active + columns : rowOf(active) < rowOf(list.length - 1) ? list.length - 1 : active,
      ArrowUp: active - columns >= 0 ? active - columns : active,
      PageDown: Math.min(list.length - 1, active + rows * columns), PageUp: Math.max(0, active - rows * columns),
    }[event.key];
    if (place === undefined) return;
    event.preventDefault();
    go(place, { focus: true });
  };

  // Paper cannot scroll: it gets a sample, evenly spaced along the list.
  let before = null;
  const toPaper = () => {
    if (before) return;
    before = { top: host.scrollTop, active };
    clear();
    const total = Math.min(PRINTED, list.length);
    const places = Array.from({ length: total }, (_, k) => Math.round((k * (list.length - 1)) / Math.max(1, total - 1)));
    for (const place of new Set(places)) {
      cells.set(place, make(place));
      runway.append(cells.get(place));
    }
    host.dataset.printed = list.length > total
      ? `${Atlas.count(total)} of ${Atlas.count(list.length)} plates, evenly spaced along the order.`
      : "";
  };
  const fromPaper = () => {
    if (!before) return;
    const { top, active: place } = before;
    before = null;
    clear();
    host.scrollTop = top;
    active = place;
    render();
    mark(active);
  };
  addEventListener("beforeprint", toPaper);
  addEventListener("afterprint", fromPaper);
  matchMedia("print").addEventListener("change", (event) => (event.matches ? toPaper() : fromPaper()));

  host.addEventListener("scroll", () => { if (!before) scrolled(); }, { passive: true });
  host.addEventListener("focusin", (event) => {
    const place = Number(event.target.closest(".cell")?.dataset.place ?? -1);
    if (place >= 0 && place !== active) {
      mark(place);
      tell();
    }
  });
  document.addEventListener("keydown", keys);
  let width = host.clientWidth;
  new ResizeObserver(() => {
    if (before) return;
    if (host.clientWidth === width) {
      render();
      return;
    }
    width = host.clientWidth;
    clear();
    measure();
    go(active, { align: "start" });
  }).observe(host);

  return {
    show, go, words, verdict,
    // Write the letters of the lesions found on each photograph, or leave them away, from the next show().
    letter: (yes) => { marked = yes; },
    get list() { return list; },
    get place() { return active; },
    // Frame rows of the columns, for a choice.
    pick: (rows) => {
      picked.clear();
      for (const row of rows) picked.add(row);
      for (const cell of cells.values()) cell.classList.toggle("picked", picked.has(Number(cell.dataset.row)));
    },
  };
};

// Atlas.sieve(images)(wishes) -> { rows, counts }: which photographs fit all wishes, and for each kind of wish how many would fit
// with another choice of that kind. A wish left out, null or "" lets all pass.
//   grades, eyes, trusts: Set of strings, "none" for photographs without    low, high: score    from, to: score read as a grade, minus grade
//   cluster: number    flagged, unsure, noted: true    text: words, of which all must be found
//   lesions: Set of kinds, of which all must be found in a photograph, or "none"; its counts are of what another kind would leave
//   place: number of the place where they must lie, from 0; without kinds, any lesion must. "none" then means: none there
Atlas.sieve = (images) => {
  const total = images.id.length;
  // Each choice gets a small number, so that a pass over all photographs touches nothing but typed arrays.
  const coded = (values) => {
    const names = [...new Set(values.map((value) => (value === null ? "none" : String(value))))];
    const code = new Map(names.map((name, k) => [name, k]));
    return { names, codes: Uint16Array.from(values, (value) => code.get(value === null ? "none" : String(value))) };
  };
  const kinds = { grades: coded(images.grade), eyes: coded(images.eye), trusts: coded(images.trust) };
  const severity = Float64Array.from(images.severity);
  const gap = Float64Array.from(images.disagreement, (value) => value ?? NaN);
  const [SCORE, GAP, CLUSTER, FLAGGED, NOTED, TEXT, LESIONS, UNSURE] = [1, 2, 3, 4, 5, 6, 7, 8];
  const NONE = 1; // a photograph's kinds as bits: none found, then one for each kind; 0 where the net did not look
  const bits = new Map([["none", NONE], ...images.lesions.map((kind, k) => [kind.key, 2 << k])]);
  const heldAt = (place) => { // of any place, or of those that lie in one
    const here = (kind, row) => (place === null ? kind.counts[row] : (kind.places?.[row] ?? 0) & (1 << place));
    const known = (row) => (place === null ? images.looked?.[row] : images.lesions.some((kind) => (kind.places?.[row] ?? null) !== null));
    return Uint32Array.from(images.id, (_, row) => images.lesions.reduce((sum, kind) => sum | (here(kind, row) ? bits.get(kind.key) : 0), 0) || (known(row) ? NONE : 0));
  };
  const made = new Map(); // by place
  const noted = Uint8Array.from(images.note, (note) => (note === "" ? 0 : 1));

  // Words are looked for in names and notes, an id by how it begins, a plate by its number ("#12" finds plate 12 alone).
  let index = null; // made in an idle moment, or when words are first looked for
  const indexed = () => {
    if (!index) {
      const prose = images.note.map((note, row) => `${images.name?.[row] ?? ""}\n${note}`.toLowerCase());
      const worded = prose.flatMap((text, row) => (text.length > 1 ? [row] : []));
      index = { prose, worded, byId: [...images.id.keys()].sort((a, b) => (images.id[a] < images.id[b] ? -1 : 1)) };
    }
    return index;
  };
  (window.requestIdleCallback ?? setTimeout)(indexed);
  const found = (word) => {
    const { prose, worded, byId } = indexed();
    const mask = new Uint8Array(total);
    const plate = Number(/^#?(\d{1,9})$/.exec(word)?.[1] ?? NaN) - 1;
    if (plate >= 0 && plate < total) mask[plate] = 1;
    if (word.startsWith("#") && plate >= 0) return mask;
    for (const row of worded) if (prose[row].includes(word)) mask[row] = 1;
    let [low, high] = [0, total];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (images.id[byId[middle]] < word) low = middle + 1; else high = middle;
    }
    for (; low < total && images.id[byId[low]].startsWith(word); low += 1) mask[byId[low]] = 1;
    return mask;
  };
  const matching = (text) => {
    const masks = text.toLowerCase().split(/\s+/).filter(Boolean).map(found);
    return masks.length ? masks.reduce((all, one) => all.map((value, row) => value & one[row])) : null;
  };

  return (wishes) => {
    const chosen = Object.entries(kinds).map(([name, { names, codes }], k) => ({
      name, names, codes, kind: 10 + k, fits: Uint8Array.from(names, (one) => (!wishes[name] || wishes[name].has(one) ? 1 : 0)), counts: new Uint32Array(names.length),
    }));
    const given = (value, otherwise) => (value === null || value === undefined || value === "" ? otherwise : Number(value));
    const low = given(wishes.low, -Infinity) - 1e-9;
    const high = given(wishes.high, Infinity) + 1e-9;
    const from = given(wishes.from, -Infinity) - 1e-9;
    const to = given(wishes.to, Infinity) + 1e-9;
    const gapped = from > -Infinity || to < Infinity;
    const cluster = given(wishes.cluster, null);
    const text = matching(wishes.text ?? "");
    const wanted = [...wishes.lesions ?? []].reduce((sum, key) => sum | (bits.get(key) ?? 0), 0);
    const place = given(wishes.place, null);
    if (!made.has(place)) made.set(place, heldAt(place));
    const held = made.get(place);
    const some = place !== null && !wanted; // any lesion must lie there
    const rows = [];
    const counts = { cluster: new Map(), lesions: new Map([...bits.keys()].map((key) => [key, 0])), flagged: 0, unsure: 0, noted: 0 };
    for (let row = 0; row < total; row += 1) {
      let fails = 0;
      let only = 0; // the one kind of wish that keeps this photograph out
      for (const { codes, fits, kind } of chosen) if (!fits[codes[row]]) { fails += 1; only = kind; }
      if (severity[row] < low || severity[row] > high) { fails += 1; only = SCORE; }
      if (gapped && !(gap[row] >= from && gap[row] <= to)) { fails += 1; only = GAP; }
      if (wishes.flagged && !images.flagged[row]) { fails += 1; only = FLAGGED; }
      if (wishes.unsure && !images.unsure[row]) { fails += 1; only = UNSURE; }
      if (wishes.noted && !noted[row]) { fails += 1; only = NOTED; }
      if ((held[row] & wanted) !== wanted || (some && held[row] <= NONE)) { fails += 1; only = LESIONS; }
      if (text && !text[row]) { fails += 1; only = TEXT; }
      if (fails > 1) continue;
      if (cluster !== null && !images.clusters[row].includes(cluster)) { fails += 1; only = CLUSTER; }
      if (fails > 1) continue;
      if (fails === 0) {
        rows.push(row);
        for (const [key, bit] of bits) if (held[row] & bit) counts.lesions.set(key, counts.lesions.get(key) + 1);
      }
      for (const { codes, counts: tally, kind } of chosen) if (fails === 0 || only === kind) tally[codes[row]] += 1;
      if (fails === 0 || only === CLUSTER) for (const one of images.clusters[row]) counts.cluster.set(one, (counts.cluster.get(one) ?? 0) + 1);
      if (fails === 0 || only === FLAGGED) counts.flagged += images.flagged[row];
      if (fails === 0 || only === UNSURE) counts.unsure += images.unsure[row];
      if (fails === 0 || only === NOTED) counts.noted += noted[row];
    }
    for (const { name, names, counts: tally } of chosen) counts[name] = new Map(names.map((one, k) => [one, tally[k]]));
    return { rows, counts };
  };
};
