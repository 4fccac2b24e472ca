// On a phone, some parts lie in another order than in a wide window. The style sheets place them; here they change places on the page,
// too, so that the tab key and screen readers follow what is seen.
//
// data-behind names the sibling (a selector) that a part then comes after, and data-where the windows in which it does, or
// "languages", the pages that offer several.
"use strict";
(() => {
  const WINDOWS = {
    small: "screen and (max-width: 34rem)",
    narrow: "screen and (max-width: 48rem)",
    short: "screen and (max-width: 78rem) and (max-height: 60rem)", // of a small laptop, or of a projector
    flat: "screen and (max-height: 30rem) and (orientation: landscape)", // a phone on its side
  };
  const always = { matches: true, addEventListener() {} };
  const opened = (name) => (name !== "languages" ? matchMedia(WINDOWS[name]) : document.querySelector(".languages") ? always : { ...always, matches: false });
  for (const part of document.querySelectorAll("[data-behind]")) {
    const place = document.createComment(""), other = part.parentElement.querySelector(`:scope > ${part.dataset.behind}`);
    part.before(place);
    const windows = part.dataset.where.split(" ").map(opened);
    const settle = () => {
      const focus = part.contains(document.activeElement) ? document.activeElement : null;
      (windows.some(({ matches }) => matches) ? other : place).after(part);
      focus?.focus({ preventScroll: true });
    };
    for (const one of windows) one.addEventListener("change", settle);
    settle();
  }
})();
