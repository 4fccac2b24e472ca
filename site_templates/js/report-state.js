// What a reader has set on the page of a photograph, in its address: heat map, marks, view, and the places that are hidden.
//
// AtlasReportState.attach(report, viewer, live) restores it and returns keep(), which writes it; `live` is what AtlasLive.attach
// returned, or null. Where the address names a place of the page, such as a patch, nothing is written.
"use strict";
window.AtlasReportState = (() => {
  // Numbers of cells as runs in rising order: {3, 4, 5, 9} is "3-5.9".
  const writeCells = (cells) => {
    const runs = [];
    for (const cell of [...cells].sort((a, b) => a - b)) {
      const last = runs.at(-1);
      if (last && last[1] === cell - 1) last[1] = cell;
      else runs.push([cell, cell]);
    }
    return runs.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(".");
  };
  // What cannot be read, or lies beyond the last of `count` cells, is left out.
  const readCells = (text, count) => {
    const cells = new Set();
    for (const run of String(text ?? "").split(".")) {
      const [, from, to] = run.match(/^(\d{1,6})(?:-(\d{1,6}))?$/) ?? [];
      for (let cell = Number(from); cell <= Math.min(Number(to ?? from), count - 1); cell++) cells.add(cell);
    }
    return cells;
  };
  const writeView = ({ x, y, scale }) => (scale > 1 ? [x.toFixed(4), y.toFixed(4), scale.toFixed(3)].join(",") : "");
  const readView = (text) => {
    const [x, y, scale] = String(text ?? "").split(",").map(Number);
    return scale >= 1 && x >= 0 && x <= 1 && y >= 0 && y <= 1 ? { x, y, scale } : { x: 0.5, y: 0.5, scale: 1 };
  };

  const attach = (report, viewer, live) => {
    const find = (selector) => report.querySelector(selector);
    const pressed = { marked: "[data-marked]", disc: "[data-landmarks]", lesions: "[data-found=all]" };
    const checked = { outlines: ".outlines", own: ".own" };
    const kinds = [...report.querySelectorAll("input[data-found]")];
    const strength = find(".opacity");

    const all = () => {
      const pairs = { view: writeView(viewer.view()), out: live ? writeCells(live.hidden()) : "" };
      for (const [key, button] of Object.entries(pressed)) pairs[key] = find(button)?.getAttribute("aria-pressed") === "true" ? 1 : null;
      for (const [key, input] of Object.entries(checked)) pairs[key] = find(input)?.checked ? 1 : null;
      const method = find(".method:checked")?.value;
      pairs.map = method === "none" ? null : method;
      pairs.strength = strength && strength.value !== strength.defaultValue ? strength.value : null;
      pairs.without = kinds.filter((input) => !input.checked).map((input) => input.dataset.found).join(",");
      return pairs;
    };
    let restoring = false;
    const keep = () => {
      if (!restoring && (!location.hash || location.hash.includes("="))) Atlas.state.set(all());
    };
    const check = (input, wanted) => {
      if (!input || input.checked === wanted) return;
      input.checked = wanted;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    };
    const restore = (address) => {
      restoring = true;
      const without = new Set((address.without ?? "").split(","));
      for (const input of kinds) check(input, !without.has(input.dataset.found));
      for (const [key, selector] of Object.entries(pressed)) {
        const button = find(selector);
        if (button && (button.getAttribute("aria-pressed") === "true") !== (address[key] === "1")) button.click();
      }
      for (const [key, input] of Object.entries(checked)) check(find(input), address[key] === "1");
      const methods = [...report.querySelectorAll(".method")];
      check(methods.find((input) => input.value === address.map) ?? methods.find((input) => input.value === "none"), true);
      if (strength) {
        strength.value = /^\d+$/.test(address.strength ?? "") ? address.strength : strength.defaultValue;
        strength.dispatchEvent(new Event("input", { bubbles: true }));
      }
      if (live) {
        const hidden = readCells(address.out, live.count);
        if (hidden.size || live.hidden().size) live.leave(hidden);
      }
      viewer.setView(readView(address.view));
      restoring = false;
    };
    for (const event of ["click", "change", "input", "keyup", "pointerup"]) report.addEventListener(event, () => queueMicrotask(keep));
    restore(Atlas.state.get());
    Atlas.state.listen(restore);
    return keep;
  };

  return { attach, writeCells, readCells, writeView, readView };
})();
