// A lesson, one stop at a time: the address holds the stop, arrow keys walk, H lays the heat map over the plate,
// O outlines the place of the stop, F the lesions found.
"use strict";
(() => {
  const stops = [...document.querySelectorAll(".stop")];
  if (!stops.length) return;
  const links = [...document.querySelectorAll(".course-of-stops a")];
  document.querySelector(".stops").classList.add("walked");
  let at = -1;

  const show = (number, moved) => {
    const next = Math.min(stops.length, Math.max(1, number)) - 1;
    if (next === at) return;
    at = next;
    stops.forEach((stop, k) => stop.classList.toggle("current", k === at));
    links.forEach((link, k) => (k === at ? link.setAttribute("aria-current", "step") : link.removeAttribute("aria-current")));
    const film = links[at].closest("ol");
    const item = links[at].parentElement;
    film.scrollLeft = item.offsetLeft - (film.clientWidth - item.offsetWidth) / 2;
    const stop = stops[at];
    const plate = stop.querySelector(".plate[data-image]");
    if (plate) AtlasViewer.attach(plate);
    stop.querySelector(".photograph")?.removeAttribute("loading");
    const coming = stops[at + 1]?.querySelector(".photograph");
    if (coming) coming.loading = "eager";
    if (moved) stop.querySelector("h2").focus({ preventScroll: true });
    const top = document.querySelector(".course-of-stops").getBoundingClientRect().top;
    if (moved && top < 0) scrollBy({ top, behavior: "instant" });
  };
  const go = (number) => {
    const next = Math.min(stops.length, Math.max(1, number));
    Atlas.state.set({ stop: next === 1 ? null : next });
    show(next, true);
  };

  const heat = async (stop) => {
    const button = stop.querySelector("[data-heat]");
    const overlay = stop.querySelector(".overlay");
    if (!button) return;
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", on);
    overlay.hidden = !on;
    if (!on) return;
    const image = stop.querySelector(".plate").dataset.image;
    await Atlas.load(`cells/${image}.js`);
    const cells = window.ATLAS_CELLS[image];
    await AtlasOverlay.draw(overlay, cells, { method: Object.keys(cells.maps)[0] });
    overlay.dataset.drawn = "";
  };

  const outline = (stop) => {
    const button = stop.querySelector("[data-outline]");
    if (!button) return;
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", on);
    stop.querySelector(".boxes").classList.toggle("off", !on);
  };

  const lesions = (stop) => {
    const button = stop.querySelector("[data-found]");
    if (!button) return;
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", on);
    stop.querySelector("svg.found").classList.toggle("off", !on);
    stop.querySelector(".found-here .caption").hidden = !on;
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#stop=']");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      go(Number(link.getAttribute("href").slice(6)));
    }
    if (event.target.closest("[data-heat]")) heat(event.target.closest(".stop"));
    if (event.target.closest("[data-outline]")) outline(event.target.closest(".stop"));
    if (event.target.closest("[data-found]")) lesions(event.target.closest(".stop"));
  });
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.shiftKey || Atlas.typing(event)) return;
    if (event.target.closest(".mat") && /^(Arrow|Home|End)/.test(event.key)) return; // the plate moves
    const next = { ArrowLeft: at, ArrowRight: at + 2, Home: 1, End: stops.length }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      go(next);
    } else if (event.key.toLowerCase() === "h") heat(stops[at]);
    else if (event.key.toLowerCase() === "o") outline(stops[at]);
    else if (event.key.toLowerCase() === "f") lesions(stops[at]);
  });
  Atlas.state.listen(({ stop }) => show(Number(stop) || 1, true));
  show(Number(Atlas.state.get().stop) || 1, false);
})();
