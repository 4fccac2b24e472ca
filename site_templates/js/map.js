// The page of the patch map: the card of the patch pointed at, the key, the search, pointer and keys. What lies where is
// map-points.js, the canvases are map-draw.js, the selected patches map-select.js. The address holds view, colours and selection.
"use strict";
Promise.all([Atlas.load("data/map.js"), Atlas.load("data/meanings.js"), Atlas.images()]).then(() => {
  const { el, number, count, asset, page, state } = Atlas;
  const get = (id) => document.getElementById(id);
  const stage = get("map");
  const data = window.ATLAS_MAP;
  const images = window.ATLAS_IMAGES;
  const FAR = 12; // how far from a dot the pointer may be, in CSS pixels
  const points = AtlasPoints(data, images);
  const view = AtlasView(data.extent);
  const scene = { colouring: "grade", pictures: false, selection: null, within: null, hidden: points.folded, mask: null, current: -1, rope: null, crossed: false };
  const drawing = Atlas.mapDrawing({ stage, field: get("map-dots"), sheet: get("map-marks"), points, view, scene });
  const words = Atlas.patchWords(points);
  const gallery = Atlas.mapGallery({ points, words });
  let lassoing = false;

  const say = (text, ...more) => get("map-status").replaceChildren(text, ...more);
  const masked = () => { // which patches can be pointed at: those that are drawn, of those that are selected
    const { within, hidden } = scene;
    scene.mask = hidden ? Uint8Array.from(hidden, (one, i) => (one || (within && !within[i]) ? 0 : 1)) : within;
  };
  const nearest = (sx, sy, reach) => points.nearest(...view.toMap(sx, sy), reach / view.scale(), scene.mask);
  const pick = (sx, sy) => {
    const tile = drawing.tileAt(sx, sy);
    return tile >= 0 ? tile : nearest(sx, sy, FAR);
  };
  const open = (i) => { location.href = page(points.page(i)); };

  // ---- the view ---------------------------------------------------------------------------------------------------------------
  const seen = () => {
    stage.dataset.view = `${view.x} ${view.y} ${view.zoom}`;
    drawing.draw();
    if (points.total < points.all) later();
  };
  const moved = () => {
    state.set({ view: view.isWhole() ? null : [Math.round(view.x), Math.round(view.y), Number(view.zoom.toFixed(2))].join(",") });
    seen();
  };
  const zoomAt = (...at) => { view.zoomAt(...at); moved(); };
  const whole = () => { view.whole(); moved(); };
  const show = (members) => { // bring patches into view
    const bounds = points.bounds(members);
    if (!bounds) return;
    view.show(bounds);
    moved();
  };

  // ---- a map of very many patches: squares in sight are loaded as soon as they hold few enough ---------------------------------
  const tell = () => {
    get("map-loaded").hidden = points.total === points.all;
    get("map-loaded").textContent = gettext("%(n)s of %(all)s patches are loaded: a random sample of the map, and all patches where you have zoomed in. A selection holds only loaded patches.", { n: count(points.total), all: count(points.all) });
  };
  const load = () => {
    const names = points.unloaded(view);
    if (!names.length) return;
    Promise.all(names.map((name) => Atlas.load(`data/map/${name}.js`))).then(() => {
      const before = points.total;
      points.add(Object.fromEntries(names.map((name) => [name, window.ATLAS_SQUARES[name]])));
      for (const name of names) delete window.ATLAS_SQUARES[name]; // the columns of points have it now
      if (points.total === before) return;
      if (scene.selection) select(points.from(scene.selection.key), { told: false, written: false });
      restyle();
      tell();
    }).catch((error) => say(error.message));
  };
  let waiting = 0;
  const later = () => { // when the view has come to rest
    clearTimeout(waiting);
    waiting = setTimeout(load, 150);
  };

  // ---- the card: the patch under the pointer or the cross ---------------------------------------------------------------------
  const present = (i, spoken = false) => {
    if (i < 0 || i === scene.current) return;
    scene.current = i;
    const plate = points.plate[i], drop = points.drop[i] / 1000, cluster = points.cluster[i];
    const shown = get("card-picture") ?? get("card-link").appendChild(el("img", { id: "card-picture", width: 128, height: 128 }));
    shown.src = asset(points.picture(i));
    shown.alt = words.facts(i);
    for (const link of [get("card-link"), get("card-open")]) link.href = page(points.page(i));
    get("card-open").hidden = false;
    const by = { drop: number(Math.abs(drop)) };
    const change = drop > 0 ? gettext("the score falls by %(drop)s grades", by) : gettext("the score rises by %(drop)s grades", by);
    const lines = [
      [gettext("Plate"), [count(plate + 1), images.name?.[plate]].filter(Boolean).join(", ")],
      [gettext("Score"), number(images.severity[plate])],
      [gettext("Read as grade"), points.named(images.grades.find((grade) => grade.number === images.read[plate]))],
      [Atlas.gradeName, points.named(points.grade(plate))],
      points.kind(i) && [gettext("Lesion"), gettext("%(kind)s, found by the network", { kind: points.kind(i).name })],
      [gettext("When hidden"), Atlas.seen(drop) ? change : gettext("the score hardly changes")],
      cluster && [gettext("Cluster"), el("a", { href: page(points.clusterPage(cluster)) }, String(cluster))],
    ];
    get("card-facts").replaceChildren(...lines.filter(Boolean).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
    if (spoken) say([words.facts(i), cluster && gettext("Cluster %(number)s.", { number: cluster }), gettext("Press Enter to open the photograph.")].filter(Boolean).join(" "));
    Object.assign(document.querySelector("#mapping .card").dataset, { pick: points.id(i), plate: plate + 1 });
    drawing.mark();
  };

  // ---- the selection ----------------------------------------------------------------------------------------------------------
  const reach = (event) => { // a jump inside the page that leaves the address alone
    event.preventDefault();
    get("selection-title").scrollIntoView({ behavior: Atlas.still() ? "auto" : "smooth" });
    get("selection-title").focus({ preventScroll: true });
  };
  const select = (made, { told = true, written = true } = {}) => {
    if (made && scene.hidden && /^(lasso|box):/.test(made.key)) made.members = made.members.filter((i) => !scene.hidden[i]);
    if (made?.members.length && made.key.startsWith("cluster:") && scene.hidden?.[made.members[0]]) fold(false); // it is asked for by name
    scene.selection = made;
    scene.within = made && new Uint8Array(points.total);
    for (const i of made?.members ?? []) scene.within[i] = 1;
    masked();
    if (written) state.set({ select: made?.key ?? null });
    for (const button of get("map-key").querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.key === made?.key));
    gallery.show(made);
    if (told && made) {
      say(ngettext("%(title)s: %(n)s patch selected.", "%(title)s: %(n)s patches selected.", made.members.length, { title: made.title, n: count(made.members.length) }), " ",
        el("a", { href: "#selection-title", onclick: reach }, gettext("Show the selection below")));
    } else if (told) say(gettext("Nothing selected."));
    drawing.draw();
  };
  // Clusters that may not show the disease are folded away, until the reader asks for them.
  const fold = (yes, written = true) => {
    scene.hidden = yes ? points.folded : null;
    if (get("folded")) get("folded").checked = !yes;
    masked();
    if (written) state.set({ artefacts: yes || !points.folded ? null : 1 });
    key();
    drawing.draw();
  };
  get("folded")?.addEventListener("change", ({ target }) => fold(!target.checked));
  const selectView = () => {
    const corners = [...view.toMap(0, 0), ...view.toMap(view.wide, view.high)].map(Math.round);
    select(points.from(`box:${corners.join(",")}`));
  };
  // What a name, a synonym or an abbreviation means on this map: the key of a selection, or null.
  const meaning = AtlasMeaning(images, window.ATLAS_MEANINGS);
  const keyOf = ({ key: sense }) => {
    const wanted = sense.replace(/^(lesion|marked):/, "kind:");
    return points.from(wanted) ? wanted : null;
  };
  const meant = (text) => meaning.search(text).senses.map(({ sense }) => keyOf(sense)).find(Boolean) ?? null;
  const search = (text) => {
    if (!text) return say(gettext("Enter the number of a plate, “cluster 3”, or the beginning of an id."));
    const found = points.sought(text) ?? meant(text);
    if (!found) {
      const like = meaning.near(text).filter(({ sense }) => keyOf(sense));
      const said = like.length ? [" ", gettext("Did you mean:"), " ", ...like.flatMap(({ text: name }) => [el("button", { type: "button", onclick: () => { get("map-search").value = name; search(name); } }, name), " "])] : [];
      const known = { text, plates: count(images.id.length), clusters: data.clusters.at(-1)?.number };
      return say(data.clusters.length
        ? gettext("No plate or cluster matches “%(text)s”. Plates are numbered from 1 to %(plates)s, clusters from 1 to %(clusters)s.", known)
        : gettext("No plate matches “%(text)s”. Plates are numbered from 1 to %(plates)s.", known), ...said);
    }
    const made = points.from(found);
    if (!made.members.length && !found.startsWith("plate:")) return say(gettext("%(title)s: no patch on this map.", { title: made.title }));
    if (!made.members.length) {
      const plate = Number(found.slice(6)) - 1;
      const none = points.total < points.all
        ? gettext("No patch of plate %(number)s is loaded. Its report shows them all.", { number: count(plate + 1) })
        : gettext("Plate %(number)s has no patch on this map.", { number: count(plate + 1) });
      return say(none, " ", el("a", { href: page(`images/${images.id[plate]}.html`) }, gettext("Open its report")));
    }
    select(made);
    show(made.members);
    present(made.ordered[0]);
  };

  // ---- the key ----------------------------------------------------------------------------------------------------------------
  const key = () => {
    const place = get("map-key");
    if (scene.colouring === "drop") {
      const { low, high } = drawing.ramp();
      const ends = [gettext("%(drop)s grades", { drop: number(low / 1000) }), gettext("%(drop)s or more", { drop: number(high / 1000) })];
      place.replaceChildren(el("div", { class: "ramp-key" }, el("span", {}, ends[0]),
        el("i", { style: { background: "linear-gradient(90deg, var(--drop-low), var(--drop-high))" }, "aria-hidden": "true" }), el("span", {}, ends[1])));
      get("map-key-title").textContent = gettext("How far the score falls when the patch is hidden");
      return;
    }
    const title = { cluster: gettext("Clusters"), grade: gettext("Grades"), kind: gettext("Lesions found by the network") }[scene.colouring];
    const spoken = ({ label, count: n }) => {
      const values = { name: label, n: count(n) };
      if (scene.colouring === "cluster") return ngettext("Cluster %(name)s, %(n)s patch", "Cluster %(name)s, %(n)s patches", n, values);
      if (scene.colouring === "grade") return ngettext("Grade %(name)s, %(n)s patch", "Grade %(name)s, %(n)s patches", n, values);
      return ngettext("%(name)s, %(n)s patch", "%(name)s, %(n)s patches", n, values);
    };
    place.replaceChildren(...drawing.groups().filter((one) => one.count && !(one.folded && scene.hidden)).map((one) => el("button", {
      type: "button", dataset: { key: one.key }, "aria-pressed": String(scene.selection?.key === one.key),
      title: ngettext("Select %(n)s patch", "Select %(n)s patches", one.count, { n: count(one.count) }),
    }, one.letter ? el("b", { class: "letter", style: { "--kind": one.colour }, "aria-hidden": "true" }, one.letter) : el("i", { style: { background: one.colour }, dataset: { shape: one.shape ?? "circle" }, "aria-hidden": "true" }), el("span", { "aria-hidden": "true" }, one.label), el("span", { class: "unseen" }, spoken(one)), el("small", { "aria-hidden": "true" }, count(one.count)))));
    get("map-key-title").replaceChildren(title, el("span", { class: "of-screen" }, " ", gettext("(click one to select its patches)")));
  };
  const restyle = () => {
    drawing.colour();
    key();
    drawing.draw();
  };
  const standard = () => (data.clusters.length ? "cluster" : images.grade.some((grade) => grade !== null) ? "grade" : "drop");
  const possible = (wanted) => Boolean(document.querySelector(`[name=colour][value="${CSS.escape(wanted ?? "")}"]`));
  const recolour = (wanted, written = true) => {
    scene.colouring = wanted;
    for (const input of document.querySelectorAll("[name=colour]")) input.checked = input.value === wanted;
    if (written) state.set({ colour: wanted === standard() ? null : wanted });
    restyle();
  };
  const asPictures = (wanted, written = true) => {
    scene.pictures = wanted;
    get("as-pictures").setAttribute("aria-pressed", String(wanted));
    if (written) state.set({ show: wanted ? "pictures" : null });
    drawing.draw();
  };
  const asLasso = (wanted) => {
    lassoing = wanted;
    stage.classList.toggle("lassoing", wanted);
    get("lasso").setAttribute("aria-pressed", String(wanted));
    if (wanted) say(gettext("Draw around the patches to select them."));
  };

  // ---- pointer ----------------------------------------------------------------------------------------------------------------
  const fingers = new Map();
  let start = null, gap = 0;
  const place = (event) => {
    const area = get("map-dots").getBoundingClientRect();
    return [event.clientX - area.left, event.clientY - area.top];
  };
  const spread = () => {
    const [one, other] = [...fingers.values()];
    return { gap: Math.hypot(one[0] - other[0], one[1] - other[1]), x: (one[0] + other[0]) / 2, y: (one[1] + other[1]) / 2 };
  };
  const lasso = (line) => { // a line of at most 64 corners, in whole map units, so that it fits into the address
    const step = Math.max(1, Math.ceil(line.length / 2 / 64));
    const corners = [];
    for (let k = 0; k < line.length / 2; k += step) corners.push(...view.toMap(line[2 * k], line[2 * k + 1]).map(Math.round));
    return points.from(`lasso:${corners.join(",")}`);
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    scene.crossed = false;
    stage.setPointerCapture(event.pointerId);
    const at = place(event);
    fingers.set(event.pointerId, at);
    if (fingers.size === 2) {
      scene.rope = start = null;
      gap = spread().gap;
      return;
    }
    start = { at, x: view.x, y: view.y, moved: false };
    scene.rope = lassoing || event.shiftKey ? [...at] : null;
  });
  stage.addEventListener("pointermove", (event) => {
    const at = place(event);
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, at);
    if (fingers.size === 2) {
      const now = spread();
      zoomAt(now.gap / Math.max(1, gap), now.x, now.y);
      gap = now.gap;
    } else if (start) {
      start.moved ||= Math.hypot(at[0] - start.at[0], at[1] - start.at[1]) > 4;
      if (!start.moved) return;
      if (scene.rope) {
        scene.rope.push(...at);
        drawing.mark();
        return;
      }
      view.set({ x: start.x - (at[0] - start.at[0]) / view.scale(), y: start.y - (at[1] - start.at[1]) / view.scale() });
      moved();
    } else {
      const i = lassoing ? -1 : pick(...at);
      stage.classList.toggle("over", i >= 0);
      present(i);
    }
  });
  const release = (event) => {
    if (!fingers.delete(event.pointerId)) return;
    const begun = start, rope = scene.rope;
    start = scene.rope = null;
    if (!begun || event.type === "pointercancel") return drawing.mark();
    if (rope && begun.moved && rope.length >= 6) {
      asLasso(false);
      select(lasso(rope));
      return;
    }
    if (begun.moved || lassoing) return drawing.mark();
    const i = pick(...place(event));
    if (i < 0) return;
    const known = i === scene.current;
    present(i);
    if (event.pointerType === "mouse" || known) open(i); // the first touch shows, the second opens
  };
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    zoomAt(Math.exp(-Math.max(-300, Math.min(300, event.deltaY * lines)) / 300), ...place(event));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => event.preventDefault());

  // ---- keyboard: only while the map or its controls have the focus ------------------------------------------------------------
  const byKey = () => { // the cross in the middle takes the pointer's part
    scene.crossed = true;
    present(nearest(view.wide / 2, view.high / 2, 80), true);
    drawing.mark();
  };
  const pan = (dx, dy) => {
    view.set({ x: view.x + dx * view.wide * 0.12 / view.scale(), y: view.y + dy * view.high * 0.12 / view.scale() });
    moved();
    byKey();
  };
  const zoomBy = (factor) => { zoomAt(factor); byKey(); };
  const keys = {
    ArrowLeft: () => pan(-1, 0), ArrowRight: () => pan(1, 0), ArrowUp: () => pan(0, -1), ArrowDown: () => pan(0, 1),
    "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5),
    0: whole,
    Enter: () => { if (scene.current >= 0) open(scene.current); },
    c: () => { if (scene.current >= 0 && points.cluster[scene.current]) select(points.from(`cluster:${points.cluster[scene.current]}`)); },
  };
  const anywhere = {
    p: () => asPictures(!scene.pictures), l: () => asLasso(!lassoing), v: selectView, f: () => get("map-search").focus(),
    Escape: () => { if (lassoing) asLasso(false); else if (scene.selection) select(null); },
  };
  get("mapping").addEventListener("keydown", (event) => {
    if (Atlas.typing(event)) return;
    const act = (event.target === stage ? keys[event.key] : null) ?? anywhere[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  stage.addEventListener("blur", () => {
    scene.crossed = false;
    drawing.mark();
  });

  // ---- controls ---------------------------------------------------------------------------------------------------------------
  const press = (id, act) => get(id).addEventListener("click", act);
  press("zoom-in", () => zoomAt(1.6));
  press("zoom-out", () => zoomAt(1 / 1.6));
  press("zoom-whole", whole);
  press("as-pictures", () => asPictures(!scene.pictures));
  press("lasso", () => asLasso(!lassoing));
  press("select-view", selectView);
  press("selection-clear", () => { select(null); stage.focus(); });
  press("selection-show", () => { show(scene.selection.members); stage.scrollIntoView({ block: "center" }); });
  document.addEventListener("change", (event) => { if (event.target.name === "colour") recolour(event.target.value); });
  get("map-key").addEventListener("click", (event) => {
    const pressed = event.target.closest("button")?.dataset.key;
    if (pressed) select(pressed === scene.selection?.key ? null : points.from(pressed));
  });
  get("map-find").addEventListener("submit", (event) => { event.preventDefault(); search(get("map-search").value.trim()); });
  document.addEventListener("themechange", restyle);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
  const onPaper = (printed) => { drawing.print(printed); key(); };
  addEventListener("beforeprint", () => onPaper(true));
  addEventListener("afterprint", () => onPaper(false));
  matchMedia("print").addEventListener("change", (event) => onPaper(event.matches));

  // ---- the address ------------------------------------------------------------------------------------------------------------
  const restore = (wanted) => {
    recolour(possible(wanted.colour) ? wanted.colour : standard(), false);
    asPictures(wanted.show === "pictures", false);
    fold(wanted.artefacts !== "1", false);
    const made = wanted.select ? points.from(wanted.select) : null;
    select(made, { told: Boolean(made), written: false });
    const [x, y, zoom, ...rest] = (wanted.view ?? "").split(",").map(Number);
    if ([x, y, zoom].every(Number.isFinite) && !rest.length) view.set({ x, y, zoom });
    else view.whole();
    seen();
    if (made && !wanted.view && /^(plate|lasso|box):/.test(made.key)) show(made.members);
  };
  drawing.measure();
  tell();
  restore(state.get());
  present(scene.selection?.ordered[0] ?? points.byDrop[0]); // the strongest patch, until the pointer finds another
  state.listen(restore);
  new ResizeObserver(drawing.measure).observe(stage);
  drawing.paint();
  stage.dataset.ready = "yes";
}).catch((error) => {
  document.getElementById("map-status").textContent = error.message;
});
