// The strip: all photographs by severity, a slider along the score axis, one at random per step, and the strip shown one by one.
"use strict";
Atlas.images().then((images) => {
  const { el, number, count, state } = Atlas;
  const byId = (id) => document.getElementById(id);
  const form = byId("filter");
  const scrub = byId("scrub");
  const host = byId("strip");
  const total = images.id.length;
  const colours = new Map(images.grades.map((grade) => [grade.number, grade]));
  const plateOf = new Map(images.id.map((id, row) => [id, row]));
  const sieve = AtlasSieve(images);
  const axis = AtlasAxis(images);
  const { BINS, part, binOf, sample, smooth } = axis;

  // ---- what is chosen: controls and address --------------------------------------------------------------------------------
  const boxes = [...form.querySelectorAll("[name=grades]")];
  const lesions = [...form.querySelectorAll("[name=lesions]")];
  const marks = form.elements.marks;
  const region = form.elements.place;
  const eye = form.elements.eye;
  const shade = form.elements.shade;
  const differ = form.elements.differ;
  const steps = form.elements.steps;
  let seed = 1;
  const mode = () => form.elements.mode.value;
  const choose = (select, value) => { // a value that is not among the options means the first one
    if (select) select.value = [...select.options].some((option) => option.value === value) ? value : select.options[0].value;
  };
  const read = (pairs) => {
    const grades = pairs.grades?.split(",");
    for (const box of boxes) box.checked = !grades || grades.includes(box.value);
    for (const box of lesions) box.checked = (pairs.lesions ?? "").split(",").includes(box.value);
    if (marks) marks.checked = pairs.marks === "1";
    choose(eye, pairs.eye ?? "");
    choose(differ, AtlasDiffer(pairs, images.scale.flagged));
    choose(region, pairs.place ?? "");
    choose(shade, pairs.shade ?? "");
    form.elements.mode.value = pairs.mode === "steps" ? "steps" : "all";
    choose(steps, pairs.steps ?? "40");
    seed = /^\d{1,9}$/.test(pairs.seed ?? "") ? Number(pairs.seed) : 1;
  };
  const kinds = () => lesions.filter((box) => box.checked).map((box) => box.value);
  const write = () => state.set({
    lesions: kinds().join(","), place: region?.value, marks: marks?.checked ? 1 : null, shade: shade?.value,
    grades: boxes.every((box) => box.checked) ? null : boxes.filter((box) => box.checked).map((box) => box.value).join(",") || "-",
    eye: eye?.value, differ: differ?.value, gap: null, // "gap" is of earlier atlases
    mode: mode() === "steps" ? "steps" : null, steps: mode() === "steps" ? steps.value : null, seed: mode() === "steps" ? seed : null,
  });
  const filters = () => ({
    grades: boxes.every((box) => box.checked) ? null : new Set(boxes.filter((box) => box.checked).map((box) => box.value)),
    eyes: eye?.value ? new Set([eye.value]) : null,
    lesions: new Set(kinds()), place: region?.value ? region.selectedIndex - 1 : null,
    differ: differ?.value,
  });

  // ---- the density of the grades under the scrubber --------------------------------------------------------------------------
  const density = byId("density");
  const peaks = byId("peaks");
  const lines = (rows) => { // how many photographs show each kind of lesion: a photograph can show several
    const found = images.lesions.map((kind) => {
      const bins = new Float64Array(BINS);
      for (const row of rows) if (kind.counts[row]) bins[binOf(row)] += 1;
      return { kind, heights: [...smooth(bins)] };
    }).filter(({ heights }) => heights.some((v) => v > 0));
    const tallest = Math.max(...found.flatMap(({ heights }) => heights), 1e-9);
    const y = (v) => (100 - (92 * v) / tallest).toFixed(2);
    density.replaceChildren(...found.map(({ kind, heights }) => el("svg:polyline", {
      points: heights.map((v, k) => `${(1000 * (k + 0.5)) / BINS},${y(v)}`).join(" "), style: { stroke: kind.colour }, "data-kind": kind.key, class: "line",
    })));
    const taken = []; // letters are at the peaks of their lines, and side by side where peaks fall together
    peaks.replaceChildren(...found.map(({ kind, heights }) => {
      const top = heights.indexOf(Math.max(...heights));
      let left = top;
      while (taken.some((other) => Math.abs(other - left) < 5)) left -= 5;
      taken.push(left);
      return el("b", { class: "letter", style: { left: `${(100 * (left + 0.5)) / BINS}%`, top: `${y(heights[Math.max(0, left)])}%`, "--kind": kind.colour } }, kind.letter);
    }));
  };
  const draw = (rows) => {
    peaks.replaceChildren();
    if (shade?.value === "lesions") { lines(rows); return; }
    const grades = [...images.grades.map((grade) => grade.number), null];
    const bins = new Map(grades.map((kind) => [kind, new Float64Array(BINS)]));
    for (const row of rows) bins.get(images.grade[row])[binOf(row)] += 1;
    const layers = grades.map((kind) => [kind, smooth(bins.get(kind))]);
    const heights = Array.from({ length: BINS }, (_, k) => layers.reduce((sum, [, values]) => sum + values[k], 0));
    const tallest = Math.max(...heights, 1e-9);
    const base = new Float64Array(BINS);
    const x = (k) => (1000 * (k + 0.5)) / BINS;
    density.replaceChildren(...layers.filter(([, values]) => values.some((v) => v > 0)).map(([kind, values]) => {
      const lower = base.map((v) => 100 - (96 * v) / tallest);
      values.forEach((v, k) => { base[k] += v; });
      const upper = base.map((v) => 100 - (96 * v) / tallest);
      const edge = [...upper].map((y, k) => `${x(k)},${y.toFixed(2)}`);
      const back = [...lower].map((y, k) => `${x(k)},${y.toFixed(2)}`).reverse();
      const points = [`0,${upper[0].toFixed(2)}`, ...edge, `1000,${upper[BINS - 1].toFixed(2)}`, `1000,${lower[BINS - 1].toFixed(2)}`, ...back, `0,${lower[0].toFixed(2)}`];
      return el("svg:polygon", { points: points.join(" "), style: { fill: colours.get(kind)?.colour ?? "var(--ungraded)" }, "data-grade": kind ?? "none" });
    }));
  };

  // ---- the grid, and the reader's place in it --------------------------------------------------------------------------------
  const where = byId("where");
  const sight = byId("window");
  let scrubbing = false;
  let rows = [];
  const says = (row) => {
    const grade = colours.get(images.grade[row]);
    return [
      gettext("Plate %(plate)s of %(total)s.", { plate: count(row + 1), total: count(total) }), gettext("Score: %(score)s, read as grade %(read)s.", { score: number(images.severity[row]), read: images.read[row] }),
      grade && Atlas.graded(grade),
    ].filter(Boolean).join(" ");
  };
  const flagged = (row) => (images.flagged[row] ? [says(row), Atlas.flag(images.difference[row])].join(" ") : says(row));
  let settled = false;
  const grid = Atlas.grid(host, images, ({ place, row, first, last }) => {
    if (row === null) {
      where.value = gettext("No photographs to show");
      sight.style.width = "0";
      return;
    }
    where.value = flagged(row);
    if (!scrubbing) scrub.value = images.severity[row];
    scrub.setAttribute("aria-valuetext", says(row));
    const left = part(grid ? grid.list[first] : row);
    sight.style.left = `${100 * left}%`;
    sight.style.width = `${100 * Math.max(0, part(grid.list[Math.max(first, last)]) - left)}%`;
    if (settled) state.set({ at: place > 0 ? images.id[row] : null });
  });

  const shown = byId("shown");
  const apply = (row = grid.list.length ? grid.list[grid.place] : 0) => {
    const found = sieve(filters());
    const stepping = mode() === "steps";
    rows = stepping ? sample(found.rows, Number(steps.value), seed) : found.rows;
    steps.disabled = !stepping;
    byId("reshuffle").disabled = !stepping;
    for (const tally of form.querySelectorAll("[data-count]")) tally.textContent = count(found.counts.grades.get(tally.dataset.count) ?? 0);
    for (const tally of form.querySelectorAll("[data-lesion]")) tally.textContent = count(found.counts.lesions.get(tally.dataset.lesion) ?? 0);
    for (const option of differ?.options ?? []) {
      if (option.value) option.textContent = `${option.dataset.label} (${count(found.counts.differ.get(Number(option.value)) ?? 0)})`;
    }
    grid.letter(Boolean(marks?.checked));
    const many = { shown: count(rows.length), total: count(total), steps: count(Number(steps.value)) };
    if (!stepping) shown.value = rows.length === total ? gettext("%(total)s shown", many) : gettext("%(shown)s of %(total)s shown", many);
    else if (rows.length < steps.value) shown.value = gettext("%(shown)s shown, one per step. Some of the %(steps)s equal steps are empty.", many);
    else shown.value = gettext("%(shown)s shown, one from each of %(steps)s equal steps", many);
    byId("empty").hidden = rows.length > 0;
    host.hidden = !rows.length;
    draw(found.rows);
    grid.show(rows, axis.place(rows, row));
  };
  const changed = () => {
    write();
    apply();
  };
  form.addEventListener("change", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", () => {
    read({});
    changed();
    grid.go(grid.place, { focus: true });
  });

  const reshuffle = () => {
    if (mode() !== "steps") return;
    seed = (seed + 1 + Math.floor(Math.random() * 99998)) % 100000;
    changed();
  };
  byId("reshuffle").addEventListener("click", reshuffle);

  // Forwards to the first photograph at or above a score, backwards to the last at or below it, so that each key press moves.
  scrub.addEventListener("input", () => {
    if (!rows.length) return;
    scrubbing = true;
    const wanted = Number(scrub.value);
    const forwards = wanted >= images.severity[rows[grid.place]];
    grid.go(axis.scored(rows, wanted, forwards), { align: "start" });
  });
  scrub.addEventListener("change", () => {
    scrubbing = false;
    if (rows.length) scrub.value = images.severity[rows[grid.place]];
  });

  const flag = () => {
    const next = [...rows.keys()].map((k) => (grid.place + 1 + k) % rows.length).find((place) => images.flagged[rows[place]]);
    if (next !== undefined) grid.go(next, { focus: true });
    else shown.value = gettext("No flagged photographs are shown");
  };
  byId("next-flag")?.addEventListener("click", flag);

  // ---- two photographs for the compare page ----------------------------------------------------------------------------------
  const compare = byId("compare");
  let pair = null;
  const label = () => {
    compare.setAttribute("aria-pressed", String(pair !== null));
    const text = pair === null ? gettext("Compare two") : pair.length ? gettext("Plate %(number)s and …", { number: count(pair[0] + 1) }) : gettext("Choose the first");
    compare.firstChild.textContent = `${text} `;
    host.classList.toggle("choosing", pair !== null);
    grid.pick(pair ?? []);
  };
  const pairing = () => {
    pair = pair === null ? [] : null;
    label();
    if (pair) grid.go(grid.place, { focus: true });
  };
  compare?.addEventListener("click", pairing);
  host.addEventListener("click", (event) => {
    const cell = event.target.closest(".cell");
    if (!cell || pair === null) return;
    event.preventDefault();
    const row = Number(cell.dataset.row);
    pair = pair.includes(row) ? pair.filter((one) => one !== row) : [...pair, row];
    label();
    if (pair.length < 2) return;
    const [a, b] = pair.map((one) => images.id[one]);
    pair = null;
    label();
    location.href = `${compare.dataset.page}#a=${a}&b=${b}`;
  });

  // ---- watch it progress -----------------------------------------------------------------------------------------------------
  const theatre = byId("theatre");
  const plates = [0, 1].map(() => theatre.querySelector(".stage").appendChild(Atlas.el("img", { alt: "", width: 1024, height: 1024 })));
  const along = byId("along");
  const play = byId("play");
  const speed = byId("speed");
  const MOST = 120;
  const PLAY = gettext("Play"), PAUSE = gettext("Pause");
  let scenes = [];
  let scene = 0;
  let playing = false;
  let timer = 0;
  let ticket = 0;
  let coming = false; // whether a photograph is asked for but not seen yet: until then the next one waits
  const expect = (yes) => {
    coming = yes;
    theatre.querySelector(".stage").setAttribute("aria-busy", String(yes));
  };
  const pace = () => 1400 / Number(speed.value);
  const picture = (row) => Atlas.picture(images.id[row]).src;
  const turn = (on) => {
    playing = on;
    clearTimeout(timer);
    play.firstChild.textContent = on ? `${PAUSE} ` : `${PLAY} `;
    play.setAttribute("aria-pressed", String(on));
    byId("now").setAttribute("aria-live", on ? "off" : "polite");
    if (on) next();
  };
  const next = () => {
    clearTimeout(timer);
    if (coming) return;
    timer = setTimeout(() => {
      if (!playing) return;
      if (scene + 1 >= scenes.length) turn(false);
      else face(scene + 1);
    }, pace());
  };
  // The new photograph fades in above the old one once it is decoded, so that there is always one in sight.
  const face = (to) => {
    scene = Math.min(scenes.length - 1, Math.max(0, to));
    const row = scenes[scene];
    const mine = ++ticket;
    clearTimeout(timer);
    expect(true);
    const [under, over] = plates[0].classList.contains("front") ? plates : [plates[1], plates[0]];
    over.classList.remove("front");
    over.src = picture(row);
    over.alt = grid.words(row);
    over.decode().catch(() => undefined).then(() => {
      if (mine !== ticket) return;
      expect(false);
      theatre.style.setProperty("--fade", Atlas.still() ? "0s" : `${Math.min(900, pace() * 0.6)}ms`);
      over.classList.add("front");
      over.removeAttribute("aria-hidden");
      under.classList.remove("front");
      under.setAttribute("aria-hidden", "true");
      theatre.dataset.scene = scene;
      along.value = scene;
      along.setAttribute("aria-valuetext", says(row));
      byId("now").textContent = flagged(row);
      byId("open-now").href = Atlas.page(`images/${images.id[row]}.html`);
      state.set({ watch: images.id[row] });
      if (scene + 1 < scenes.length) new Image().src = picture(scenes[scene + 1]);
      if (playing) next();
    });
  };
  const enter = (from, start) => {
    if (!rows.length) return;
    scenes = rows.length > MOST ? sample(rows, MOST, seed) : rows;
    byId("sequence").textContent = rows.length > MOST
      ? gettext("%(scenes)s of the %(shown)s photographs on the strip: one from each of %(steps)s equal steps of the score.", { scenes: count(scenes.length), shown: count(rows.length), steps: MOST })
      : ngettext("The %(n)s photograph on the strip.", "The %(n)s photographs on the strip, in order of score.", rows.length, { n: count(rows.length) });
    along.max = Math.max(0, scenes.length - 1);
    if (!theatre.open) theatre.showModal();
    play.focus();
    const first = scenes.findIndex((row) => row >= from);
    face(first < 0 ? scenes.length - 1 : first);
    turn(start);
  };
  // It plays at once, except for readers who asked for less motion: they press the button, and photographs change without a fade.
  byId("watch").addEventListener("click", () => enter(grid.place > 0 && grid.place < rows.length - 1 ? rows[grid.place] : 0, !Atlas.still()));
  play.addEventListener("click", () => {
    if (!playing && scene === scenes.length - 1) face(0);
    turn(!playing);
  });
  along.addEventListener("input", () => face(Number(along.value)));
  speed.addEventListener("change", () => { if (playing) next(); });
  byId("leave").addEventListener("click", () => theatre.close());
  theatre.addEventListener("close", () => {
    turn(false);
    ticket += 1;
    state.set({ watch: null });
    grid.go(axis.place(rows, scenes[scene]), { align: "start", focus: true });
  });
  theatre.addEventListener("keydown", (event) => {
    if (event.key === " " && !event.target.closest("button, select, a")) {
      event.preventDefault();
      play.click();
    } else if (!event.target.closest("select, input")) {
      const to = { ArrowRight: scene + 1, ArrowLeft: scene - 1, Home: 0, End: scenes.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      turn(false);
      face(to);
    }
  });

  document.addEventListener("keydown", (event) => {
    if (theatre.open || Atlas.typing(event) || event.shiftKey || event.repeat) return;
    const button = { r: "reshuffle", w: "watch", f: "next-flag", c: "compare" }[event.key];
    const pressed = button && byId(button);
    if (!pressed) return;
    event.preventDefault();
    pressed.click();
  });

  // ---- the address -----------------------------------------------------------------------------------------------------------
  const named = (text) => plateOf.get(text) ?? (/^\d{1,9}$/.test(text ?? "") ? Math.min(total, Math.max(1, Number(text))) - 1 : undefined);
  const open = (pairs) => {
    read(pairs);
    apply(named(pairs.at) ?? 0);
    const row = named(pairs.watch);
    if (row !== undefined) enter(row, false);
    else if (theatre.open) theatre.close();
  };
  open(state.get());
  settled = true;
  state.listen(open);
  host.dataset.ready = "yes";
}, (error) => {
  document.getElementById("where").value = error.message;
});
