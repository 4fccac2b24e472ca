// Reports: opacity of the heat map, outlines, reading a place, and turning pages by arrow keys.
"use strict";
for (const plate of document.querySelectorAll(".plate")) {
  const overlay = plate.querySelector(".overlay");
  const slider = plate.querySelector(".opacity");
  if (!slider) continue;
  const show = () => {
    overlay.style.opacity = slider.value / 100;
    slider.nextElementSibling.value = `${slider.value} %`;
  };
  slider.addEventListener("input", show);
  show();

  const outlines = plate.querySelector(".outlines");
  const boxes = plate.querySelector(".boxes");
  outlines?.addEventListener("change", () => boxes.classList.toggle("off", !outlines.checked));

  const cells = JSON.parse(plate.dataset.cells);
  // A value may stand for a window of cells: then there are fewer values than cells, and the nearest window speaks.
  const span = Number(plate.dataset.window);
  const place = (share, values) =>
    Math.min(values - 1, Math.max(0, Math.floor(share * (values + span - 1) - (span - 1) / 2)));
  const readout = plate.querySelector(".readout");
  const resting = readout.value;
  const mat = plate.querySelector(".mat");
  mat.addEventListener("pointermove", (event) => {
    const area = mat.getBoundingClientRect();
    const row = place((event.clientY - area.top) / area.height, cells.length);
    const column = place((event.clientX - area.left) / area.width, cells[0].length);
    const drop = cells[row]?.[column];
    if (drop == null) readout.value = "Outside the retina.";
    else readout.value = `This place ${drop < 0 ? "lowered" : "raised"} the score by ${Math.abs(drop).toFixed(2)} grades.`;
  });
  mat.addEventListener("pointerleave", () => { readout.value = resting; });
}

for (const entry of document.querySelectorAll(".patches li")) {
  const box = document.querySelector(`rect[data-patch="${entry.dataset.patch}"]`);
  if (!box) continue;
  for (const [event, on] of [["pointerenter", true], ["pointerleave", false]]) {
    entry.addEventListener(event, () => box.classList.toggle("lit", on));
  }
}

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.target.closest("input, .film, .scroll")) return;
  const turn = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  if (turn) document.querySelector(`.turn a[rel=${turn}]`)?.click();
});

for (const film of document.querySelectorAll(".film")) {
  const current = film.querySelector(".current");
  if (current) film.scrollLeft = current.offsetLeft - (film.clientWidth - current.offsetWidth) / 2;
}
