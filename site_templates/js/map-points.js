// The patches of the map: where they lie, which of them are meant, and how a view of the map shows them. Plain arithmetic on the
// columns of data/map.js and data/images.js: nothing here touches the page. Coordinates [x, y] are those of the map, [sx, sy] CSS
// pixels of the stage; a patch is its number i in the columns.
//
// AtlasView(extent) returns a view of the map
//   x, y, zoom                the point in the middle, and how many times the whole map is enlarged; wide, high: of the stage
//   scale(), toScreen(x, y), toMap(sx, sy)
//   set({x, y, zoom}), resize(wide, high), whole(), isWhole(), zoomAt(factor, sx, sy), show({left, top, right, bottom})
// AtlasPoints(data, images) returns the columns that pages need, as long as all patches of the map. Only `total` of them are loaded:
// of a map with very many, data/map.js holds a part, and a file for each square of the map the others. It also returns
//   all, ofGrades             how many patches the map has, and how many of each grade, the last without one; null where all are loaded
//   unloaded(view)            squares in sight that are not loaded, if they hold few enough patches
//   add(squares)              takes what their files hold: {name: columns}
//   id(i), picture(i), page(i), clusterPage(n), grade(plate), named(grade)
//   each(left, top, right, bottom, call), nearest(x, y, far, within), inside(polygon), bounds(members)
//   kind(i)                   the entry of `kinds` that a lesion belongs to, undefined where patches are not lesions
//   from(key)                 "cluster:3", "grade:2", "kind:haemorrhage", "plate:12", "box:l,t,r,b", "lasso:x,y,…" -> {key, members, title, file, polygon},
//                             or null where the key means nothing
//   sought(words)             the key that a search means, or null
//   graded(plates)            {counts: grade -> photographs, graded: how many have a grade}
//   compared(here, selected, cohort, all)  how often a grade is among selected photographs, compared with all, in words
//   tiles(view, within)       pictures that have room: [{i, sx, sy, side}], none over another; they grow with the zoom
//   folded                    Uint8Array by patch: 1 where its cluster may not show the disease; null where no cluster is so
// `within` is a Uint8Array by patch, 1 where it is selected, or null where all count.
"use strict";
window.AtlasView = (extent) => {
  const DEEPEST = 300; // zoom
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const view = { x: extent[0] / 2, y: extent[1] / 2, zoom: 1, wide: 0, high: 0 };
  const fit = () => 0.94 * Math.min(view.wide / Math.max(1, extent[0]), view.high / Math.max(1, extent[1]), Math.max(view.wide, view.high) / 2500);
  const scale = () => fit() * view.zoom;
  const toMap = (sx, sy) => [(sx - view.wide / 2) / scale() + view.x, (sy - view.high / 2) / scale() + view.y];
  const set = ({ x = view.x, y = view.y, zoom = view.zoom }) =>
    Object.assign(view, { x: clamp(x, 0, extent[0]), y: clamp(y, 0, extent[1]), zoom: clamp(zoom, 1, DEEPEST) });
  return Object.assign(view, {
    scale, toMap, set,
    toScreen: (x, y) => [(x - view.x) * scale() + view.wide / 2, (y - view.y) * scale() + view.high / 2],
    resize: (wide, high) => Object.assign(view, { wide, high }),
    whole: () => set({ x: extent[0] / 2, y: extent[1] / 2, zoom: 1 }),
    isWhole: () => view.zoom === 1 && Math.abs(view.x - extent[0] / 2) < 1 && Math.abs(view.y - extent[1] / 2) < 1,
    zoomAt: (factor, sx = view.wide / 2, sy = view.high / 2) => {
      const [x, y] = toMap(sx, sy);
      set({ zoom: view.zoom * factor });
      const [nowX, nowY] = toMap(sx, sy);
      set({ x: view.x + x - nowX, y: view.y + y - nowY });
    },
    show: ({ left, top, right, bottom }) => set({
      x: (left + right) / 2, y: (top + bottom) / 2,
      zoom: Math.min(24, 0.8 * Math.min(view.wide / Math.max(1, right - left), view.high / Math.max(1, bottom - top)) / fit()),
    }),
  });
};

window.AtlasPoints = (data, images) => {
  const room = data.total ?? data.x.length; // for so many patches
  const [x, y, drop, plate, cell] = Array.from({ length: 5 }, () => new Int32Array(room));
  const cluster = new Uint16Array(room); // 0 for none
  const { clusters, kinds = [] } = data;
  const lesion = new Map(kinds.map((one) => [one.letter, one]));
  const letters = [], cells = [];
  const kind = (i) => lesion.get(letters[i]); // of lesion, undefined for a window
  const hidden = new Set(clusters.filter((one) => one.folded).map((one) => one.number));
  const folded = hidden.size ? new Uint8Array(room) : null;
  let total = 0, byDrop; // largest first
  const take = (columns) => {
    for (const [to, from] of [[x, columns.x], [y, columns.y], [drop, columns.drop], [plate, columns.plate], [cluster, columns.cluster]]) to.set(from, total);
    cell.set(columns.cell.map((k) => k + cells.length), total);
    cells.push(...columns.cells);
    for (const letter of columns.kind ?? "") letters.push(letter);
    const before = total;
    total += columns.x.length;
    if (folded) for (let i = before; i < total; i += 1) folded[i] = hidden.has(cluster[i]) ? 1 : 0;
  };

  // ---- names ----------------------------------------------------------------------------------------------------------------
  const id = (i) => `${images.id[plate[i]]}-${cells[cell[i]]}`;
  const gradeOf = (of) => images.grades.find((grade) => grade.number === images.grade[of]);
  const named = (grade) => (grade ? `${grade.number} ${grade.name}` : gettext("not graded"));
  const padded = (n) => String(n).padStart(2, "0");

  // ---- what lies at a place: patches by squares of a grid ---------------------------------------------------------------------
  const SQUARES = 128;
  const square = (Math.max(...data.extent) + 1) / SQUARES;
  const starts = new Uint32Array(SQUARES * SQUARES + 1);
  const sorted = new Uint32Array(room);
  const arrange = () => {
    byDrop = Uint32Array.from({ length: total }, (_, i) => i).sort((a, b) => drop[b] - drop[a] || a - b);
    starts.fill(0);
    const at = (i) => Math.floor(y[i] / square) * SQUARES + Math.floor(x[i] / square);
    for (let i = 0; i < total; i += 1) starts[at(i) + 1] += 1;
    for (let k = 0; k < SQUARES * SQUARES; k += 1) starts[k + 1] += starts[k];
    const next = starts.slice(0, -1);
    for (let i = 0; i < total; i += 1) sorted[next[at(i)]++] = i;
  };
  take(data);
  arrange();

  // ---- a map of very many patches ---------------------------------------------------------------------------------------------
  const missing = new Map(Object.entries(data.squares?.counts ?? {}));
  const unloaded = (view) => {
    const { side, most } = data.squares ?? {};
    const [left, top] = view.toMap(0, 0), [right, bottom] = view.toMap(view.wide, view.high);
    let many = 0;
    const names = [...missing.keys()].filter((name) => {
      const row = side * Number(name.slice(0, 2)), column = side * Number(name.slice(2));
      const seen = row + side > top && row <= bottom && column + side > left && column <= right;
      if (seen) many += missing.get(name);
      return seen;
    });
    return many <= most ? names : [];
  };
  const add = (squares) => {
    for (const [name, columns] of Object.entries(squares)) if (missing.delete(name)) take(columns);
    arrange();
  };
  const each = (left, top, right, bottom, call) => { // patches inside a rectangle of the map
    const clip = (value) => Math.min(SQUARES - 1, Math.max(0, Math.floor(value / square)));
    for (let row = clip(top); row <= clip(bottom); row += 1) {
      const end = starts[row * SQUARES + clip(right) + 1];
      for (let k = starts[row * SQUARES + clip(left)]; k < end; k += 1) {
        const i = sorted[k];
        if (x[i] >= left && x[i] <= right && y[i] >= top && y[i] <= bottom) call(i);
      }
    }
  };
  const nearest = (toX, toY, far, within = null) => {
    let best = -1, least = far * far;
    each(toX - far, toY - far, toX + far, toY + far, (i) => {
      const distance = (x[i] - toX) ** 2 + (y[i] - toY) ** 2;
      if (distance > least || (within && !within[i])) return;
      if (distance < least || best < 0) { least = distance; best = i; }
    });
    return best;
  };
  const frame = (count, at) => { // of `count` points [x, y]
    const found = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
    for (let k = 0; k < count; k += 1) {
      const [px, py] = at(k);
      found.left = Math.min(found.left, px); found.right = Math.max(found.right, px);
      found.top = Math.min(found.top, py); found.bottom = Math.max(found.bottom, py);
    }
    return found;
  };
  const bounds = (members) => (members.length ? frame(members.length, (k) => [x[members[k]], y[members[k]]]) : null);
  const inside = (polygon) => { // [x, y, x, y, …], by crossings of a ray
    const { left, top, right, bottom } = frame(polygon.length / 2, (k) => [polygon[2 * k], polygon[2 * k + 1]]);
    const found = [];
    each(left, top, right, bottom, (i) => {
      let odd = false;
      for (let k = 0, before = polygon.length - 2; k < polygon.length; before = k, k += 2) {
        const y0 = polygon[before + 1], y1 = polygon[k + 1];
        if ((y1 > y[i]) !== (y0 > y[i]) && x[i] < (polygon[before] - polygon[k]) * (y[i] - y1) / (y0 - y1) + polygon[k]) odd = !odd;
      }
      if (odd) found.push(i);
    });
    return found;
  };

  // ---- which are meant --------------------------------------------------------------------------------------------------------
  const from = (key) => {
    const [sort, value] = key.split(/:(.*)/s);
    const where = (test) => {
      const found = [];
      for (let i = 0; i < total; i += 1) if (test(i)) found.push(i);
      return found;
    };
    const points = (value ?? "").split(",").map(Number);
    if (sort === "kind") {
      const one = kinds.find((known) => known.key === value);
      return one ? { key, members: where((i) => kind(i) === one), title: gettext("Found by the network: %(kind)s", { kind: one.plural }), file: one.key } : null;
    }
    if (sort === "cluster") {
      const n = Number(value);
      const one = clusters.find((known) => known.number === n);
      if (!one) return null;
      const title = one.title ? gettext("Cluster %(number)s: %(name)s", { number: n, name: one.title }) : gettext("Cluster %(number)s", { number: n });
      return { key, members: where((i) => cluster[i] === n), title, file: `cluster-${padded(n)}` };
    }
    if (sort === "grade") {
      const grade = value === "none" ? null : images.grades.find((one) => one.number === Number(value));
      return grade === undefined ? null : { key, members: where((i) => images.grade[plate[i]] === (grade ? grade.number : null)), title: grade ? gettext("Patches of photographs of grade %(grade)s", { grade: named(grade) }) : gettext("Patches of photographs without a grade"), file: `grade-${value}` };
    }
    if (sort === "plate") {
      const n = Number(value) - 1;
      return images.id[n] === undefined ? null : { key, members: where((i) => plate[i] === n), title: gettext("Patches of plate %(number)s", { number: value }), file: `plate-${value}` };
    }
    if (sort === "box" && points.length === 4 && points.every(Number.isFinite)) {
      const [left, top, right, bottom] = points;
      const members = [];
      each(left, top, right, bottom, (i) => members.push(i));
      return { key, members, title: gettext("Patches in the view"), polygon: [left, top, right, top, right, bottom, left, bottom], file: "view" };
    }
    if (sort === "lasso" && points.length >= 6 && points.length % 2 === 0 && points.every(Number.isFinite)) {
      return { key, members: inside(points), title: gettext("Patches inside the lasso"), polygon: points, file: "lasso" };
    }
    return null;
  };
  const CALLED = { // what readers may write before a number
    cluster: ["c", "cluster", gettext("cluster").toLowerCase()], plate: ["", "p", "plate", "photograph", gettext("plate").toLowerCase()],
  };
  const sought = (words) => { // "cluster 3", a photograph's number, the beginning of an id, a part of a name
    const text = words.trim().toLowerCase();
    const meant = kinds.find((one) => [one.key, one.name, one.plural].some((name) => name?.toLowerCase() === text));
    if (meant) return `kind:${meant.key}`;
    const [, called, digits] = text.match(/^(\D*?)\s*#?(\d+)$/) ?? [];
    const number = Number(digits);
    if (CALLED.cluster.includes(called)) return clusters.some((one) => one.number === number) ? `cluster:${number}` : null;
    if (CALLED.plate.includes(called) && number >= 1 && number <= images.id.length) return `plate:${number}`;
    if (text.length < 3) return null;
    const [image] = text.split("-");
    let found = images.id.findIndex((one) => one.startsWith(image));
    if (found < 0 && images.name) found = images.name.findIndex((name) => name.toLowerCase().includes(text));
    return found < 0 ? null : `plate:${found + 1}`;
  };
  const graded = (plates) => {
    const counts = new Map(images.grades.map((grade) => [grade.number, 0]));
    let known = 0;
    for (const one of plates) {
      const grade = images.grade[one];
      if (grade === null) continue;
      counts.set(grade, counts.get(grade) + 1);
      known += 1;
    }
    return { counts, graded: known };
  };

  // How often a grade is among selected photographs, compared with all: counts and totals of each. The same rule as on cluster pages.
  const compared = (here, selected, cohort, all) => {
    if (!cohort) return gettext("none in the cohort");
    const expected = selected * cohort / all, few = here < 5 && expected < 5, lift = here / expected;
    if (!here) return few ? gettext("none here (fewer than 5 expected)") : gettext("none here");
    const even = lift > 0.8 && lift < 1.25;
    if (even) return few ? gettext("about as often (fewer than 5 photographs)") : gettext("about as often");
    if (few) return lift > 1 ? gettext("more often (fewer than 5 photographs)") : gettext("less often (fewer than 5 photographs)");
    return here < 5 ? gettext("less often") : gettext("%(times)s×", { times: Atlas.number(lift, 1) });
  };

  // ---- pictures instead of dots: one for each place that has room, those that drove the score most first ---------------------------
  const ROOM = 400; // pictures on the map at once, at most
  const SIDES = [144, 112, 88, 68, 52, 40]; // of a picture, in CSS pixels
  const placed = (view, wanted, side) => {
    const found = [];
    const taken = new Map(); // squares of one side: the tile whose middle they hold
    for (const i of wanted) {
      const [sx, sy] = view.toScreen(x[i], y[i]);
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
  const tiles = (view, within = null) => { // the largest size at which at least half find room, and never smaller than the zoom asks for
    const least = Math.min(SIDES[0], Math.round(SIDES.at(-1) * Math.sqrt(view.zoom)));
    const sides = [...SIDES.filter((side) => side > least), least];
    const [left, top] = view.toMap(-30, -30), [right, bottom] = view.toMap(view.wide + 30, view.high + 30);
    const seen = byDrop.filter((i) => (!within || within[i]) && x[i] >= left && x[i] <= right && y[i] >= top && y[i] <= bottom);
    let found = [];
    for (const side of seen.length > 4 * ROOM ? sides.slice(-1) : sides) {
      found = placed(view, seen, side);
      if (2 * found.length >= seen.length) break;
    }
    return found;
  };

  return {
    get total() { return total; },
    get byDrop() { return byDrop; },
    folded, all: room, x, y, drop, plate, cluster, clusters, kind, kinds, images, id, named, each, nearest, inside, bounds, from, sought, graded, compared, tiles, unloaded, add, ROOM,
    ofGrades: data.graded ?? null,
    picture: (i) => `patches/${id(i)}.jpg`,
    page: (i) => `images/${images.id[plate[i]]}.html#${id(i)}`,
    clusterPage: (n) => `clusters/${padded(n)}.html`,
    grade: gradeOf,
  };
};
