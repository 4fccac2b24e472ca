// Live occlusion: the exact score of a photograph while places of it are hidden.
//
// AtlasLive.attach(report, cells, viewer) makes the tools of a report work, and returns {leave, hidden, count, score, whole}:
// leave(set) leaves these cells out, hidden() is the set of those that are, count is the number of all cells, and score() is the
// score without what is left out.
"use strict";
(() => {
  const attach = (report, cells, viewer) => {
    const { rows, columns, places, whole: exact, without } = AtlasModel(cells);
    const whole = Atlas.printable(exact);
    const inside = new Set(places);
    const mat = report.querySelector(".plate .mat");
    const panel = report.querySelector(".live");
    const find = (name) => report.querySelector(`[data-live="${name}"]`);
    const switchOn = find("mode"), only = find("only"), now = find("now"), marker = find("marker"), told = find("told"), said = find("said");
    const scoreNow = find("score"), difference = find("difference");
    let left = new Set();
    let on = false;
    let cursor = places[Math.floor(places.length / 2)];

    // One square a cell, drawn when the reader first hides something: a fine grid has hundreds. A square that is left out is
    // hatched, so that it differs from dark retina.
    const hatch = `hatch-${report.id}`;
    let board = null;
    const drawn = () => {
      const grid = Atlas.el("svg:svg", { class: "cells", viewBox: `0 0 ${columns} ${rows}`, preserveAspectRatio: "none", "aria-hidden": "true" },
        Atlas.el("svg:defs", {}, Atlas.el("svg:pattern", { id: hatch, width: 0.25, height: 0.25, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
          Atlas.el("svg:rect", { width: 0.25, height: 0.25, class: "ground" }), Atlas.el("svg:line", { x1: 0, y1: 0, x2: 0, y2: 0.25, class: "stripe" }))));
      const squares = new Map(places.map((cell) => {
        const square = Atlas.el("svg:rect", { x: cell % columns, y: Math.floor(cell / columns), width: 1, height: 1, "data-cell": cell });
        grid.append(square);
        return [cell, square];
      }));
      const pointer = grid.appendChild(Atlas.el("svg:rect", { class: "cursor", width: 1, height: 1 }));
      mat.querySelector(".layer").append(grid);
      return { grid, squares, pointer };
    };

    // What a click or a key hides: one cell, or a square of them where the grid is fine, smaller as the reader zooms in.
    const brush = () => Math.max(1, Math.round(rows / 24 / viewer.view().scale));
    const under = (cell) => {
      const wide = brush(), before = Math.floor((wide - 1) / 2);
      const row = Math.floor(cell / columns) - before, column = (cell % columns) - before;
      return Array.from({ length: wide * wide }, (_, k) => [row + Math.floor(k / wide), column + (k % wide)])
        .flatMap(([y, x]) => (y >= 0 && y < rows && x >= 0 && x < columns && inside.has(y * columns + x) ? [y * columns + x] : []));
    };
    const brushed = (next, cell, out) => {
      for (const one of under(cell)) {
        if (out) next.add(one);
        else next.delete(one);
      }
    };

    const mark = ({ squares, pointer }) => {
      for (const [cell, square] of squares) {
        const out = left.has(cell);
        square.classList.toggle("left", out);
        square.style.fill = out ? `url(#${hatch})` : "";
      }
      const wide = brush(), before = Math.floor((wide - 1) / 2);
      pointer.setAttribute("x", (cursor % columns) - before);
      pointer.setAttribute("y", Math.floor(cursor / columns) - before);
      for (const side of ["width", "height"]) pointer.setAttribute(side, wide);
    };
    const show = () => {
      if (board) mark(board);
      const score = left.size ? without(left) : whole;
      const share = (score - cells.scale.lowest) / cells.scale.span;
      now.classList.toggle("on", on);
      scoreNow.value = Atlas.number(score);
      // The difference of the numbers as shown, so that a reader who subtracts them gets the same.
      difference.textContent = gettext("%(difference)s from %(score)s", { difference: Atlas.signed(Atlas.apart(score, whole)), score: Atlas.number(whole) });
      marker.style.left = `${100 * share}%`;
      marker.classList.toggle("on", on);
      told.textContent = left.size
        ? gettext("%(hidden)s of %(total)s places hidden.", { hidden: Atlas.count(left.size), total: Atlas.count(places.length) })
        : gettext("Nothing hidden.");
    };
    const turn = (yes) => {
      on = yes;
      switchOn.setAttribute("aria-pressed", String(on));
      for (const control of panel.querySelectorAll(".live-tools button, .live-tools input")) control.disabled = !on;
      if (on) board ??= drawn();
      if (board) board.grid.style.display = on ? "" : "none";
      viewer.hold(on);
      if (on) mat.focus({ preventScroll: true });
      show();
    };
    const say = (text) => { said.textContent = text; };
    const spoken = () => [gettext("Score %(score)s.", { score: Atlas.number(left.size ? without(left) : whole) }), told.textContent].join(" ");
    const change = (next) => {
      left = next;
      show();
    };
    const act = {
      mode: () => turn(!on),
      invert: () => change(new Set(places.filter((cell) => !left.has(cell)))),
      reset: () => change(new Set()),
      this: () => {
        const kept = new Set(under(cursor));
        change(new Set(places.filter((cell) => !kept.has(cell))));
      },
    };
    for (const name of ["mode", "invert", "reset"]) {
      find(name).addEventListener("click", () => {
        act[name]();
        say(spoken());
      });
    }

    const cellAt = ({ x, y }) => {
      const row = Math.floor(y * rows), column = Math.floor(x * columns);
      return row >= 0 && row < rows && column >= 0 && column < columns ? row * columns + column : -1;
    };
    let stroke = null; // {out, last, before}: what the stroke does to the cells, where it was, and the cells before it
    const paint = (point) => {
      // A quick stroke leaves gaps between its events: walk from the last to this one in steps of half a cell.
      const far = Math.max(Math.abs(point.x - stroke.last.x) * columns, Math.abs(point.y - stroke.last.y) * rows);
      const steps = Math.max(1, Math.ceil(far * 2));
      const next = new Set(left);
      for (let k = 1; k <= steps; k++) {
        const cell = cellAt({ x: stroke.last.x + ((point.x - stroke.last.x) * k) / steps, y: stroke.last.y + ((point.y - stroke.last.y) * k) / steps });
        if (!inside.has(cell)) continue;
        brushed(next, cell, stroke.out);
        cursor = cell;
      }
      stroke.last = point;
      change(next);
    };
    mat.addEventListener("pointerdown", (event) => {
      if (!on || event.target.closest(".zoom")) return;
      if (!event.isPrimary) { // a second finger: it was no stroke, it becomes a pinch
        if (stroke) change(stroke.before);
        stroke = null;
        return;
      }
      if (event.button !== 0) return;
      const point = viewer.at(event);
      const cell = cellAt(point);
      stroke = { out: !only.checked && !left.has(cell), last: point, before: left };
      if (only.checked && inside.has(cell)) left = new Set(places);
      mat.setPointerCapture(event.pointerId);
      paint(point);
    });
    mat.addEventListener("pointermove", (event) => {
      if (stroke && event.isPrimary) paint(viewer.at(event));
    });
    for (const end of ["pointerup", "pointercancel"]) {
      mat.addEventListener(end, () => {
        if (stroke) say(spoken());
        stroke = null;
      });
    }

    const step = (down, across) => {
      const wide = brush();
      const row = Math.floor(cursor / columns) + wide * down, column = (cursor % columns) + wide * across;
      const next = row * columns + column;
      if (row < 0 || row >= rows || column < 0 || column >= columns || !inside.has(next)) return;
      cursor = next;
      const { x, y, scale } = viewer.view();
      const at = { x: (column + 0.5) / columns, y: (row + 0.5) / rows };
      if (Math.abs(at.x - x) > 0.45 / scale || Math.abs(at.y - y) > 0.45 / scale) viewer.setView(at, { glide: true });
      show();
      const spot = { row: row + 1, column: column + 1 };
      say(left.has(cursor) ? gettext("Row %(row)s, column %(column)s: hidden", spot) : gettext("Row %(row)s, column %(column)s: not hidden", spot));
    };
    mat.addEventListener("keydown", (event) => { // before the viewer's own keys
      if (!on || event.altKey || event.ctrlKey || event.metaKey || event.target !== mat) return;
      const way = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (way) step(...way);
      else if (event.key === " " || event.key === "Enter") {
        const next = new Set(left);
        brushed(next, cursor, !next.has(cursor));
        change(next);
        say([left.has(cursor) ? gettext("Hidden.") : gettext("No longer hidden."), spoken()].join(" "));
      } else if (event.key === "Escape") turn(false);
      else return;
      event.preventDefault();
    }, true);
    document.addEventListener("keydown", (event) => {
      if (event.defaultPrevented || Atlas.typing(event)) return;
      const meant = event.target.closest?.(".report") ?? (document.querySelectorAll(".report").length === 1 ? report : null);
      if (meant !== report) return;
      const name = { l: "mode", ...(on ? { i: "invert", r: "reset", o: "this" } : {}) }[event.key.toLowerCase()];
      if (!name) return;
      event.preventDefault();
      act[name]();
      say(spoken());
    });
    turn(false);
    const leave = (wanted) => {
      if (!on) turn(true);
      change(new Set([...wanted].filter((cell) => inside.has(cell))));
    };
    return { leave, hidden: () => new Set(left), count: rows * columns, score: () => (left.size ? without(left) : whole), whole };
  };

  window.AtlasLive = { attach };
})();
