// Thousands of thumbnails without lag: only the cells in sight exist.
"use strict";

// On a narrow screen the controls are in a closed drawer, so that the photographs come first.
for (const drawer of document.querySelectorAll("details.drawer")) {
  const wide = matchMedia("(min-width: 60.01rem)");
  drawer.open = wide.matches;
  drawer.dataset.set = "";
  wide.addEventListener("change", () => { drawer.open = wide.matches; });
}

// Atlas.grid(host, images, moved) fills `host`, a box of fixed height, with cells of fixed size. `moved` hears of each change of place.
Atlas.grid = (host, images, moved = () => {}) => {
  const { el, number, count } = Atlas;
  const GAP = 2;
  let caption = 24; // pixels below a photograph; a reason takes two lines more
  const PRINTED = 96;
  const REST = 150; // milliseconds without a new list
  const runway = el("div", { class: "runway", role: "list", "aria-label": host.dataset.label });
  host.append(runway);
  const colours = new Map(images.grades.map((grade) => [grade.number, grade]));
  const cells = new Map(); // by place in the list
  const picked = new Set(); // rows of `images`
  let reason = null; // why a photograph of the list matches: row -> texts
  let marked = false; // whether the letters of the lesions found are written on the photographs
  let list = [];
  let active = 0;
  let columns = 1;
  let side = 100;
  let seen = { first: 0, last: 0 };
  let spared = 0; // a timer while cells outside the screen wait: a list changes with every key typed, and what is in sight comes first

  const step = () => side + caption + GAP;
  const rowOf = (place) => Math.floor(place / columns);

  const has = (row) => images.lesions.filter((kind) => kind.counts[row]);
  const found = (row) => gettext("Lesions found: %(lesions)s.", { lesions: has(row).map((kind) => `${kind.plural} ${kind.counts[row]}`).join(", ") });
  const letters = (row) => el("span", { class: "letters", "aria-hidden": "true" },
    has(row).map((kind) => el("b", { class: "letter", style: { "--kind": kind.colour } }, kind.letter)));
  const words = (row) => {
    const grade = colours.get(images.grade[row]);
    const said = Atlas.plate(row, images.severity[row], images.read[row], grade), why = reasons(row);
    return [said, marked && has(row).length && found(row), why.length && `${why.join(", ")}.`].filter(Boolean).join(" ");
  };
  const reasons = (row) => (reason ? reason(row) : []);
  const put = (cell, place) => {
    cell.style.transform = `translate(${(place % columns) * (side + GAP)}px, ${rowOf(place) * step()}px)`;
    cell.style.width = `${side}px`;
    cell.style.height = `${side + caption}px`;
  };
  const make = (place) => {
    const row = list[place];
    const grade = colours.get(images.grade[row]), why = reasons(row);
    const cell = el("div", {
      class: `cell thumb${images.flagged[row] ? " flagged" : ""}${picked.has(row) ? " picked" : ""}`, role: "listitem",
      "aria-posinset": place + 1, "aria-setsize": list.length, style: { "--grade": grade?.colour ?? "transparent" }, dataset: { place, row, pick: images.id[row], plate: row + 1 },
    },
    el("a", { href: Atlas.page(`images/${images.id[row]}.html`), tabindex: place === active ? 0 : -1, title: images.flagged[row] ? Atlas.flag(images.difference[row]) : null },
      el("img", { src: Atlas.asset(`thumbnails/${images.id[row]}.jpg`), alt: words(row), width: 160, height: 160, decoding: "async", draggable: "false" }), marked ? letters(row) : null),
    el("div", { class: "line", "aria-hidden": "true" }, el("span", {}, `${number(images.severity[row])} → ${images.read[row]}`), grade ? el("span", {}, String(grade.number)) : null),
    reason ? el("div", { class: "why", "aria-hidden": "true", title: why.join(", ") }, why[0] ?? "") : null);
    put(cell, place);
    return cell;
  };
  const held = () => Number(document.activeElement?.closest?.(".cell")?.dataset.place ?? -1);

  const render = () => {
    const height = host.clientHeight;
    const spare = spared ? 0 : Math.ceil(height / step() / 2); // half a screen more above and below
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
    else if (top + side + caption > host.scrollTop + height) host.scrollTop = top + side + caption - height;
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

  // Show other rows of the columns, in the given order, at place `at`.
  const show = (rows, at = 0) => {
    const focused = host.contains(document.activeElement);
    list = rows;
    clear();
    measure();
    clearTimeout(spared);
    spared = setTimeout(() => {
      spared = 0;
      if (!before) render();
    }, REST);
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
      ? gettext("%(shown)s of %(total)s photographs, spread evenly along the order.", { shown: count(total), total: count(list.length) })
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
    if (before || !host.clientWidth) return; // on paper, or hidden while nothing is found
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
    show, go, words,
    // Whether the next show() writes the letters of the lesions found on each photograph.
    letter: (yes) => { marked = yes; },
    // Whether the next show() says below each photograph why it matches: row -> texts, the first of which is shown, or null.
    explain: (why) => {
      reason = why;
      caption = why ? 58 : 24;
    },
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
