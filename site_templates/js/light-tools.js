// The tools of light.js on a page with photographs: red-free, grey, contrast, brightness, and their keys. The choice holds for all
// photographs of the page and goes along to the next page: this tab keeps it, and so do links, for browsers in which each file has
// its own memory.
"use strict";
(() => {
  const { read, write, change, possible, css, told, carried, KEYS, REDFREE, PLAIN } = window.AtlasLight;
  const { el, state, signed, list, typing } = window.Atlas;
  const formats = window.AtlasFormats();
  const root = document.documentElement;
  const MEMORY = "atlas-light";
  const bars = [...document.querySelectorAll(".light")];
  if (!bars.length) return;
  let light = { ...PLAIN };

  // An SVG filter works on the picture as it is shown; the green channel becomes all three.
  document.body.append(el("svg:svg", { width: 0, height: 0, "aria-hidden": "true", style: "position:absolute" },
    el("svg:filter", { id: REDFREE, x: 0, y: 0, width: 1, height: 1, "color-interpolation-filters": "sRGB" },
      el("svg:feColorMatrix", { type: "matrix", values: "0 1 0 0 0  0 1 0 0 0  0 1 0 0 0  0 0 0 1 0" }))));

  const show = () => {
    const text = write(light);
    if (text) root.dataset.light = text;
    else delete root.dataset.light;
    root.style.setProperty("--light", css(light) || "none");
    const words = told(light, { signed, list });
    root.style.setProperty("--light-told", JSON.stringify(words ? ` ${words}` : ""));
    for (const bar of bars) {
      for (const button of bar.querySelectorAll("[data-light]")) {
        const action = button.dataset.light;
        if (button.hasAttribute("aria-pressed")) button.setAttribute("aria-pressed", String(light.tone === action));
        else button.disabled = !possible(light, action);
      }
      for (const output of bar.querySelectorAll("output")) {
        const value = signed(light[output.dataset.of], 0);
        if (output.value !== value) output.value = value;
      }
    }
  };

  const kept = () => {
    try { return sessionStorage.getItem(MEMORY); } catch { return null; }
  };
  const keep = (text) => {
    try { sessionStorage.setItem(MEMORY, text); } catch { /* links carry it along */ }
  };
  const set = (next) => {
    light = next;
    keep(write(light));
    if (!location.hash || location.hash.includes("=")) state.set({ light: write(light) }); // else it names a place of the page
    show();
  };
  // The address says it first, as it may be a link from somebody else; but a page that the reader comes back to is shown in the
  // light that was chosen since.
  const open = (back) => {
    const named = state.get().light, memory = kept();
    set(read(back ? memory ?? named : named ?? memory));
  };
  state.listen((pairs) => set(pairs.light === undefined ? light : read(pairs.light)));
  addEventListener("pageshow", (event) => { if (event.persisted) open(true); });

  const act = (action) => {
    if (!possible(light, action)) return;
    const focus = document.activeElement;
    set(change(light, action));
    // A button that has nothing left to do loses the focus: it goes to a neighbour that stays.
    if (focus?.disabled) focus.closest(".light")?.querySelector("[aria-pressed]").focus();
  };
  for (const bar of bars) {
    bar.addEventListener("click", (event) => {
      const action = event.target.closest("[data-light]")?.dataset.light;
      if (action) act(action);
    });
    const more = bar.querySelector("[aria-expanded]");
    more.addEventListener("click", () => more.setAttribute("aria-expanded", String(more.getAttribute("aria-expanded") !== "true")));
  }
  document.addEventListener("keydown", (event) => {
    const action = Object.hasOwn(KEYS, event.key.toLowerCase()) && KEYS[event.key.toLowerCase()];
    if (!action || event.defaultPrevented || event.shiftKey || typing(event)) return;
    event.preventDefault();
    act(action);
  });

  const carry = (event) => {
    const link = event.target.closest?.("a[href]");
    const href = link?.getAttribute("href");
    if (href && !href.startsWith("#") && !/^[a-z]+:/i.test(href)) link.setAttribute("href", carried(href, write(light), formats));
  };
  for (const kind of ["click", "auxclick"]) document.addEventListener(kind, carry, true);

  open(performance.getEntriesByType("navigation")[0]?.type === "back_forward");
})();
