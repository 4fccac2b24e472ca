// The map on its canvases: drawn by this script, since a page from a disk can rely on neither a server nor WebGL. Dots are written into
// a pixel buffer (100,000 in about ten milliseconds), pictures are drawn where there is room, marks lie on a canvas above.
//
// Atlas.mapDrawing({ stage, field, sheet, points, view, scene }) draws what `scene` says:
//   colouring   "cluster", "grade", "kind" or "drop"          pictures   whether pictures take the place of dots
//   selection   of AtlasPoints.from, or null          within     Uint8Array by patch, 1 where selected, or null
//   hidden      Uint8Array by patch, 1 where it is not drawn, or null
//   mask        Uint8Array by patch, 1 where it can be pointed at, or null for all
//   current     the patch in the card, or -1          rope       the lasso under way, [sx, sy, …], or null
//   crossed     whether the cross in the middle takes the pointer's part
// and returns
//   colour()       after a change of colouring, theme or medium: what the colours mean
//   draw(), mark() draw everything with the next frame; the marks alone, at once
//   paint()        draw what waits for the next frame, at once
//   measure()      after a change of size
//   print(yes)     on paper: light colours, all on one sheet
//   groups(), ramp()  the meaning: [{key, label, letter of a kind, colour: "rgb(…)", count}], and {low, high}, the drops drawn weakest and strongest
//   tileAt(sx, sy) the patch whose picture lies there, or -1
"use strict";
Atlas.mapDrawing = ({ stage, field, sheet, points, view, scene }) => {
  const { x, y, drop, images } = points;
  const pen = field.getContext("2d", { willReadFrequently: true }); // written pixel by pixel: better kept in plain memory
  let ratio = 1; // device pixels for each CSS pixel
  let printing = false;

  // ---- colours ---------------------------------------------------------------------------------------------------------------
  const probe = Atlas.el("span", { hidden: true, "aria-hidden": "true" });
  document.body.append(probe);
  const token = (name) => { // a colour of the style sheet, in the theme that is seen, or on paper, as [r, g, b]
    probe.style.colorScheme = printing ? "light" : "";
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  };
  const dark = () => scene.colouring === "kind"; // the colours of kinds are made for retinas: white and yellow would not show on paper
  const paper = () => (dark() ? token("--mat") : printing ? [255, 255, 255] : token("--raised"));
  const hex = (text) => [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16));
  const css = (colour) => `rgb(${colour.map(Math.round).join(" ")})`;
  const mix = (one, other, share) => one.map((value, k) => value + (other[k] - value) * share);
  const STEPS = 24; // of the drop's ramp
  let of, groups, ramp; // of: by patch, its place among the groups
  const colour = () => {
    const { total } = points;
    of = new Uint16Array(total);
    if (scene.colouring === "cluster") {
      groups = points.clusters.map((one) => ({ key: `cluster:${one.number}`, label: [one.number, one.title].filter(Boolean).join(" "), colour: hex(one.colour), shape: one.shape, count: one.count, folded: one.folded }));
      const entry = new Map(points.clusters.map((one, k) => [one.number, k]));
      for (let i = 0; i < total; i += 1) of[i] = entry.get(points.cluster[i]) ?? groups.length;
      groups.push({ key: "", label: gettext("in no cluster"), colour: token("--muted"), count: 0 });
    } else if (scene.colouring === "kind") {
      groups = points.kinds.map((one) => ({ ...one, key: `kind:${one.key}`, label: one.plural, colour: hex(one.colour) }));
      const entry = new Map(points.kinds.map((one, k) => [one, k]));
      for (let i = 0; i < total; i += 1) of[i] = entry.get(points.kind(i)) ?? groups.length;
      groups.push({ key: "", label: gettext("no lesion"), colour: token("--muted"), count: 0 });
    } else if (scene.colouring === "grade") {
      groups = [...images.grades, null].map((grade) => ({ key: `grade:${grade ? grade.number : "none"}`, label: points.named(grade), colour: grade ? hex(grade.colour) : token("--muted"), count: 0 }));
      const entry = new Map(images.grades.map((grade, k) => [grade.number, k]));
      for (let i = 0; i < total; i += 1) groups[of[i] = entry.get(images.grade[points.plate[i]]) ?? groups.length - 1].count += 1;
      points.ofGrades?.forEach((count, k) => { groups[k].count = count; });
    } else {
      const ends = [token("--drop-low"), token("--drop-high")];
      groups = Array.from({ length: STEPS }, (_, k) => ({ colour: mix(...ends, k / (STEPS - 1)), count: 1 }));
      ramp = { low: drop[points.byDrop[total - 1]], high: drop[points.byDrop[Math.floor(total / 200)]] }; // the strongest 0.5 % share the last colour
      const span = Math.max(1, ramp.high - ramp.low);
      for (let i = 0; i < total; i += 1) of[i] = Math.min(STEPS - 1, Math.max(0, Math.floor((drop[i] - ramp.low) / span * STEPS)));
    }
  };

  // ---- dots ------------------------------------------------------------------------------------------------------------------
  const radius = () => Math.min(7, Math.max(1.1, 0.3 * Math.sqrt(view.wide * view.high / Math.max(1, points.total)) * Math.sqrt(view.zoom)));
  const DISTANCE = { // of a place from the middle of a shape, and its size, so that all shapes cover the same area
    circle: [(dx, dy) => Math.hypot(dx, dy), 1], square: [(dx, dy) => Math.max(Math.abs(dx), Math.abs(dy)), 0.89],
    diamond: [(dx, dy) => (Math.abs(dx) + Math.abs(dy)) / Math.SQRT2, 0.89], triangle: [(dx, dy) => Math.max(dy, (Math.sqrt(3) * Math.abs(dx) - dy) / 2), 0.78],
  };
  const TOLD = 2.4; // device pixels of radius from which shapes can be told apart
  const stamp = (r, across, shape = "circle") => { // a shape as offsets into the buffer, each with its share of the pixel in 256ths
    const reach = Math.ceil(shape === "triangle" ? 1.6 * r : 1.3 * r), [distance, size] = DISTANCE[shape];
    const made = { offsets: [], shares: [], reach };
    for (let dy = -reach; dy <= reach; dy += 1) {
      for (let dx = -reach; dx <= reach; dx += 1) {
        const share = Math.min(1, Math.max(0, size * r + 0.5 - distance(dx, dy)));
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
    const r = radius() * ratio;
    const stamps = groups.map(({ shape }) => stamp(r, across, r >= TOLD ? shape : undefined));
    const reach = Math.max(...stamps.map((one) => one.reach));
    const k = view.scale() * ratio;
    const left = across / 2 - view.x * k, top = down / 2 - view.y * k;
    const { within, hidden } = scene;
    const pass = (colours, wanted) => {
      const flat = Uint8Array.from(colours.flat());
      for (let i = 0; i < of.length; i += 1) {
        if ((wanted >= 0 && within[i] !== wanted) || hidden?.[i]) continue;
        const sx = Math.round(x[i] * k + left), sy = Math.round(y[i] * k + top);
        if (sx < reach || sy < reach || sx >= across - reach || sy >= down - reach) continue;
        const centre = sy * across + sx, c = 3 * of[i], { offsets, shares } = stamps[of[i]];
        for (let s = 0; s < offsets.length; s += 1) {
          const p = 4 * (centre + offsets[s]), share = shares[s];
          bytes[p] += ((flat[c] - bytes[p]) * share) >> 8;
          bytes[p + 1] += ((flat[c + 1] - bytes[p + 1]) * share) >> 8;
          bytes[p + 2] += ((flat[c + 2] - bytes[p + 2]) * share) >> 8;
        }
      }
    };
    const full = groups.map((one) => one.colour);
    if (within) pass(full.map((one) => mix(mix(one, token("--muted"), 0.5), ground, 0.78)), 0);
    pass(full, within ? 1 : -1);
    pen.putImageData(buffer, 0, 0);
  };

  // ---- pictures --------------------------------------------------------------------------------------------------------------
  let tiles = [];
  const cache = new Map(); // path -> Image, the oldest first
  const picture = (path) => {
    let image = cache.get(path);
    if (!image) {
      image = new Image();
      image.onload = refresh;
      image.src = Atlas.asset(path);
      if (cache.size >= 3 * points.ROOM) cache.delete(cache.keys().next().value);
    } else cache.delete(path);
    cache.set(path, image);
    return image;
  };
  const paintTiles = () => {
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const { i, sx, sy, side } of tiles) {
      const image = picture(points.picture(i));
      const left = Math.round(sx - side / 2), top = Math.round(sy - side / 2);
      pen.fillStyle = css(groups[of[i]].colour);
      pen.fillRect(left, top, side, side);
      pen.fillStyle = "#0e0d0c";
      pen.fillRect(left + 2, top + 2, side - 4, side - 4);
      if (image.complete && image.naturalWidth) pen.drawImage(image, left + 2, top + 2, side - 4, side - 4);
    }
    pen.setTransform(1, 0, 0, 1, 0, 0);
  };
  const tileAt = (sx, sy) => tiles.findLast((one) => Math.abs(one.sx - sx) <= one.side / 2 && Math.abs(one.sy - sy) <= one.side / 2)?.i ?? -1;

  // ---- marks -----------------------------------------------------------------------------------------------------------------
  const outline = (context, line, closed, colours) => {
    context.beginPath();
    for (let k = 0; k < line.length; k += 2) context.lineTo(line[k], line[k + 1]);
    if (closed) context.closePath();
    for (const [ink, width] of colours) {
      context.strokeStyle = ink;
      context.lineWidth = width;
      context.stroke();
    }
  };
  const shortened = (text) => (text.length > 34 ? `${text.slice(0, 32).trimEnd()}…` : text);
  const paintNames = (context, ink, ground, named) => { // numbers of clusters, letters of kinds: [{x, y, colour, text, title, key}]
    context.font = `600 13px ${getComputedStyle(stage).fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const placed = [], titled = [];
    for (const one of named) {
      const [sx, sy] = view.toScreen(one.x, one.y);
      if (sx < 0 || sy < 0 || sx > view.wide || sy > view.high + 20) continue;
      const clear = (dy) => placed.every(([px, py]) => Math.abs(px - sx) >= 30 || Math.abs(py - sy - dy) >= 24);
      const lift = -radius() - 13; // above the dots, not on them
      const at = sy + ([lift, lift - 25, lift + 50, lift - 50].find(clear) ?? lift);
      placed.push([sx, at]);
      const faint = scene.selection?.key.startsWith(one.key.split(":")[0]) && scene.selection.key !== one.key;
      context.globalAlpha = faint ? 0.5 : 1;
      context.beginPath();
      context.roundRect(sx - 14, at - 11, 28, 22, 11);
      context.fillStyle = ground;
      context.fill();
      context.strokeStyle = one.colour;
      context.lineWidth = 2.5;
      context.stroke();
      context.fillStyle = ink;
      context.fillText(one.text, sx, at + 0.5);
      context.globalAlpha = 1;
      if (one.title) titled.push({ text: shortened(one.title), sx, at, faint, count: one.count });
    }
    paintTitles(context, ink, ground, placed.map(([px, py]) => [px - 15, py - 12, px + 15, py + 12]), titled);
  };
  // Titles beside their numbers, of the largest first, and only where they cover no other name.
  const paintTitles = (context, ink, ground, taken, titled) => {
    context.font = `500 13px ${getComputedStyle(stage).fontFamily}`;
    context.textAlign = "left";
    const shown = [];
    for (const { text, sx, at, faint } of titled.sort((a, b) => b.count - a.count)) {
      const wide = context.measureText(text).width + 12;
      const box = [[sx + 17, at - 11], [sx - 17 - wide, at - 11], [sx - wide / 2, at - 37], [sx - wide / 2, at + 15]]
        .map(([left, top]) => [left, top, left + wide, top + 22])
        .find(([left, top, right, bottom]) => left >= 4 && top >= 4 && right <= view.wide - 4 && bottom <= view.high - 4
          && taken.every(([l, t, r, b]) => right < l || left > r || bottom < t || top > b));
      if (!box) continue;
      taken.push(box);
      shown.push(text);
      context.globalAlpha = faint ? 0.4 : 0.86;
      context.fillStyle = ground;
      context.beginPath();
      context.roundRect(box[0], box[1], wide, 22, 4);
      context.fill();
      context.globalAlpha = faint ? 0.5 : 1;
      context.fillStyle = ink;
      context.fillText(text, box[0] + 6, at - 11 === box[1] ? at + 0.5 : box[1] + 11.5);
      context.globalAlpha = 1;
    }
    context.textAlign = "center";
    stage.dataset.titles = JSON.stringify(shown);
  };
  const CLOSE = 400; // letters of kinds are drawn for at most so many dots in sight
  const paintLetters = (context) => { // on pictures always, on dots once they lie apart
    const [left, top] = view.toMap(0, 0), [right, bottom] = view.toMap(view.wide, view.high);
    const seen = tiles.map(({ i, sx, sy, side }) => [i, sx - side / 2 + 9, sy - side / 2 + 10]);
    if (!scene.pictures && radius() >= 5) points.each(left, top, right, bottom, (i) => { if (!scene.mask || scene.mask[i]) seen.push([i, ...view.toScreen(x[i], y[i])]); });
    if (!scene.pictures && seen.length > CLOSE) return;
    context.font = `700 ${scene.pictures ? 11 : Math.min(11, 1.7 * radius())}px ${getComputedStyle(stage).fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (const [i, sx, sy] of seen) {
      if (!points.kind(i)) continue;
      if (scene.pictures) {
        context.fillStyle = points.kind(i).colour;
        context.fillRect(sx - 7, sy - 8, 14, 15);
      }
      context.fillStyle = "#111";
      context.fillText(points.kind(i).letter, sx, sy + 0.5);
    }
  };
  const paintCurrent = (context, ink, ground) => {
    const { current } = scene;
    const tile = tiles.find((one) => one.i === current);
    const [sx, sy] = view.toScreen(x[current], y[current]);
    for (const [stroke, width] of [[ground, 5], [ink, 2.5]]) {
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.beginPath();
      if (tile) context.rect(sx - tile.side / 2 - 1, sy - tile.side / 2 - 1, tile.side + 2, tile.side + 2);
      else context.arc(sx, sy, radius() + 5, 0, 7);
      context.stroke();
    }
  };
  const paintCross = (context, accent) => {
    context.strokeStyle = accent;
    context.lineWidth = 2;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(view.wide / 2 + 5 * dx, view.high / 2 + 5 * dy);
      context.lineTo(view.wide / 2 + 14 * dx, view.high / 2 + 14 * dy);
    }
    context.stroke();
  };
  const paintMarks = () => {
    const context = printing ? pen : sheet.getContext("2d"); // one sheet on paper: a second, emptied, is printed as white over the dots
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (!printing) context.clearRect(0, 0, view.wide, view.high);
    const ink = css(token(dark() ? "--mat-ink" : "--ink")), ground = css(paper()), accent = css(token("--accent"));
    const { rope, selection } = scene;
    const line = rope ?? selection?.polygon?.flatMap((value, k, all) => (k % 2 ? [] : view.toScreen(value, all[k + 1])));
    if (line) outline(context, line, !rope, [[ground, 4], [accent, 2]]);
    if (scene.colouring === "cluster") paintNames(context, ink, ground, points.clusters.filter((one) => !scene.hidden || !one.folded).map((one) => ({ ...one, text: String(one.number), key: `cluster:${one.number}` })));
    if (scene.colouring === "kind") {
      paintLetters(context);
      if (!scene.pictures) paintNames(context, ink, ground, points.kinds.map((one) => ({ ...one, text: one.letter, title: window.Atlas.sentence(one.plural), key: `kind:${one.key}` })));
    }
    if (scene.current >= 0 && !printing) paintCurrent(context, ink, ground);
    if (scene.crossed) paintCross(context, accent);
  };

  // ---- frames ----------------------------------------------------------------------------------------------------------------
  let frame = 0;
  let stale = true; // the dots lie elsewhere or have other colours
  const paint = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    if (!groups || !view.wide) return;
    if (stale) {
      paintDots();
      tiles = scene.pictures ? points.tiles(view, scene.mask) : [];
    }
    stale = false;
    paintTiles();
    paintMarks();
    stage.dataset.painted = String(Number(stage.dataset.painted ?? 0) + 1);
  };
  const refresh = () => { frame ||= requestAnimationFrame(paint); }; // pictures that have come
  const draw = () => { stale = true; refresh(); };
  const mark = () => { if (!frame && groups) paintMarks(); };
  const measure = () => {
    if (printing) return; // on paper the canvas gives the stage its shape: to measure that would lead round in a circle
    view.resize(stage.clientWidth, stage.clientHeight);
    ratio = Math.min(2, devicePixelRatio || 1);
    if (!view.wide) return;
    for (const canvas of [field, sheet]) {
      canvas.width = Math.round(view.wide * ratio);
      canvas.height = Math.round(view.high * ratio);
    }
    stale = true;
    paint();
  };
  const print = (yes) => {
    printing = yes;
    colour();
    stale = true;
    if (yes) paint(); // at once: paper does not wait for a frame
    else measure();
  };

  return { colour, draw, mark, paint, measure, print, tileAt, groups: () => groups.map((one) => ({ ...one, colour: css(one.colour) })), ramp: () => ramp };
};
