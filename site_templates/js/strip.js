// The strip: all photographs by severity, a scrubber over the score axis, one at random per step, and the strip as a moving plate.
"use strict";
Atlas.images().then((images) => {
  const { el, number, count, state } = Atlas;
  const byId = (id) => document.getElementById(id);
  const form = byId("filter");
  const scrub = byId("scrub");
  const host = byId("strip");
  const { lowest, highest } = images.scale;
  const span = highest - lowest;
  const total = images.id.length;
  const colours = new Map(images.grades.map((grade) => [grade.number, grade]));
  const plateOf = new Map(images.id.map((id, row) => [id, row]));
  const sieve = Atlas.sieve(images);
  const part = (row) => Math.min(1, Math.max(0, (images.severity[row] - lowest) / span));

  // ---- what is chosen: controls and address --------------------------------------------------------------------------------
  const boxes = [...form.querySelectorAll("[name=grades]")];
  const lesions = [...form.querySelectorAll("[name=lesions]")];
  const marks = form.elements.marks;
  const where_ = form.elements.place;
  const eye = form.elements.eye;
  const shade = form.elements.shade;
  const gap = form.elements.gap;
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
    choose(gap, pairs.gap ?? "");
    choose(where_, pairs.place ?? "");
    choose(shade, pairs.shade ?? "");
    form.elements.mode.value = pairs.mode === "steps" ? "steps" : "all";
    choose(steps, pairs.steps ?? "40");
    seed = /^\d{1,9}$/.test(pairs.seed ?? "") ? Number(pairs.seed) : 1;
  };
  const kinds = () => lesions.filter((box) => box.checked).map((box) => box.value);
  const write = () => state.set({
    lesions: kinds().join(","), place: where_?.value, marks: marks?.checked ? 1 : null, shade: shade?.value,
    grades: boxes.every((box) => box.checked) ? null : boxes.filter((box) => box.checked).map((box) => box.value).join(",") || "-",
    eye: eye?.value, gap: gap?.value,
    mode: mode() === "steps" ? "steps" : null, steps: mode() === "steps" ? steps.value : null, seed: mode() === "steps" ? seed : null,
  });
  const wishes = () => ({
    grades: boxes.every((box) => box.checked) ? null : new Set(boxes.filter((box) => box.checked).map((box) => box.value)),
    eyes: eye?.value ? new Set([eye.value]) : null,
    lesions: new Set(kinds()), place: where_?.value ? where_.selectedIndex - 1 : null,
    ...({ agree: { from: -0.5, to: 0.5 }, milder: { to: -1 }, severer: { from: 1 }, flagged: { flagged: true } }[gap?.value] ?? {}),
  });

  // ---- one photograph drawn at random from each equal step of the score ------------------------------------------------------
  const random = (step) => { // 0..1, the same for the same seed and step: what is filtered out of one step moves no other
    let x = (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(step + 1, 0x85ebca6b)) >>> 0;
    for (const [shift, factor] of [[16, 0x21f0aaad], [15, 0x735a2d97]]) x = Math.imul(x ^ (x >>> shift), factor) >>> 0;
    return ((x ^ (x >>> 15)) >>> 0) / 2 ** 32;
  };
  const drawn = (rows, into) => {
    const held = Array.from({ length: into }, () => []);
    for (const row of rows) held[Math.min(into - 1, Math.floor(part(row) * into))].push(row);
    return held.flatMap((those, step) => (those.length ? [those[Math.floor(random(step) * those.length)]] : []));
  };

  // ---- the density of the grades under the scrubber --------------------------------------------------------------------------
  const density = byId("density");
  const peaks = byId("peaks");
  const BINS = 200;
  const smooth = (bins) => {
    const width = 3;
    const kernel = Array.from({ length: 6 * width + 1 }, (_, k) => Math.exp(-0.5 * ((k - 3 * width) / width) ** 2));
    const sum = kernel.reduce((a, b) => a + b);
    // mass that would fall off an end is laid back onto the scale
    const inside = (k) => (k < 0 ? -k - 1 : k >= BINS ? 2 * BINS - k - 1 : k);
    const out = new Float64Array(BINS);
    bins.forEach((mass, at) => { if (mass) kernel.forEach((weight, k) => { out[inside(at + k - 3 * width)] += (mass * weight) / sum; }); });
    return out;
  };
  const lines = (rows) => { // how many photographs show each kind of lesion: a photograph can show several
    const found = images.lesions.map((kind) => {
      const bins = new Float64Array(BINS);
      for (const row of rows) if (kind.counts[row]) bins[Math.min(BINS - 1, Math.floor(part(row) * BINS))] += 1;
      return { kind, heights: [...smooth(bins)] };
    }).filter(({ heights }) => heights.some((v) => v > 0));
    const tallest = Math.max(...found.flatMap(({ heights }) => heights), 1e-9);
    const y = (v) => (100 - (92 * v) / tallest).toFixed(2);
    density.replaceChildren(...found.map(({ kind, heights }) => el("svg:polyline", {
      points: heights.map((v, k) => `${(1000 * (k + 0.5)) / BINS},${y(v)}`).join(" "), style: { stroke: kind.colour }, "data-kind": kind.key, class: "line",
    })));
    const taken = []; // letters stand at the peaks of their lines, and beside each other where these fall together
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
    const kinds = [...images.grades.map((grade) => grade.number), null];
    const bins = new Map(kinds.map((kind) => [kind, new Float64Array(BINS)]));
    for (const row of rows) bins.get(images.grade[row])[Math.min(BINS - 1, Math.floor(part(row) * BINS))] += 1;
    const layers = kinds.map((kind) => [kind, smooth(bins.get(kind))]);
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

  // ---- the grid, and where in it the reader stands ---------------------------------------------------------------------------
  const where = byId("where");
  const sight = byId("window");
  let scrubbing = false;
  let rows = [];
  const says = (row) => {
    const grade = colours.get(images.grade[row]);
    return `Plate ${count(row + 1)} of ${count(total)}, score ${number(images.severity[row])}${grade ? `, human grade ${grade.number} ${grade.name}` : ""}`;
  };
  let settled = false;
  const grid = Atlas.grid(host, images, ({ place, row, first, last }) => {
    if (row === null) {
      where.value = "Nothing to show";
      sight.style.width = "0";
      return;
    }
    where.value = says(row) + (images.flagged[row] ? ". Flagged: score and grade differ" : "");
    if (!scrubbing) scrub.value = images.severity[row];
    scrub.setAttribute("aria-valuetext", says(row));
    const left = part(grid ? grid.list[first] : row);
    sight.style.left = `${100 * left}%`;
    sight.style.width = `${100 * Math.max(0, part(grid.list[Math.max(first, last)]) - left)}%`;
    if (settled) state.set({ at: place > 0 ? images.id[row] : null });
  });

  const at = (row) => { // the place in the list nearest to a photograph that may not be in it
    let [low, high] = [0, rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle] < row) low = middle + 1; else high = middle;
    }
    return Math.min(low, rows.length - 1);
  };
  const shown = byId("shown");
  const apply = (row = grid.list.length ? grid.list[grid.place] : 0) => {
    const found = sieve(wishes());
    const stepping = mode() === "steps";
    rows = stepping ? drawn(found.rows, Number(steps.value)) : found.rows;
    steps.disabled = !stepping;
    byId("reshuffle").disabled = !stepping;
    for (const tally of form.querySelectorAll("[data-count]")) tally.textContent = count(found.counts.grades.get(tally.dataset.count) ?? 0);
    for (const tally of form.querySelectorAll("[data-lesion]")) tally.textContent = count(found.counts.lesions.get(tally.dataset.lesion) ?? 0);
    grid.letter(Boolean(marks?.checked));
    shown.value = stepping
      ? `${count(rows.length)} shown: one from each of ${steps.value} equal steps${rows.length < steps.value ? ", where there is one" : ""}`
      : rows.length === total ? `${count(total)} shown` : `${count(rows.length)} of ${count(total)} shown`;
    byId("empty").hidden = rows.length > 0;
    host.hidden = !rows.length;
    draw(found.rows);
    grid.show(rows, at(row));
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

  // Forwards to the first plate at or above a score, backwards to the last at or below it: a key press never stands still.
  scrub.addEventListener("input", () => {
    if (!rows.length) return;
    scrubbing = true;
    const wanted = Number(scrub.value);
    const forwards = wanted >= images.severity[rows[grid.place]];
    let [low, high] = [0, rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (forwards ? images.severity[rows[middle]] < wanted : images.severity[rows[middle]] <= wanted) low = middle + 1; else high = middle;
    }
    grid.go(Math.max(0, Math.min(rows.length - 1, forwards ? low : low - 1)), { align: "start" });
  });
  scrub.addEventListener("change", () => {
    scrubbing = false;
    if (rows.length) scrub.value = images.severity[rows[grid.place]];
  });

  const flag = () => {
    const next = [...rows.keys()].map((k) => (grid.place + 1 + k) % rows.length).find((place) => images.flagged[rows[place]]);
    if (next !== undefined) grid.go(next, { focus: true });
    else shown.value = "No flagged plate is shown";
  };
  byId("next-flag")?.addEventListener("click", flag);

  // ---- two plates for the compare page ---------------------------------------------------------------------------------------
  const compare = byId("compare");
  let pair = null;
  const label = () => {
    compare.setAttribute("aria-pressed", String(pair !== null));
    compare.firstChild.textContent = pair === null ? "Compare two " : pair.length ? `Plate ${count(pair[0] + 1)} and … ` : "Choose the first ";
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
  let scenes = [];
  let scene = 0;
  let playing = false;
  let timer = 0;
  let ticket = 0;
  let coming = false; // whether a plate is asked for but not seen yet: nothing goes on to the one after it
  const expect = (yes) => {
    coming = yes;
    theatre.querySelector(".stage").setAttribute("aria-busy", String(yes));
  };
  const pace = () => 1400 / Number(speed.value);
  const picture = (row) => Atlas.picture(images.id[row]).src;
  const turn = (on) => {
    playing = on;
    clearTimeout(timer);
    play.firstChild.textContent = on ? "Pause " : "Play ";
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
  // The new plate fades in above the old one once it is decoded, so that the mat is never bare.
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
      byId("now").textContent = `${says(row)}${images.flagged[row] ? ". Flagged: score and grade differ" : ""}`;
      byId("open-now").href = `${Atlas.root}images/${images.id[row]}.html`;
      state.set({ watch: images.id[row] });
      if (scene + 1 < scenes.length) new Image().src = picture(scenes[scene + 1]);
      if (playing) next();
    });
  };
  const enter = (from, start) => {
    if (!rows.length) return;
    scenes = rows.length > MOST ? drawn(rows, MOST) : rows;
    byId("sequence").textContent = rows.length > MOST
      ? `${count(scenes.length)} plates: one from each of ${MOST} equal steps of score among the ${count(rows.length)} shown in the strip.`
      : `The ${count(rows.length)} plates shown in the strip, in order of score.`;
    along.max = Math.max(0, scenes.length - 1);
    if (!theatre.open) theatre.showModal();
    play.focus();
    const first = scenes.findIndex((row) => row >= from);
    face(first < 0 ? scenes.length - 1 : first);
    turn(start);
  };
  // It plays at once, except for readers who asked for less motion: they press the button, and plates change without a fade.
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
    grid.go(at(scenes[scene]), { align: "start", focus: true });
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
