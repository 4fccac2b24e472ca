// Found lesions hidden on a report, all at once or one by one, and how the score changes.
//
// AtlasFilm.attach(report, live) takes what AtlasLive.attach returned. The lesion that changes the score most is hidden first.
"use strict";
(() => {
  const LONGEST = 900, WHOLE = 12000; // milliseconds for a lesion, and for all of them together

  const attach = (report, live) => {
    const play = report.querySelector("[data-film=play]"), all = report.querySelector("[data-film=all]");
    const told = report.querySelector("[data-film=told]");
    if (!all) return;
    const marks = [...report.querySelectorAll("svg.found g")]
      .map((mark) => ({ mark, fall: Number(mark.dataset.fall), cells: mark.dataset.cells.split(" ").map(Number) }))
      .sort((a, b) => b.fall - a.fall);
    const moved = () => {
      const fall = Number(live.whole.toFixed(2)) - Number(live.score().toFixed(2));
      const scores = { before: Atlas.number(live.whole), after: Atlas.number(live.score()) };
      if (Math.abs(fall) < 0.005) return gettext("The score does not change.");
      return fall > 0 ? gettext("The score falls from %(before)s to %(after)s.", scores) : gettext("The score rises from %(before)s to %(after)s.", scores);
    };
    const hidden = (count) => (count === marks.length
      ? ngettext("%(n)s lesion is hidden.", "All %(n)s lesions are hidden.", count)
      : ngettext("The strongest of %(total)s lesions is hidden.", "The %(n)s strongest of %(total)s lesions are hidden.", count, { total: marks.length }));
    let timer = 0;
    const rest = () => {
      clearInterval(timer);
      timer = 0;
      play?.setAttribute("aria-pressed", "false");
    };
    const hide = (count) => {
      marks.forEach(({ mark }, place) => mark.classList.toggle("gone", place < count));
      live.leave(new Set(marks.slice(0, count).flatMap(({ cells }) => cells)));
      all.setAttribute("aria-pressed", String(count === marks.length));
      told.textContent = count ? [hidden(count), moved()].join(" ") : "";
    };
    const show = () => { // what is hidden should be seen to go
      const button = report.querySelector("[data-found=all]");
      if (button.getAttribute("aria-pressed") !== "true") button.click();
    };
    all.addEventListener("click", () => {
      rest();
      show();
      hide(all.getAttribute("aria-pressed") === "true" ? 0 : marks.length);
    });
    play?.addEventListener("click", () => {
      if (timer) {
        rest();
        return;
      }
      show();
      play.setAttribute("aria-pressed", "true");
      let count = 0;
      hide(count);
      timer = setInterval(() => {
        count += 1;
        hide(count);
        if (count === marks.length) rest();
      }, Math.min(LONGEST, WHOLE / marks.length));
    });
    report.querySelector("[data-live=reset]").addEventListener("click", () => {
      rest();
      hide(0);
    });
    report.querySelector("[data-live=mode]").addEventListener("click", rest);
  };

  window.AtlasFilm = { attach };
})();
