// The page of the tray: up to six pictures side by side, which zoom and move together. The address holds them.
"use strict";
(async () => {
  const { moved, read, write, image, isPatch, columns } = window.AtlasPicks;
  const tray = window.AtlasTray;
  const { el, number, count, graded, state, images, picture, asset, typing } = window.Atlas;
  const at = (id) => document.getElementById(id);
  const list = at("laid"), status = at("laid-status");
  let data;
  try {
    data = await images();
  } catch (fault) {
    at("empty").textContent = fault.message;
    return;
  }
  const plateOf = new Map(data.id.map((id, k) => [id, k]));
  const stageOf = new Map(data.grades.map((stage) => [stage.number, stage]));
  const known = (key) => plateOf.has(image(key));
  const picked = (key) => ({ key, plate: plateOf.get(image(key)) + 1 });
  let shown = []; // as of AtlasPicks
  let own = true; // whether what is shown is the reader's tray, or what a link brought

  // ---- one picture --------------------------------------------------------------------------------------------------------------
  const made = new Map(); // by key: {item, viewer}
  const moves = (pick) => {
    const button = (text, label, act, by) => el("button", { type: "button", class: "tool", "aria-label": `${label}: ${tray.name(pick)}`, title: label, dataset: { by }, onclick: act }, text);
    return el("span", { class: "moves of-screen" }, button("←", gettext("Move to the left"), () => move(pick.key, -1), "left"),
      button("→", gettext("Move to the right"), () => move(pick.key, 1), "right"), button("×", gettext("Take out"), () => remove(pick.key), "out"));
  };
  const caption = (pick) => {
    const k = pick.plate - 1, stage = stageOf.get(data.grade[k]);
    return el("figcaption", {},
      el("span", { class: "named" }, el("a", { href: tray.page(pick.key) }, tray.name(pick)), moves(pick)), " ",
      isPatch(pick.key) ? [gettext("Its photograph:"), " "] : null, el("span", {}, gettext("Score: %(score)s, read as grade %(read)s.", { score: number(data.severity[k]), read: data.read[k] })), " ",
      stage ? el("span", { class: "graded" }, el("i", { class: "dot", style: { background: stage.colour }, "aria-hidden": "true" }), graded(stage)) : null,
      data.note[k] && !isPatch(pick.key) ? el("span", { class: "noted" }, data.note[k].split("\n")[0]) : null);
  };
  const build = (pick) => {
    const patch = isPatch(pick.key), k = pick.plate - 1;
    const photograph = el("img", { class: "photograph", alt: patch ? tray.name(pick) : window.Atlas.plate(k, data.severity[k], data.read[k], stageOf.get(data.grade[k])), width: 1024, height: 1024 });
    const figure = el("figure", { class: `plate${patch ? " patch-plate" : ""}` },
      el("div", { class: "mat", role: "group", "aria-label": gettext("%(picture)s. Keys: plus and minus zoom, arrows move, 0 shows all of it.", { picture: tray.name(pick) }) }, el("div", { class: "layer" }, photograph)),
      caption(pick));
    const item = el("li", { dataset: { key: pick.key } }, figure);
    const viewer = window.AtlasViewer.attach(figure);
    if (patch) {
      photograph.addEventListener("error", () => { figure.querySelector("figcaption").append(el("b", {}, " ", gettext("This patch is not in this atlas."))); }, { once: true });
      photograph.src = asset(`patches/${pick.key}.jpg`);
    } else viewer.show(picture(pick.key, data.finer[k]));
    return { item, viewer };
  };

  // ---- one zoom for all: photographs together, and patches together ---------------------------------------------------------------
  let parts = [];
  const couple = () => {
    for (const part of parts) part();
    parts = [];
    if (!at("coupled").checked) return;
    for (const patches of [false, true]) {
      const [first, ...rest] = shown.filter(({ key }) => isPatch(key) === patches).map(({ key }) => made.get(key).viewer);
      parts.push(...rest.map((viewer) => first.couple(viewer)));
    }
  };
  const coupled = () => {
    couple();
    state.set({ coupled: at("coupled").checked ? null : "no" });
  };
  at("coupled").addEventListener("change", coupled);

  // ---- the list -----------------------------------------------------------------------------------------------------------------
  const draw = () => {
    for (const pick of shown) if (!made.has(pick.key)) made.set(pick.key, build(pick));
    list.replaceChildren(...shown.map(({ key }) => made.get(key).item));
    list.dataset.count = shown.length;
    list.style.setProperty("--columns", columns(shown.length));
    for (const [k, { key }] of shown.entries()) {
      const { item } = made.get(key);
      item.querySelector("[data-by=left]").disabled = k === 0;
      item.querySelector("[data-by=right]").disabled = k === shown.length - 1;
    }
    at("empty").hidden = shown.length > 0;
    list.hidden = at("bar").hidden = !shown.length;
    at("how-many").textContent = shown.length ? ngettext("%(n)s picture side by side", "%(n)s pictures side by side", shown.length, { n: count(shown.length) }) : gettext("The tray is empty");
    at("print").disabled = !shown.length;
    couple();
  };
  const change = (next) => {
    shown = next;
    if (own) tray.set(shown);
    state.set({ tray: write(shown) });
    draw();
  };
  const move = (key, by) => {
    change(moved(shown, key, by));
    const { item } = made.get(key);
    (item.querySelector(`[data-by=${by < 0 ? "left" : "right"}]:enabled`) ?? item.querySelector("[data-by]:enabled")).focus();
    status.textContent = gettext("%(picture)s is now number %(place)s of %(n)s.", { picture: tray.name(picked(key)), place: shown.findIndex((one) => one.key === key) + 1, n: shown.length });
  };
  const remove = (key) => {
    const k = shown.findIndex((one) => one.key === key);
    change(shown.filter((one) => one.key !== key));
    const next = shown[Math.min(k, shown.length - 1)];
    (next ? made.get(next.key).item.querySelector("[data-by=out]") : at("main")).focus();
    status.textContent = gettext("Taken out: %(picture)s.", { picture: tray.name(picked(key)) });
  };
  at("print").addEventListener("click", () => print());
  at("clear").addEventListener("click", () => {
    const gone = shown;
    change([]);
    at("brought").hidden = false;
    at("brought").replaceChildren(gettext("The tray is empty."), " ", el("button", { type: "button", class: "tool", onclick: () => { change(gone); notice([]); at("clear").focus(); } }, gettext("Bring them back")));
    at("brought").querySelector("button").focus();
  });
  at("bar").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "c" || event.shiftKey || event.defaultPrevented || typing(event)) return;
    event.preventDefault();
    at("coupled").click();
  });

  // ---- the address: what a link brings is shown, and the reader's own tray stays until the reader says otherwise --------------------
  const notice = (lost) => {
    const mine = tray.picks().filter(({ key }) => known(key));
    const say = [
      lost.length && ngettext("%(n)s picture is not in this atlas and was left out.", "%(n)s pictures are not in this atlas and were left out.", lost.length, { n: lost.length }),
      !own && ngettext("This link brought %(n)s picture. Your own tray is kept.", "This link brought %(n)s pictures. Your own tray is kept.", shown.length, { n: shown.length }),
    ].filter(Boolean).join(" ");
    at("brought").hidden = !say;
    at("brought").replaceChildren(say, ...(own ? [] : [" ",
      el("button", { type: "button", class: "tool", onclick: () => { own = true; change(shown); notice([]); } }, gettext("Keep these instead")), " ",
      el("button", { type: "button", class: "tool", onclick: () => { own = true; change(mine); notice([]); } }, gettext("Show my own"))]));
  };
  const open = () => {
    const pairs = state.get(), mine = tray.picks().filter(({ key }) => known(key)).map(({ key }) => picked(key));
    const named = pairs.tray === undefined ? null : read(pairs.tray);
    const lost = (named ?? tray.picks().map(({ key }) => key)).filter((key) => !known(key));
    shown = named ? named.filter(known).map(picked) : mine;
    own = !named || !mine.length || write(shown) === write(mine);
    at("coupled").checked = pairs.coupled !== "no";
    change(shown);
    notice(lost);
  };
  addEventListener("storage", () => { if (own) { shown = tray.picks().filter(({ key }) => known(key)).map(({ key }) => picked(key)); state.set({ tray: write(shown) }); draw(); } });
  state.listen(open);
  open();
  tray.shown = () => shown;
  list.dataset.ready = "yes";
})();
