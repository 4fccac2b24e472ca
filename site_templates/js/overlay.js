// Heat maps, drawn from the values of a photograph's cells as atlas.pictures.jpeg.overlay_png draws them.
//
// AtlasOverlay.draw(canvas, cells, {method, own}) draws one method's map of `cells`, an entry of window.ATLAS_CELLS, onto a canvas
// and resolves to the drop that is drawn strongest, in grades: that of all photographs, or with `own` the largest of this map.
//
// AtlasOverlay.found(cells) returns the outlines of the lesions that a net found, as the macro `found` of _macros.html draws them,
// and AtlasOverlay.key(cells) what their letters mean, with their counts; both null where there are none.
"use strict";
(() => {
  const SIDE = 160;
  const STRONGEST = 0.9; // the photograph stays visible below the strongest drop
  const RAISED = [86, 236, 255];
  const LOWERED = [88, 40, 214];
  const retinas = new WeakMap();
  const turns = new WeakMap();

  const retina = (cells) => {
    if (!retinas.has(cells)) {
      const picture = new Image();
      picture.src = cells.mask;
      retinas.set(cells, picture.decode().then(() => {
        const scratch = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
        const context = scratch.getContext("2d", { willReadFrequently: true });
        context.drawImage(picture, 0, 0, SIDE, SIDE);
        return context.getImageData(0, 0, SIDE, SIDE).data;
      }));
    }
    return retinas.get(cells);
  };

  // For each of SIDE places: the value below it, the one after, and the share of the latter (smoothstep, so nothing overshoots).
  const places = (count, window) => Array.from({ length: SIDE }, (_, k) => {
    const position = Math.min(count - 1, Math.max(0, ((k + 0.5) * (count + window - 1)) / SIDE - window / 2));
    const below = Math.min(Math.floor(position), Math.max(count - 2, 0));
    const along = position - below;
    return [below, Math.min(below + 1, count - 1), along * along * (3 - 2 * along)];
  });

  const ownLimit = (values) => {
    const largest = Math.max(...values.flat().map((value) => Math.abs(value ?? 0)));
    return largest > 0 ? largest : 1;
  };

  const draw = async (canvas, cells, { method, own = false }) => {
    const turn = (turns.get(canvas) ?? 0) + 1;
    turns.set(canvas, turn);
    const { values, limit: common } = cells.maps[method];
    const limit = own ? ownLimit(values) : common;
    const mask = await retina(cells);
    if (turns.get(canvas) !== turn) return limit; // another map was asked for meanwhile
    const rows = places(values.length, cells.window), columns = places(values[0].length, cells.window);
    const picture = new ImageData(SIDE, SIDE);
    for (let y = 0; y < SIDE; y++) {
      const [above, below, down] = rows[y];
      for (let x = 0; x < SIDE; x++) {
        const at = (y * SIDE + x) * 4;
        if (!mask[at]) continue;
        const [left, right, along] = columns[x];
        let drop = 0, inside = 0;
        for (const [row, column, share] of [[above, left, (1 - down) * (1 - along)], [above, right, (1 - down) * along], [below, left, down * (1 - along)], [below, right, down * along]]) {
          const value = values[row][column];
          if (value === null) continue;
          drop += share * value;
          inside += share;
        }
        picture.data.set(drop > 0 ? RAISED : LOWERED, at);
        picture.data[at + 3] = Math.round(255 * STRONGEST * Math.min(Math.abs(drop) / limit, 1) * inside);
      }
    }
    canvas.width = canvas.height = SIDE;
    canvas.getContext("2d").putImageData(picture, 0, 0);
    return limit;
  };

  const { el } = Atlas;
  const told = (kind, strength, fall) => {
    const values = { kind: Atlas.sentence(gettext(kind)), strength: Atlas.number(strength), drop: Atlas.number(Math.abs(fall)) };
    if (!Atlas.seen(fall)) return gettext("%(kind)s, strength %(strength)s. Hiding it hardly changes the score.", values);
    return fall > 0
      ? gettext("%(kind)s, strength %(strength)s. Hiding it lowers the score by %(drop)s.", values)
      : gettext("%(kind)s, strength %(strength)s. Hiding it raises the score by %(drop)s.", values);
  };
  const found = ({ lesions }) => (lesions?.marks.length ? el("svg:svg", { class: "found", viewBox: "0 0 100 100", role: "group", "aria-label": gettext("Lesions found by the network") },
    lesions.marks.map(([k, [y, x, height, width], strength, fall]) => el("svg:g", { "data-kind": lesions.kinds[k].key, style: { "--kind": lesions.kinds[k].colour } },
      el("svg:title", {}, told(lesions.kinds[k].name, strength, fall)), ["under", "line"].map((name) => el("svg:rect", { class: name, x, y, width, height, rx: 0.4 })),
      el("svg:text", { x: x + width, y, dx: ".15em", dy: ".3em" }, lesions.kinds[k].letter)))) : null);
  const key = ({ lesions }) => (lesions?.kinds.length ? el("span", {}, lesions.kinds.flatMap(({ letter, colour, plural, count }) => [
    el("span", { class: "kind" }, el("b", { class: "letter", style: { "--kind": colour } }, letter), ` ${gettext(plural)} `, el("small", {}, Atlas.count(count))), " "])) : null);

  window.AtlasOverlay = { draw, found, key };
})();
