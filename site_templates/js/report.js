// Reports: heat maps and their scale, outlines, reading a value, hiding places, and turning pages by arrow keys.
"use strict";
for (const report of document.querySelectorAll(".report")) {
  const plate = report.querySelector(".plate");
  const mat = plate.querySelector(".mat");
  let keep = () => {}; // writes into the address, where the page shows one report
  const viewer = AtlasViewer.attach(plate, { onView: () => keep() });
  const remember = (live) => {
    if (document.body.dataset.image) keep = AtlasReportState.attach(report, viewer, live);
  };
  const cells = window.ATLAS_CELLS?.[report.id];

  const onKey = (letter, button) => document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === letter && !event.defaultPrevented && !Atlas.typing(event)) button.click();
  });

  const outlines = report.querySelector(".outlines");
  outlines?.addEventListener("change", () => plate.querySelector(".boxes").classList.toggle("off", !outlines.checked));

  const marks = report.querySelector("[data-marked]");
  if (marks) {
    marks.addEventListener("click", () => {
      const on = marks.getAttribute("aria-pressed") !== "true";
      marks.setAttribute("aria-pressed", String(on));
      plate.querySelector("svg.marked").classList.toggle("off", !on);
    });
    onKey("p", marks);
  }

  const landmarks = report.querySelector("[data-landmarks]");
  landmarks?.addEventListener("click", () => {
    const on = landmarks.getAttribute("aria-pressed") !== "true";
    landmarks.setAttribute("aria-pressed", String(on));
    plate.querySelector("svg.landmarks").classList.toggle("off", !on);
  });

  const found = plate.querySelector("svg.found");
  const all = report.querySelector("[data-found=all]");
  if (found && all) {
    const shown = (on) => {
      found.classList.toggle("off", !on);
      all.setAttribute("aria-pressed", on);
    };
    all.addEventListener("click", () => shown(all.getAttribute("aria-pressed") !== "true"));
    for (const input of report.querySelectorAll("input[data-found]")) {
      input.addEventListener("change", () => {
        for (const mark of found.querySelectorAll(`[data-kind="${input.dataset.found}"]`)) mark.toggleAttribute("hidden", !input.checked);
        shown(true);
      });
    }
    onKey("f", all);
  }

  for (const entry of report.querySelectorAll(".patches li")) {
    const box = plate.querySelector(`rect.line[data-patch="${entry.dataset.patch}"]`);
    if (!box) continue;
    for (const [event, on] of [["pointerenter", true], ["pointerleave", false]]) {
      entry.addEventListener(event, () => box.classList.toggle("lit", on));
    }
  }
  if (!cells || !report.querySelector(".overlay")) {
    remember(null);
    continue;
  }

  const overlay = report.querySelector(".overlay");
  const slider = report.querySelector(".opacity");
  const own = report.querySelector(".own");
  const legend = report.querySelector(".legend");
  const lay = () => {
    overlay.style.opacity = slider.value / 100;
    slider.nextElementSibling.value = Atlas.percent(slider.value / 100);
  };
  const chosen = () => report.querySelector(".method:checked").value;
  const effect = (method) => (method === "attention" ? "attention" : method.startsWith("gradcam-grade-") ? "grade" : "score");
  const draw = async () => {
    const method = chosen();
    const none = method === "none";
    readout.value = resting();
    overlay.hidden = none;
    slider.disabled = own.disabled = none;
    legend.classList.toggle("idle", none);
    if (none) {
      plate.dataset.drawn = method;
      return;
    }
    const limit = await AtlasOverlay.draw(overlay, cells, { method, own: own.checked });
    const attention = effect(method) === "attention"; // it is never below 0
    legend.querySelector(".low").textContent = attention ? "" : Atlas.fine(-limit);
    legend.querySelector(".high").textContent = attention ? Atlas.size(limit) : Atlas.fine(limit);
    for (const words of legend.querySelectorAll("[data-effect]")) words.hidden = words.dataset.effect !== effect(method);
    for (const words of legend.querySelectorAll("[data-scale]")) words.hidden = words.dataset.scale !== (own.checked ? "own" : "common");
    for (const words of legend.querySelectorAll("[data-method]")) words.hidden = words.dataset.method !== method;
    plate.dataset.drawn = `${method} ${own.checked ? "own" : "common"}`;
  };

  // A value may belong to a window of cells: then there are fewer values than cells, and the nearest window is read.
  const span = cells.window;
  const nearest = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * (count + span - 1) - (span - 1) / 2)));
  const readout = report.querySelector(".readout");
  const bare = readout.value;
  const resting = () => (chosen() === "none" ? bare : gettext("Point at the photograph to read a value."));
  slider.addEventListener("input", lay);
  for (const input of report.querySelectorAll(".method, .own")) input.addEventListener("change", draw);
  lay();
  draw();
  let last = report.querySelector(".method").value;
  const toggle = () => {
    const now = chosen();
    if (now !== "none") last = now;
    report.querySelector(`.method[value="${now === "none" ? last : "none"}"]`).click();
  };
  onKey("m", { click: toggle });

  mat.addEventListener("pointermove", (event) => {
    const method = chosen();
    if (method === "none") return;
    const { values } = cells.maps[method];
    const { x, y } = viewer.at(event);
    const drop = values[nearest(y, values.length)]?.[nearest(x, values[0].length)];
    if (drop === null || drop === undefined) readout.value = gettext("Outside the image area.");
    else if (effect(method) === "attention") readout.value = gettext("This place gets %(times)s times the mean attention.", { times: Atlas.size(drop) });
    else if (effect(method) === "grade") readout.value = gettext("This place adds %(weight)s to the output for this grade.", { weight: Atlas.fine(drop) });
    else if (!drop) readout.value = gettext("This place has no effect on the score.");
    else if (method === "gradcam") readout.value = gettext("Grad-CAM gives this place a weight of %(weight)s grades.", { weight: Atlas.fine(drop) });
    else if (drop < 0) readout.value = gettext("This place lowered the score by %(drop)s grades.", { drop: Atlas.size(drop) });
    else readout.value = gettext("This place raised the score by %(drop)s grades.", { drop: Atlas.size(drop) });
  });
  mat.addEventListener("pointerleave", () => { readout.value = resting(); });

  const live = cells.live && report.querySelector(".live") ? AtlasLive.attach(report, cells, viewer) : null;
  if (live) AtlasFilm.attach(report, live);
  remember(live);
}

document.querySelector(".turn [data-print]")?.addEventListener("click", () => print());

// On a cluster's page too: the arrow keys turn the pages.
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.target.closest("input, .film, .scroll")) return;
  const turn = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  if (turn) document.querySelector(`.turn a[rel=${turn}]`)?.click();
});

for (const film of document.querySelectorAll(".film")) {
  const current = film.querySelector(".current");
  if (current) film.scrollLeft = current.offsetLeft - (film.clientWidth - current.offsetWidth) / 2;
}
