// Found lesions hidden on a report, all at once or one by one, and what the score does.
//
// AtlasFilm.attach(report, live) takes what AtlasLive.attach returned. The lesion whose place holds most of the score goes first.
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
    const lesions = (count) => `${count} ${count === 1 ? "lesion" : "lesions"}`;
    const moved = () => {
      const fall = Number(live.whole.toFixed(2)) - Number(live.score().toFixed(2));
      return Math.abs(fall) < 0.005 ? "the score stays as it is" : `the score ${fall > 0 ? "falls" : "rises"} from ${Atlas.number(live.whole)} to ${Atlas.number(live.score())}`;
    };
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
      if (count) told.textContent = `Without ${count === marks.length ? (count === 1 ? "it" : `all ${lesions(count)}`) : `the ${count === 1 ? "strongest lesion" : `${count} strongest lesions`} of ${marks.length}`} ${moved()}.`;
      else told.textContent = "";
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
