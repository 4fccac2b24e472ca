// The tray: a button on each picture that can be picked, the key T, and the bar at the foot of the window. This browser keeps the
// tray, so that it goes along from page to page; in the address of tray.html it travels to others.
//
// A picture that can be picked carries data-pick, its id, and data-plate, the number of its plate. AtlasTray offers
//   picks()             the list, as of AtlasPicks
//   set(picks)          another list
//   name(pick)          what a pick is called; page(key), thumbnail(key): where it is seen
"use strict";
window.AtlasTray = (() => {
  const { MOST, has, toggled, keep, kept, image, isPatch } = window.AtlasPicks;
  const { el, asset, page, count } = window.Atlas;
  const root = document.documentElement;
  const MEMORY = `atlas-tray ${new URL(asset("") || "./", location.href).pathname}`;
  const FOLDED = "atlas-tray-folded";
  const memory = (act) => { try { return act(); } catch { return null; } }; // a private window: the tray lasts for this page
  const whole = document.body.classList.contains("tray"); // that page is the tray: no bar, no buttons
  const small = matchMedia("(max-width: 48rem), (max-height: 30rem)");

  let picks = kept(memory(() => localStorage.getItem(MEMORY)));
  let before = null; // what was emptied, to be brought back
  let said = "";

  const name = ({ key, plate }) => (isPatch(key) ? gettext("Patch of plate %(number)s", { number: count(plate) }) : gettext("Plate %(number)s", { number: count(plate) }));
  const pageOf = (key) => page(`images/${image(key)}.html${isPatch(key) ? `#${key}` : ""}`);
  const thumbnail = (key) => asset(isPatch(key) ? `patches/${key}.jpg` : `thumbnails/${key}.jpg`);
  const pickOf = (holder) => ({ key: holder.dataset.pick, plate: Number(holder.dataset.plate) });

  // ---- the bar ------------------------------------------------------------------------------------------------------------------
  let bar = null;
  let folded = memory(() => sessionStorage.getItem(FOLDED));
  const closed = () => (folded === null ? small.matches : folded === "yes");
  const fold = (yes) => {
    folded = yes ? "yes" : "no";
    memory(() => sessionStorage.setItem(FOLDED, folded));
    draw();
  };
  // What is said aloud: there from the start, since a reader of the screen does not hear a place that is new.
  const live = el("p", { class: "unseen", role: "status" });
  document.querySelector("footer")?.append(live);
  const parts = {};
  const build = () => {
    parts.count = el("button", { type: "button", class: "fold", "aria-controls": "tray-list", onclick: () => fold(!closed()) }, el("span", { class: "mark", "aria-hidden": "true" }), el("span"));
    parts.list = el("ul", { id: "tray-list" });
    parts.said = el("p", { "aria-hidden": "true" });
    parts.undo = el("button", { type: "button", class: "tool", onclick: () => { set(before); say(""); parts.count.focus(); } }, gettext("Bring them back"));
    parts.open = el("a", { class: "button", href: page("tray.html") }, gettext("Side by side"));
    parts.empty = el("button", { type: "button", class: "tool", onclick: empty }, gettext("Empty"));
    bar = el("aside", { class: "tray-bar", "aria-label": gettext("Tray") }, parts.count, parts.list, parts.said, el("span", { class: "ends" }, parts.undo, parts.open, parts.empty));
    document.querySelector("footer").before(bar);
  };
  const item = (pick) => el("li", { dataset: { key: pick.key } },
    el("a", { href: pageOf(pick.key) }, el("img", { src: thumbnail(pick.key), alt: name(pick), width: 48, height: 48 })),
    el("button", { type: "button", "aria-label": gettext("Take out: %(picture)s", { picture: name(pick) }), title: gettext("Take out"), onclick: () => out(pick) }, "×"));
  const draw = () => {
    const shown = !whole && (picks.length > 0 || before !== null);
    root.classList.toggle("has-tray", shown);
    if (!bar && !shown) return;
    if (!bar) build();
    bar.hidden = !shown;
    bar.classList.toggle("closed", closed());
    parts.count.setAttribute("aria-expanded", String(!closed()));
    parts.count.lastChild.textContent = gettext("Tray: %(n)s of %(most)s", { n: picks.length, most: MOST });
    const known = new Map([...parts.list.children].map((one) => [one.dataset.key, one]));
    parts.list.replaceChildren(...picks.map((pick) => known.get(pick.key) ?? item(pick)));
    parts.undo.hidden = before === null;
    parts.open.hidden = parts.empty.hidden = !picks.length;
    parts.said.textContent = said;
    root.style.setProperty("--tray", `${bar.offsetHeight}px`);
  };
  const say = (text) => {
    said = text;
    live.textContent = text;
    draw();
  };

  // ---- the list -----------------------------------------------------------------------------------------------------------------
  const press = () => {
    for (const button of document.querySelectorAll("button.to-tray")) button.setAttribute("aria-pressed", String(has(picks, button.closest("[data-pick]").dataset.pick)));
  };
  const set = (next) => {
    picks = next;
    before = null;
    memory(() => localStorage.setItem(MEMORY, keep(picks)));
    press();
    draw();
  };
  const toggle = (pick) => {
    const { picks: next, done } = toggled(picks, pick);
    if (done !== "full") set(next);
    const values = { picture: name(pick), n: next.length, most: MOST };
    say({
      added: () => gettext("Added: %(picture)s.", values),
      removed: () => gettext("Taken out: %(picture)s.", values),
      full: () => gettext("The tray is full: it holds %(most)s pictures. Take one out first, with the × on it.", values),
    }[done]());
    if (done === "full" && closed()) fold(false);
  };
  const out = (pick) => {
    const next = [...parts.list.children].find((one) => one.dataset.key === pick.key)?.nextElementSibling ?? null;
    toggle(pick);
    (next?.querySelector("button") ?? parts.list.querySelector("button") ?? document.getElementById("main")).focus();
  };
  const empty = () => {
    const gone = picks;
    set([]);
    before = gone;
    say(gettext("The tray is empty."));
    parts.undo.focus();
  };
  const reread = () => {
    picks = kept(memory(() => localStorage.getItem(MEMORY)));
    press();
    draw();
  };
  addEventListener("storage", ({ key }) => { if (key === MEMORY) reread(); });
  addEventListener("pageshow", ({ persisted }) => { if (persisted) reread(); });
  new ResizeObserver(() => { if (bar) root.style.setProperty("--tray", `${bar.offsetHeight}px`); }).observe(root);

  // ---- a button on each picture -------------------------------------------------------------------------------------------------
  const label = (button) => {
    const pick = pickOf(button.closest("[data-pick]"));
    button.setAttribute("aria-label", gettext("Tray: %(picture)s", { picture: name(pick) }));
    button.setAttribute("aria-pressed", String(has(picks, pick.key)));
  };
  const decorate = (holder) => {
    const known = holder.querySelector("button.to-tray");
    if (known) return label(known);
    const mat = holder.matches(".plate") ? holder.querySelector(".mat") : null;
    const button = el("button", { type: "button", class: "to-tray", title: gettext("Put in the tray, or take out (T)") }, mat ? gettext("Tray") : null);
    for (const event of ["pointerdown", "dblclick"]) button.addEventListener(event, (e) => e.stopPropagation()); // the plate below does not move
    if (mat) mat.querySelector(".layer").after(button); // before the zoom, which lies below it
    else holder.append(holder.matches("li, aside") ? button : el("span", { class: "pick-at" }, button));
    label(button);
  };
  const pictures = (within) => [...(within.matches?.("[data-pick]") ? [within] : []), ...within.querySelectorAll("[data-pick]")];

  // The picture that T means: the one under the pointer or in focus, whichever came last, else the one that the page is about.
  let meant = null;
  const towards = ({ target }) => { meant = target.closest?.("[data-pick]") ?? (target.closest?.("main") ? null : meant); };
  const chosen = () => [
    meant?.isConnected && meant, document.querySelector(".stop.current [data-pick]"), document.querySelector(".cell.current"), document.querySelector(".card[data-pick], .plate[data-pick]"),
  ].find(Boolean);

  if (!whole) {
    new MutationObserver((changes) => {
      for (const { type, target, addedNodes } of changes) {
        if (type === "attributes") decorate(target);
        else for (const node of addedNodes) if (node.nodeType === 1) pictures(node).forEach(decorate);
      }
    }).observe(document.body, { childList: true, subtree: true, attributeFilter: ["data-pick"] });
    pictures(document.body).forEach(decorate);
    document.addEventListener("click", (event) => {
      const button = event.target.closest?.("button.to-tray");
      if (button) toggle(pickOf(button.closest("[data-pick]")));
    });
    document.addEventListener("pointermove", (event) => { if (event.movementX || event.movementY) towards(event); }, { passive: true });
    document.addEventListener("focusin", towards);
    document.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() !== "t" || event.shiftKey || event.repeat || event.defaultPrevented || window.Atlas.typing(event) || document.querySelector("dialog[open]")) return;
      const holder = chosen();
      if (!holder) return;
      event.preventDefault();
      toggle(pickOf(holder));
    });
    small.addEventListener("change", draw);
    draw();
  }
  return { picks: () => picks, set, name, page: pageOf, thumbnail };
})();
