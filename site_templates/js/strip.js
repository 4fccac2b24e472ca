// The strip's filter: human grade, flag and name.
"use strict";
(() => {
  const form = document.getElementById("filter");
  const flagged = document.getElementById("flagged");
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  const empty = document.querySelector("#strip .empty");
  const bins = [...document.querySelectorAll(".bin")].map((bin) => ({ bin, tally: bin.querySelector(".tally"), plates: [...bin.querySelectorAll(".thumb")] }));
  const printed = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");

  const apply = () => {
    const choices = form.querySelectorAll("[name=grade]");
    const grades = new Set([...choices].filter((box) => box.checked).map((box) => box.value));
    const wanted = search.value.trim().toLowerCase();
    let total = 0;
    for (const { bin, tally, plates } of bins) {
      let count = 0;
      for (const plate of plates) {
        const fits = (!choices.length || grades.has(plate.dataset.grade))
          && (!flagged?.checked || plate.classList.contains("flagged"))
          && plate.dataset.name.includes(wanted);
        plate.hidden = !fits;
        count += fits;
      }
      bin.hidden = !count;
      tally.textContent = printed(count);
      total += count;
    }
    empty.hidden = total > 0;
    shown.value = `${printed(total)} shown`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
})();
