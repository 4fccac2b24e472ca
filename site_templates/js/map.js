// The patch map: our own drawing on a canvas, since a page from a disk can rely on neither a server nor WebGL.
// Dots are stamped into a pixel buffer (100,000 in some ten milliseconds), pictures are drawn where there is room, a grid finds
// what lies under the pointer. The view, the colours and the selection stand in the address.
"use strict";
(() => {
  const { el, number, signed, count, state } = Atlas;
  const get = (id) => document.getElementById(id);
  const stage = get("map");
  const field = get("map-dots");
  const sheet = get("map-marks");
  const pen = field.getContext("2d", { willReadFrequently: true }); // written pixel by pixel: better kept in plain memory
  const PAGE = 60; // pictures that the gallery adds at a time
  const ROOM = 400; // pictures drawn on the map at once, at most
  const FAR = 12; // how far from a dot the pointer may be, in CSS pixels
  const DEEPEST = 300; // zoom
  let data, images, total; // total: how many patches
  let grouping; // what the colours mean: { name, of: Uint8Array or Uint16Array by patch, groups: [{ key, label, colour, count }] }
  let byDrop; // patches, largest drop first
  let colouring = "grade";
  let pictures = false;
  let lassoing = false;
  let selection = null; // { key, members: patches, title, told }
  let within = null; // Uint8Array by patch: 1 where selected; null without a selection
  let current = -1; // the patch in the card
  const view = { x: 0, y: 0, zoom: 1 };

  // ---- words ----------------------------------------------------------------------------------------------------------------
  const idOf = (i) => `${images.id[data.plate[i]]}-${data.cells[data.cell[i]]}`;
  const pictureOf = (i) => `patches/${idOf(i)}.jpg`;
  const pageOf = (i) => `images/${images.id[data.plate[i]]}.html#${idOf(i)}`;
  const clusterPage = (n) => `clusters/${String(n).padStart(2, "0")}.html`;
  const gradeOf = (plate) => images.grades.find((grade) => grade.number === images.grade[plate]);
  const named = (grade) => (grade ? `${grade.number} ${grade.name}` : "not graded");
  const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;
  const facts = (i) => {
    const drop = data.drop[i] / 1000;
    return `Plate ${data.plate[i] + 1}; leaving this place out ${drop >= 0 ? "lowers" : "raises"} the score by ${number(Math.abs(drop))} grades`;
  };
  const say = (text, ...more) => get("map-status").replaceChildren(text, ...more);

  // ---- where things stand on the screen -------------------------------------------------------------------------------------
  let wide = 0, high = 0, ratio = 1; // of the stage, in CSS pixels, and device pixels for each
  const fit = () => 0.94 * Math.min(wide / Math.max(1, data.extent[0]), high / Math.max(1, data.extent[1]), Math.max(wide, high) / 2500);
  const scale = () => fit() * view.zoom;
  const toScreen = (x, y) => [(x - view.x) * scale() + wide / 2, (y - view.y) * scale() + high / 2];
  const toMap = (sx, sy) => [(sx - wide / 2) / scale() + view.x, (sy - high / 2) / scale() + view.y];
  const bounded = () => {
    view.zoom = Math.min(DEEPEST, Math.max(1, view.zoom));
    view.x = Math.min(data.extent[0], Math.max(0, view.x));
    view.y = Math.min(data.extent[1], Math.max(0, view.y));
  };
  const whole = () => Object.assign(view, { x: data.extent[0] / 2, y: data.extent[1] / 2, zoom: 1 });
  const moved = () => {
    bounded();
    const all = view.zoom === 1 && Math.abs(view.x - data.extent[0] / 2) < 1 && Math.abs(view.y - data.extent[1] / 2) < 1;
    state.set({ view: all ? null : [Math.round(view.x), Math.round(view.y), Number(view.zoom.toFixed(2))].join(",") });
    draw();
  };
  const zoomAt = (factor, sx = wide / 2, sy = high / 2) => {
    const [x, y] = toMap(sx, sy);
    view.zoom = Math.min(DEEPEST, Math.max(1, view.zoom * factor));
    const [nowX, nowY] = toMap(sx, sy);
    view.x += x - nowX;
    view.y += y - nowY;
    moved();
  };
  const show = (members) => { // bring patches into view
    let left = Infinity, top = Infinity, right = -Infinity, bottom = -Infinity;
    for (const i of members) {
      left = Math.min(left, data.x[i]); right = Math.max(right, data.x[i]);
      top = Math.min(top, data.y[i]); bottom = Math.max(bottom, data.y[i]);
    }
    if (left > right) return;
    Object.assign(view, { x: (left + right) / 2, y: (top + bottom) / 2 });
    view.zoom = Math.min(24, 0.8 * Math.min(wide / Math.max(1, right - left), high / Math.max(1, bottom - top)) / fit());
    moved();
  };

  // ---- finding what lies at a place: patches by squares of a grid ------------------------------------------------------------
  const SQUARES = 128;
  let square, starts, sorted;
  const index = () => {
    square = (Math.max(...data.extent) + 1) / SQUARES;
    const at = (i) => Math.floor(data.y[i] / square) * SQUARES + Math.floor(data.x[i] / square);
    starts = new Uint32Array(SQUARES * SQUARES + 1);
    for (let i = 0; i < total; i += 1) starts[at(i) + 1] += 1;
    for (let k = 0; k < SQUARES * SQUARES; k += 1) starts[k + 1] += starts[k];
    const next = starts.slice(0, -1);
    sorted = new Uint32Array(total);
    for (let i = 0; i < total; i += 1) sorted[next[at(i)]++] = i;
  };
  const each = (left, top, right, bottom, call) => { // patches inside a rectangle of the map
    const clip = (value) => Math.min(SQUARES - 1, Math.max(0, Math.floor(value / square)));
    for (let row = clip(top); row <= clip(bottom); row += 1) {
      const end = starts[row * SQUARES + clip(right) + 1];
      for (let k = starts[row * SQUARES + clip(left)]; k < end; k += 1) {
        const i = sorted[k];
        if (data.x[i] >= left && data.x[i] <= right && data.y[i] >= top && data.y[i] <= bottom) call(i);
      }
    }
  };
  const inView = () => {
    const found = [];
    each(...toMap(0, 0), ...toMap(wide, high), (i) => found.push(i));
    return found;
  };
  const nearest = (sx, sy, reach) => {
    const [x, y] = toMap(sx, sy);
    const far = reach / scale();
    let best = -1, least = far * far;
    each(x - far, y - far, x + far, y + far, (i) => {
      const distance = (data.x[i] - x) ** 2 + (data.y[i] - y) ** 2;
      if (distance > least || (within && !within[i])) return;
      if (distance < least || best < 0) { least = distance; best = i; }
    });
    return best;
  };
  const pick = (sx, sy) => {
    const tile = tiles.findLast((one) => Math.abs(one.sx - sx) <= one.side / 2 && Math.abs(one.sy - sy) <= one.side / 2);
    return tile ? tile.i : nearest(sx, sy, FAR);
  };
  const inside = (polygon) => { // patches inside a polygon of map points [x, y, x, y, …], by crossings of a ray
    let left = Infinity, top = Infinity, right = -Infinity, bottom = -Infinity;
    for (let k = 0; k < polygon.length; k += 2) {
      left = Math.min(left, polygon[k]); right = Math.max(right, polygon[k]);
      top = Math.min(top, polygon[k + 1]); bottom = Math.max(bottom, polygon[k + 1]);
    }
    const found = [];
    each(left, top, right, bottom, (i) => {
      let odd = false;
      for (let k = 0, before = polygon.length - 2; k < polygon.length; before = k, k += 2) {
        const y0 = polygon[before + 1], y1 = polygon[k + 1];
        if ((y1 > data.y[i]) !== (y0 > data.y[i]) && data.x[i] < (polygon[before] - polygon[k]) * (data.y[i] - y1) / (y0 - y1) + polygon[k]) odd = !odd;
      }
      if (odd) found.push(i);
    });
    return found;
  };

  // ---- colours ---------------------------------------------------------------------------------------------------------------
  const probe = el("span", { hidden: true, "aria-hidden": "true" });
  document.body.append(probe);
  let printing = false;
  const token = (name) => { // a colour of the style sheet, in the theme that is seen, or on paper, as [r, g, b]
    probe.style.colorScheme = printing ? "light" : "";
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  };
  const paper = () => (printing ? [255, 255, 255] : token("--raised"));
  const hex = (text) => [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16));
  const css = (colour) => `rgb(${colour.map(Math.round).join(" ")})`;
  const mix = (one, other, share) => one.map((value, k) => value + (other[k] - value) * share);
  const STEPS = 24; // of the drop's ramp
  let ramp = null; // the drop drawn strongest and weakest, in thousandths
  const group = () => {
    const of = new Uint16Array(total);
    let groups;
    if (colouring === "cluster") {
      groups = data.clusters.map((one) => ({ key: `cluster:${one.number}`, label: String(one.number), colour: hex(one.colour), count: one.count }));
      const entry = new Map(data.clusters.map((one, k) => [one.number, k]));
      for (let i = 0; i < total; i += 1) of[i] = entry.get(data.cluster[i]) ?? groups.length;
      groups.push({ key: "", label: "in no cluster", colour: token("--muted"), count: 0 });
    } else if (colouring === "grade") {
      groups = [...images.grades, null].map((grade) => ({ key: `grade:${grade ? grade.number : "none"}`, label: named(grade), colour: grade ? hex(grade.colour) : token("--muted"), count: 0 }));
      const entry = new Map(images.grades.map((grade, k) => [grade.number, k]));
      for (let i = 0; i < total; i += 1) groups[of[i] = entry.get(images.grade[data.plate[i]]) ?? groups.length - 1].count += 1;
    } else {
      const ends = [token("--drop-low"), token("--drop-high")];
      groups = Array.from({ length: STEPS }, (_, k) => ({ colour: mix(...ends, k / (STEPS - 1)), count: 1 }));
      ramp = { low: data.drop[byDrop[total - 1]], high: data.drop[byDrop[Math.floor(total / 200)]] }; // the strongest 0.5 % share the last colour
      const span = Math.max(1, ramp.high - ramp.low);
      for (let i = 0; i < total; i += 1) of[i] = Math.min(STEPS - 1, Math.max(0, Math.floor((data.drop[i] - ramp.low) / span * STEPS)));
    }
    grouping = { of, groups };
  };

  // ---- drawing ---------------------------------------------------------------------------------------------------------------
  let tiles = []; // pictures on the map: { i, sx, sy, side }
  const cache = new Map(); // path -> Image, the oldest first
  const picture = (path) => {
    let image = cache.get(path);
    if (!image) {
      image = new Image();
      image.onload = refresh;
      image.src = Atlas.root + path;
      if (cache.size >= 3 * ROOM) cache.delete(cache.keys().next().value);
    } else cache.delete(path);
    cache.set(path, image);
    return image;
  };
  const radius = () => Math.min(7, Math.max(1.1, 0.3 * Math.sqrt(wide * high / Math.max(1, total)) * Math.sqrt(view.zoom)));
  const stamp = (r, across) => { // a disc as offsets into the buffer, each with its share of the pixel in 256ths
    const reach = Math.ceil(r);
    const made = { offsets: [], shares: [], reach };
    for (let dy = -reach; dy <= reach; dy += 1) {
      for (let dx = -reach; dx <= reach; dx += 1) {
        const share = Math.min(1, Math.max(0, r + 0.5 - Math.hypot(dx, dy)));
        if (share > 0) { made.offsets.push(dy * across + dx); made.shares.push(Math.round(230 * share)); }
      }
    }
    return made;
  };
  const paintDots = () => {
    const across = field.width, down = field.height;
    const buffer = pen.createImageData(across, down);
    const bytes = buffer.data;
    const ground = paper();
    new Uint32Array(bytes.buffer).fill(new Uint32Array(new Uint8ClampedArray([...ground, 255]).buffer)[0]);
    const { offsets, shares, reach } = stamp(radius() * ratio, across);
    const k = scale() * ratio;
    const left = across / 2 - view.x * k, top = down / 2 - view.y * k;
    const { of, groups } = grouping;
    const pass = (colours, wanted) => {
      const flat = Uint8Array.from(colours.flat());
      for (let i = 0; i < total; i += 1) {
        if (wanted >= 0 && within[i] !== wanted) continue;
        const sx = Math.round(data.x[i] * k + left), sy = Math.round(data.y[i] * k + top);
        if (sx < reach || sy < reach || sx >= across - reach || sy >= down - reach) continue;
        const centre = sy * across + sx, c = 3 * of[i];
        for (let s = 0; s < offsets.length; s += 1) {
          const p = 4 * (centre + offsets[s]), share = shares[s];
          bytes[p] += ((flat[c] - bytes[p]) * share) >> 8;
          bytes[p + 1] += ((flat[c + 1] - bytes[p + 1]) * share) >> 8;
          bytes[p + 2] += ((flat[c + 2] - bytes[p + 2]) * share) >> 8;
        }
      }
    };
    const full = groups.map(({ colour }) => colour);
    if (within) pass(full.map((colour) => mix(mix(colour, token("--muted"), 0.5), ground, 0.78)), 0);
    pass(full, within ? 1 : -1);
    pen.putImageData(buffer, 0, 0);
  };
  const SIDES = [112, 88, 68, 52, 40]; // of a picture on the map, in CSS pixels
  const placed = (wanted, side) => { // one picture for each place that has room, in the order wanted
    const found = [];
    const taken = new Map(); // squares of one side: the tile whose middle they hold
    for (const i of wanted) {
      const [sx, sy] = toScreen(data.x[i], data.y[i]);
      const column = Math.floor(sx / side), row = Math.floor(sy / side);
      let clear = true;
      for (let k = 0; k < 9 && clear; k += 1) {
        const near = taken.get((row + Math.floor(k / 3) - 1) * 4096 + column + k % 3 - 1);
        clear = !near || Math.abs(near.sx - sx) >= side || Math.abs(near.sy - sy) >= side;
      }
      if (!clear) continue;
      const tile = { i, sx, sy, side };
      taken.set(row * 4096 + column, tile);
      found.push(tile);
      if (found.length >= ROOM) break;
    }
    return found;
  };
  const placeTiles = () => { // the largest pictures of which at least half find room; of many patches those that drove the score most
    tiles = [];
    if (!pictures) return;
    const [left, top] = toMap(-30, -30), [right, bottom] = toMap(wide + 30, high + 30);
    const seen = byDrop.filter((i) => (!within || within[i]) && data.x[i] >= left && data.x[i] <= right && data.y[i] >= top && data.y[i] <= bottom);
    for (const side of seen.length > 4 * ROOM ? SIDES.slice(-1) : SIDES) {
      tiles = placed(seen, side);
      if (2 * tiles.length >= seen.length) break;
    }
  };
  const paintTiles = () => {
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const { i, sx, sy, side } of tiles) {
      const image = picture(pictureOf(i));
      const left = Math.round(sx - side / 2), top = Math.round(sy - side / 2);
      pen.fillStyle = css(grouping.groups[grouping.of[i]].colour);
      pen.fillRect(left, top, side, side);
      pen.fillStyle = "#0e0d0c";
      pen.fillRect(left + 2, top + 2, side - 4, side - 4);
      if (image.complete && image.naturalWidth) pen.drawImage(image, left + 2, top + 2, side - 4, side - 4);
    }
    pen.setTransform(1, 0, 0, 1, 0, 0);
  };
  let rope = null; // the lasso under way, as screen points
  const paintMarks = () => {
    const context = printing ? pen : sheet.getContext("2d"); // one sheet on paper: a second, emptied, is printed as white over the dots
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (!printing) context.clearRect(0, 0, wide, high);
    const ink = css(token("--ink")), ground = css(paper()), accent = css(token("--accent"));
    const outline = (points, closed) => {
      context.beginPath();
      for (let k = 0; k < points.length; k += 2) context.lineTo(points[k], points[k + 1]);
      if (closed) context.closePath();
      for (const [colour, width] of [[ground, 4], [accent, 2]]) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.stroke();
      }
    };
    if (rope) outline(rope, false);
    else if (selection?.polygon) outline(selection.polygon.map((value, k) => (k % 2 ? (value - view.y) * scale() + high / 2 : (value - view.x) * scale() + wide / 2)), true);
    if (colouring === "cluster") {
      context.font = `600 13px ${getComputedStyle(stage).fontFamily}`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      const placed = [];
      for (const one of data.clusters) {
        const [x, y] = toScreen(one.x, one.y);
        if (x < 0 || y < 0 || x > wide || y > high + 20) continue;
        const clear = (dy) => placed.every(([px, py]) => Math.abs(px - x) >= 30 || Math.abs(py - y - dy) >= 24);
        const lift = -radius() - 13; // above the dots, not on them
        const at = y + ([lift, lift - 25, lift + 50, lift - 50].find(clear) ?? lift);
        placed.push([x, at]);
        const faint = selection?.key.startsWith("cluster:") && selection.key !== `cluster:${one.number}`;
        context.globalAlpha = faint ? 0.5 : 1;
        context.beginPath();
        context.roundRect(x - 14, at - 11, 28, 22, 11);
        context.fillStyle = ground;
        context.fill();
        context.strokeStyle = one.colour;
        context.lineWidth = 2.5;
        context.stroke();
        context.fillStyle = ink;
        context.fillText(String(one.number), x, at + 0.5);
        context.globalAlpha = 1;
      }
    }
    if (current >= 0 && !printing) {
      const tile = tiles.find((one) => one.i === current);
      const [x, y] = toScreen(data.x[current], data.y[current]);
      for (const [colour, width] of [[ground, 5], [ink, 2.5]]) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.beginPath();
        if (tile) context.rect(x - tile.side / 2 - 1, y - tile.side / 2 - 1, tile.side + 2, tile.side + 2);
        else context.arc(x, y, radius() + 5, 0, 7);
        context.stroke();
      }
    }
    if (keyed) {
      context.strokeStyle = accent;
      context.lineWidth = 2;
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(wide / 2 + 5 * dx, high / 2 + 5 * dy);
        context.lineTo(wide / 2 + 14 * dx, high / 2 + 14 * dy);
      }
      context.stroke();
    }
  };
  let frame = 0;
  let stale = true; // the dots lie elsewhere or have other colours
  const paint = () => {
    frame = 0;
    if (!grouping || !wide) return;
    if (stale) {
      paintDots();
      placeTiles();
    }
    stale = false;
    paintTiles();
    paintMarks();
    stage.dataset.painted = String(Number(stage.dataset.painted ?? 0) + 1);
  };
  const refresh = () => { frame ||= requestAnimationFrame(paint); }; // pictures that have come
  const draw = () => { stale = true; refresh(); };
  const mark = () => { if (!frame && grouping) paintMarks(); };
  const measure = () => {
    const area = stage.getBoundingClientRect();
    wide = stage.clientWidth;
    high = stage.clientHeight;
    ratio = Math.min(2, devicePixelRatio || 1);
    if (!area.width) return;
    for (const canvas of [field, sheet]) {
      canvas.width = Math.round(wide * ratio);
      canvas.height = Math.round(high * ratio);
    }
    stale = true;
    if (grouping) paint();
  };

  // ---- the card: the patch under the pointer or the cross ---------------------------------------------------------------------
  const present = (i, spoken = false) => {
    if (i < 0 || i === current) return;
    current = i;
    const plate = data.plate[i], drop = data.drop[i] / 1000;
    const shown = get("card-picture");
    shown.src = Atlas.root + pictureOf(i);
    shown.alt = facts(i);
    shown.hidden = false;
    for (const link of [get("card-link"), get("card-open")]) link.href = Atlas.root + pageOf(i);
    get("card-open").hidden = false;
    const lines = [
      ["Plate", `${count(plate + 1)}${images.name?.[plate] ? `, ${images.name[plate]}` : ""}`],
      ["Score", `${number(images.severity[plate])}, ${images.grade[plate] === null ? "not graded" : `human grade ${named(gradeOf(plate))}`}`],
      ["Left out", `the score ${drop >= 0 ? "falls" : "rises"} by ${number(Math.abs(drop))} grades`],
      data.cluster[i] && ["Cluster", el("a", { href: Atlas.root + clusterPage(data.cluster[i]) }, String(data.cluster[i]))],
    ];
    get("card-facts").replaceChildren(...lines.filter(Boolean).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
    if (spoken) say(`${facts(i)}${data.cluster[i] ? `, cluster ${data.cluster[i]}` : ""}. Press Enter to open it.`);
    mark();
  };

  // ---- the selection and its gallery ------------------------------------------------------------------------------------------
  const from = (key) => { // "cluster:3", "grade:2", "plate:12", "box:l,t,r,b", "lasso:x,y,…" -> a selection, or null
    const [kind, value] = key.split(/:(.*)/s);
    const where = (test) => {
      const found = [];
      for (let i = 0; i < total; i += 1) if (test(i)) found.push(i);
      return found;
    };
    const points = (value ?? "").split(",").map(Number);
    if (kind === "cluster") {
      const n = Number(value);
      return data.clusters.some((one) => one.number === n) ? { key, members: where((i) => data.cluster[i] === n), title: `Cluster ${n}`, file: `cluster-${String(n).padStart(2, "0")}` } : null;
    }
    if (kind === "grade") {
      const grade = value === "none" ? null : images.grades.find((one) => one.number === Number(value));
      return grade === undefined ? null : { key, members: where((i) => images.grade[data.plate[i]] === (grade ? grade.number : null)), title: grade ? `Patches of photographs graded ${named(grade)}` : "Patches of photographs without a grade", file: `grade-${value}` };
    }
    if (kind === "plate") {
      const plate = Number(value) - 1;
      return images.id[plate] === undefined ? null : { key, members: where((i) => data.plate[i] === plate), title: `Patches of plate ${value}`, file: `plate-${value}` };
    }
    if (kind === "box" && points.length === 4 && points.every(Number.isFinite)) {
      const found = [];
      each(...points, (i) => found.push(i));
      return { key, members: found, title: "What the view showed", polygon: [points[0], points[1], points[2], points[1], points[2], points[3], points[0], points[3]], file: "view" };
    }
    if (kind === "lasso" && points.length >= 6 && points.length % 2 === 0 && points.every(Number.isFinite)) {
      return { key, members: inside(points), title: "Inside the lasso", polygon: points, file: "lasso" };
    }
    return null;
  };
  const gradeShares = (plates) => { // of photographs, each counted once; photographs without a grade are left out
    const counts = new Map(images.grades.map((grade) => [grade.number, 0]));
    let graded = 0;
    for (const plate of plates) {
      const grade = images.grade[plate];
      if (grade === null) continue;
      counts.set(grade, counts.get(grade) + 1);
      graded += 1;
    }
    return { counts, graded };
  };
  const percent = (share) => (share > 0 && share < 0.0995 ? `${(100 * share).toFixed(1)} %` : `${Math.round(100 * share)} %`);
  const compared = (here, graded, cohort, whole) => { // in words; the same rule as on the cluster pages
    const expected = graded * cohort / whole;
    if (!cohort) return "none in the cohort";
    const few = here < 5 && expected < 5;
    if (!here) return few ? "none here, few expected" : "none here";
    const lift = here / expected;
    return (lift > 0.8 && lift < 1.25 ? "about as often" : `${number(lift, 1)} times as often`) + (few ? ", of few" : "");
  };
  const sharesTable = (plates) => {
    const { counts, graded } = gradeShares(plates);
    const cohort = gradeShares(images.id.keys());
    if (!graded || !cohort.graded) return el("p", {}, "None of these photographs carries a human grade.");
    return el("table", { class: "shares" },
      el("caption", {}, `Grades of its ${plural(graded, "graded photograph", "graded photographs")}, against the whole cohort. A photograph counts once.`),
      el("thead", {}, el("tr", {}, ["Grade", "Here", "Cohort", "Compared"].map((text) => el("th", { scope: "col" }, text)), el("td", { class: "bars" }))),
      el("tbody", {}, images.grades.map((grade) => {
        const here = counts.get(grade.number), there = cohort.counts.get(grade.number);
        return el("tr", {},
          el("th", { scope: "row" }, el("span", { class: "chip" }, el("i", { style: { background: grade.colour }, "aria-hidden": "true" }), named(grade))),
          el("td", {}, percent(here / graded)), el("td", {}, percent(there / cohort.graded)),
          el("td", { class: "words" }, compared(here, graded, there, cohort.graded)),
          el("td", { class: "bars", "aria-hidden": "true" }, el("b", { style: { width: `${100 * here / graded}%`, background: grade.colour } }), el("s", { style: { width: `${100 * there / cohort.graded}%` } })));
      })));
  };
  let listed = 0;
  const more = () => {
    const ordered = selection.ordered;
    const next = ordered.slice(listed, listed + PAGE);
    get("gallery").append(...next.map((i) => {
      const grade = gradeOf(data.plate[i]);
      return el("figure", { class: "patch" },
        el("a", { href: Atlas.root + pageOf(i) }, el("img", { src: Atlas.root + pictureOf(i), alt: facts(i), width: 128, height: 128, loading: "lazy" })),
        el("figcaption", {}, el("span", {}, signed(data.drop[i] / 1000)),
          grade && el("span", { class: "of", title: `human grade: ${named(grade)}` }, el("i", { class: "dot", style: { background: grade.colour } }), String(grade.number))));
    }));
    const first = get("gallery").children[listed]?.querySelector("a");
    listed += next.length;
    get("gallery-shown").textContent = `${count(listed)} of ${plural(ordered.length, "patch", "patches")} shown, largest drop first.`;
    get("gallery-more").hidden = listed >= ordered.length;
    return first;
  };
  const select = (made, { told = true, written = true } = {}) => {
    selection = made;
    within = null;
    if (made) {
      within = new Uint8Array(total);
      for (const i of made.members) within[i] = 1;
      made.ordered = Array.from(byDrop).filter((i) => within[i]);
    }
    if (written) state.set({ select: made?.key ?? null });
    const filled = Boolean(made);
    get("selection").hidden = !filled;
    get("unselected").hidden = filled;
    for (const button of get("map-key").querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.key === made?.key));
    if (filled) {
      const plates = new Set(made.members.map((i) => data.plate[i]));
      get("selection-title").textContent = made.title;
      get("selection-count").textContent = `${plural(made.members.length, "patch", "patches")} in ${plural(plates.size, "photograph", "photographs")}.`;
      const own = made.key.startsWith("cluster:") ? Number(made.key.slice(8)) : 0;
      get("selection-page").hidden = !own;
      if (own) get("selection-page").href = Atlas.root + clusterPage(own);
      get("selection-shares").replaceChildren(made.members.length ? sharesTable(plates) : "");
      get("gallery").replaceChildren();
      listed = 0;
      more();
      if (told) say(`${made.title}: ${plural(made.members.length, "patch", "patches")} selected. `, el("a", { href: "#selection-title", onclick: reach }, "See them below"));
    } else if (told) say("Nothing is selected.");
    draw();
  };
  const reach = (event) => { // a jump inside the page that leaves the address alone
    event.preventDefault();
    get("selection-title").scrollIntoView({ behavior: Atlas.still() ? "auto" : "smooth" });
    get("selection-title").focus({ preventScroll: true });
  };
  const selectView = () => {
    const corners = [...toMap(0, 0), ...toMap(wide, high)].map(Math.round);
    select(from(`box:${corners.join(",")}`));
  };
  const exported = () => {
    const rows = [["patch_id", "image_id", "plate", ...(images.name ? ["name"] : []), "score", "grade", "eye", "cluster", "drop", "x", "y"]];
    for (const i of selection.ordered) {
      const plate = data.plate[i];
      rows.push([idOf(i), images.id[plate], plate + 1, ...(images.name ? [images.name[plate]] : []), images.severity[plate], images.grade[plate], images.eye[plate], data.cluster[i], data.drop[i] / 1000, data.x[i], data.y[i]]);
    }
    Atlas.csv(`patches-${selection.file}.csv`, rows);
  };

  // ---- search -----------------------------------------------------------------------------------------------------------------
  const search = (words) => {
    const text = words.trim().toLowerCase();
    if (!text) return say("Type a plate's number, “cluster 3”, or the beginning of an id.");
    const cluster = text.match(/^c(?:luster)?\s*#?(\d+)$/);
    const plain = text.match(/^(?:p(?:late)?\s*#?)?(\d+)$/);
    let made = null;
    if (cluster) made = from(`cluster:${Number(cluster[1])}`);
    else if (plain && Number(plain[1]) >= 1 && Number(plain[1]) <= images.id.length) made = from(`plate:${Number(plain[1])}`);
    else if (text.length >= 3) {
      const [image] = text.split("-");
      let plate = images.id.findIndex((id) => id.startsWith(image));
      if (plate < 0 && images.name) plate = images.name.findIndex((name) => name.toLowerCase().includes(text));
      if (plate >= 0) made = from(`plate:${plate + 1}`);
    }
    if (!made) return say(`No plate, photograph or cluster is called “${words.trim()}”. Plates are numbered 1 to ${count(images.id.length)}${data.clusters.length ? `, clusters 1 to ${data.clusters.at(-1).number}` : ""}.`);
    if (!made.members.length) {
      const plate = Number(made.key.slice(6)) - 1;
      return say(`Plate ${count(plate + 1)} has no salient patch on this map. `, el("a", { href: `${Atlas.root}images/${images.id[plate]}.html` }, "Open its report"));
    }
    select(made);
    show(made.members);
    present(made.ordered[0]);
  };

  // ---- the legend -------------------------------------------------------------------------------------------------------------
  const key = () => {
    const place = get("map-key");
    if (colouring === "drop") {
      const ends = [`${number(ramp.low / 1000)} grades`, `${number(ramp.high / 1000)} and more`];
      place.replaceChildren(el("div", { class: "ramp-key" }, el("span", {}, ends[0]),
        el("i", { style: { background: "linear-gradient(90deg, var(--drop-low), var(--drop-high))" }, "aria-hidden": "true" }), el("span", {}, ends[1])));
      get("map-key-title").textContent = "How far the score falls without the patch";
      return;
    }
    place.replaceChildren(...grouping.groups.filter((one) => one.count).map((one) => el("button", {
      type: "button", dataset: { key: one.key }, "aria-pressed": String(selection?.key === one.key),
      title: `Select ${plural(one.count, "patch", "patches")}`,
      "aria-label": `${colouring === "cluster" ? "Cluster" : "Grade"} ${one.label}, ${plural(one.count, "patch", "patches")}`,
    }, el("i", { style: { background: css(one.colour) }, "aria-hidden": "true" }), one.label, el("small", {}, count(one.count)))));
    get("map-key-title").replaceChildren(colouring === "cluster" ? "Clusters" : "Human grades", el("span", { class: "of-screen" }, ": press one to select its patches"));
  };
  const recolour = (wanted, written = true) => {
    colouring = wanted;
    for (const input of document.querySelectorAll("[name=colour]")) input.checked = input.value === wanted;
    if (written) state.set({ colour: wanted === standard() ? null : wanted });
    group();
    key();
    draw();
  };
  const standard = () => (data.clusters.length ? "cluster" : images.grade.some((grade) => grade !== null) ? "grade" : "drop");
  const possible = (wanted) => Boolean(document.querySelector(`[name=colour][value="${CSS.escape(wanted ?? "")}"]`));
  const asPictures = (wanted, written = true) => {
    pictures = wanted;
    get("as-pictures").setAttribute("aria-pressed", String(wanted));
    if (written) state.set({ show: wanted ? "pictures" : null });
    draw();
  };
  const asLasso = (wanted) => {
    lassoing = wanted;
    stage.classList.toggle("lassoing", wanted);
    get("lasso").setAttribute("aria-pressed", String(wanted));
    if (wanted) say("Draw round the patches you want.");
  };

  // ---- pointer ----------------------------------------------------------------------------------------------------------------
  const fingers = new Map();
  let start = null, keyed = false, gap = 0;
  const place = (event) => {
    const area = field.getBoundingClientRect();
    return [event.clientX - area.left, event.clientY - area.top];
  };
  const spread = () => {
    const [one, other] = [...fingers.values()];
    return { gap: Math.hypot(one[0] - other[0], one[1] - other[1]), x: (one[0] + other[0]) / 2, y: (one[1] + other[1]) / 2 };
  };
  stage.addEventListener("pointerdown", (event) => {
    if (!grouping || event.button !== 0) return;
    keyed = false;
    stage.setPointerCapture(event.pointerId);
    const at = place(event);
    fingers.set(event.pointerId, at);
    if (fingers.size === 2) { rope = null; start = null; gap = spread().gap; return; }
    start = { at, x: view.x, y: view.y, moved: false };
    rope = lassoing || event.shiftKey ? [...at] : null;
  });
  stage.addEventListener("pointermove", (event) => {
    if (!grouping) return;
    const at = place(event);
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, at);
    if (fingers.size === 2) {
      const now = spread();
      zoomAt(now.gap / Math.max(1, gap), now.x, now.y);
      gap = now.gap;
    } else if (start) {
      start.moved ||= Math.hypot(at[0] - start.at[0], at[1] - start.at[1]) > 4;
      if (!start.moved) return;
      if (rope) { rope.push(...at); mark(); return; }
      view.x = start.x - (at[0] - start.at[0]) / scale();
      view.y = start.y - (at[1] - start.at[1]) / scale();
      moved();
    } else {
      const i = lassoing ? -1 : pick(...at);
      stage.classList.toggle("over", i >= 0);
      present(i);
    }
  });
  const simplified = (points) => { // a rope of at most 64 corners, in whole map units, so that it fits into the address
    const step = Math.max(1, Math.ceil(points.length / 2 / 64));
    const made = [];
    for (let k = 0; k < points.length / 2; k += step) made.push(...toMap(points[2 * k], points[2 * k + 1]).map(Math.round));
    return made;
  };
  const release = (event) => {
    if (!fingers.delete(event.pointerId)) return;
    const begun = start;
    start = null;
    if (!begun || event.type === "pointercancel") { rope = null; mark(); return; }
    if (rope && begun.moved && rope.length >= 6) {
      const made = from(`lasso:${simplified(rope).join(",")}`);
      rope = null;
      asLasso(false);
      if (made) select(made);
      return;
    }
    rope = null;
    if (begun.moved || lassoing) return mark();
    const i = pick(...place(event));
    if (i < 0) return;
    const seen = i === current;
    present(i);
    if (event.pointerType === "mouse" || seen) location.href = Atlas.root + pageOf(i); // the first touch shows, the second opens
  };
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);
  stage.addEventListener("wheel", (event) => {
    if (!grouping) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    zoomAt(Math.exp(-Math.max(-300, Math.min(300, event.deltaY * lines)) / 300), ...place(event));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => event.preventDefault());

  // ---- keyboard: only while the map or its controls have the focus ------------------------------------------------------------
  const byKey = () => { // the cross in the middle takes the pointer's part
    keyed = true;
    const i = nearest(wide / 2, high / 2, 80);
    present(i, true);
    mark();
  };
  const pan = (dx, dy) => { view.x += dx * wide * 0.12 / scale(); view.y += dy * high * 0.12 / scale(); moved(); byKey(); };
  const keys = {
    ArrowLeft: () => pan(-1, 0), ArrowRight: () => pan(1, 0), ArrowUp: () => pan(0, -1), ArrowDown: () => pan(0, 1),
    "+": () => { zoomAt(1.5); byKey(); }, "=": () => { zoomAt(1.5); byKey(); }, "-": () => { zoomAt(1 / 1.5); byKey(); },
    0: () => { whole(); moved(); },
    Enter: () => { if (current >= 0) location.href = Atlas.root + pageOf(current); },
    c: () => { if (current >= 0 && data.cluster[current]) select(from(`cluster:${data.cluster[current]}`)); },
  };
  const anywhere = {
    p: () => asPictures(!pictures), l: () => asLasso(!lassoing), v: () => selectView(), f: () => get("map-search").focus(),
    Escape: () => { if (lassoing) asLasso(false); else if (selection) select(null); },
  };
  get("mapping").addEventListener("keydown", (event) => {
    if (!grouping || Atlas.typing(event)) return;
    const act = (event.target === stage ? keys[event.key] : null) ?? anywhere[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  stage.addEventListener("blur", () => { keyed = false; mark(); });

  // ---- controls ---------------------------------------------------------------------------------------------------------------
  const ready = () => {
    document.addEventListener("change", (event) => { if (event.target.name === "colour") recolour(event.target.value); });
    const press = (id, act) => get(id).addEventListener("click", act);
    press("zoom-in", () => zoomAt(1.6));
    press("zoom-out", () => zoomAt(1 / 1.6));
    press("zoom-whole", () => { whole(); moved(); });
    press("as-pictures", () => asPictures(!pictures));
    press("lasso", () => asLasso(!lassoing));
    press("select-view", selectView);
    press("selection-clear", () => { select(null); stage.focus(); });
    press("selection-show", () => { show(selection.members); stage.scrollIntoView({ block: "center" }); });
    press("selection-csv", exported);
    press("gallery-more", () => more()?.focus());
    get("map-key").addEventListener("click", (event) => {
      const pressed = event.target.closest("button")?.dataset.key;
      if (pressed) select(pressed === selection?.key ? null : from(pressed));
    });
    get("map-find").addEventListener("submit", (event) => { event.preventDefault(); search(get("map-search").value); });
    document.addEventListener("themechange", restyle);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
    const onPaper = (printed) => { printing = printed; restyle(); cancelAnimationFrame(frame); paint(); };
    addEventListener("beforeprint", () => onPaper(true));
    addEventListener("afterprint", () => onPaper(false));
    matchMedia("print").addEventListener("change", (event) => onPaper(event.matches));
    new ResizeObserver(measure).observe(stage);
    state.listen((wanted) => restore(wanted));
  };
  const restyle = () => { group(); key(); draw(); };
  const restore = (wanted) => {
    recolour(possible(wanted.colour) ? wanted.colour : standard(), false);
    asPictures(wanted.show === "pictures", false);
    const made = wanted.select ? from(wanted.select) : null;
    select(made, { told: Boolean(made), written: false });
    const place = (wanted.view ?? "").split(",").map(Number);
    if (place.length === 3 && place.every(Number.isFinite)) Object.assign(view, { x: place[0], y: place[1], zoom: place[2] });
    else whole();
    bounded();
    if (made && !wanted.view && /^(plate|lasso|box):/.test(made.key)) show(made.members);
  };

  Promise.all([Atlas.load("data/map.js"), Atlas.images()]).then(() => {
    data = window.ATLAS_MAP;
    images = window.ATLAS_IMAGES;
    total = data.x.length;
    for (const name of ["x", "y", "drop"]) data[name] = Int32Array.from(data[name]);
    byDrop = Uint32Array.from(data.drop.keys()).sort((a, b) => data.drop[b] - data.drop[a] || a - b);
    index();
    measure();
    restore(state.get());
    present(selection?.ordered[0] ?? byDrop[0]); // the strongest patch, until the pointer finds another
    ready();
    paint();
    stage.dataset.ready = "yes";
    // For tests and for the console: where a patch stands on the screen, and which patch a place means.
    window.ATLAS_VIEW = { toScreen: (i) => toScreen(data.x[i], data.y[i]), idOf, pick, tiles: () => tiles.map(({ i, side }) => ({ id: idOf(i), side })), selected: () => (selection ? selection.members.map(idOf) : null) };
  }).catch((error) => say(error.message));
})();
