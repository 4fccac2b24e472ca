// Edit mode: an instructor writes titles, notes, pins, exclusions and lessons in the pages. This browser keeps them, and they are
// downloaded as curation.toml, from which the next build makes them part of the atlas. Off until the reader switches it on.
"use strict";
(() => {
  const { el } = Atlas;
  const ON = "atlas-edit";
  const DRAFT = `atlas-curation ${new URL(Atlas.asset("") || "./", location.href).pathname}`;
  const kept = {
    get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
    set: (key, value) => {
      try {
        if (value === null) localStorage.removeItem(key);
        else localStorage.setItem(key, value);
        return true;
      } catch { return false; }
    },
  };
  const line = (text) => text.replace(/\s+/g, " ").trim();

  let base = { clusters: {}, images: {} };
  let draft = null; // of AtlasDraft
  const keep = () => tell(kept.set(DRAFT, draft.kept()) ? "" : gettext("This browser cannot keep changes. Download the file before you leave this page."));

  // ---- What is written where

  let drawer = null;
  let status = null;
  const tell = (more = "") => {
    if (!status) return;
    const count = draft.changes();
    const said = count ? ngettext("%(n)s change, kept in this browser only.", "%(n)s changes, kept in this browser only.", count) : gettext("No changes.");
    status.textContent = [said, more].filter(Boolean).join(" ");
    for (const button of drawer.querySelectorAll("[data-of-draft]")) button.disabled = !count;
  };
  let serial = 0;
  const field = (label, value, heard, { rows = 0, most = 4000 } = {}) => {
    const id = `edit-${++serial}`;
    const control = rows ? el("textarea", { id, rows, maxlength: most }) : el("input", { id, type: "text", maxlength: most, autocomplete: "off" });
    control.value = value;
    if (heard) control.addEventListener("input", () => heard(rows ? control.value : line(control.value)));
    return el("p", { class: "asked" }, el("label", { for: id }, label), control);
  };
  const tick = (label, list, kind, id) => {
    const box = el("input", { type: "checkbox", onchange: () => { draft.choose(list, kind, id, box.checked); keep(); } });
    box.checked = draft.chosen(list, kind, id);
    return el("label", { class: "ticked" }, box, label);
  };
  const wordsOf = (kind, id) => ["title", "note"].map((key) => field(key === "title" ? gettext("Title") : gettext("Note"), draft.entry(kind, id)[key], (text) => {
    draft.write(kind, id, { [key]: text });
    keep();
  }, key === "title" ? { most: 120 } : { rows: 5 }));

  const put = (one) => { draft.put(one); keep(); };
  // Adds what the page shows to a lesson, old or new. `targets` gives the stops: of one, the reader may write the text at once; of
  // several, the lesson opens below.
  const toLesson = (targets, heading) => {
    const single = !document.body.classList.contains("tray");
    const place = el("div");
    const select = el("select", { id: "edit-lesson" });
    const name = field(gettext("Title of the new lesson"), "", null, { most: 120 });
    const text = field(gettext("What to look for"), "", null, { rows: 4 });
    const said = el("p", { class: "hint", role: "status" });
    const fill = (slug) => {
      select.replaceChildren(...draft.lessons().map((one) => el("option", { value: one.slug }, one.title)), el("option", { value: "" }, gettext("New lesson")));
      if (slug !== undefined) select.value = slug;
      name.hidden = select.value !== "";
    };
    fill();
    select.addEventListener("change", () => { name.hidden = select.value !== ""; });
    const add = () => {
      const title = line(name.querySelector("input").value);
      if (!select.value && !title) {
        said.textContent = gettext("Enter a title for the new lesson first.");
        name.querySelector("input").focus();
        return;
      }
      const one = draft.lessons().find((known) => known.slug === select.value) ?? { title, slug: draft.slug(title), summary: "", stops: [] };
      const stops = targets().map((target) => ({ ...target, title: "", text: single ? text.querySelector("textarea").value : "" }));
      if (!stops.length) {
        said.textContent = gettext("The tray is empty.");
        return;
      }
      one.stops.push(...stops);
      put(one);
      text.querySelector("textarea").value = "";
      name.querySelector("input").value = "";
      fill(one.slug);
      if (!single) place.replaceChildren(el("h3", {}, one.title), lessonForm(one.slug));
      said.textContent = single ? gettext("Added as stop %(number)s of “%(lesson)s”.", { number: one.stops.length, lesson: one.title })
        : ngettext("Added %(n)s stop to “%(lesson)s”. Write its text below.", "Added %(n)s stops to “%(lesson)s”. Write their texts below.", stops.length, { lesson: one.title });
    };
    return el("section", {}, el("h3", {}, heading), el("p", { class: "asked" }, el("label", { for: "edit-lesson" }, gettext("Lesson")), select), name, single ? text : null,
      el("p", {}, el("button", { type: "button", class: "tool", onclick: add }, single ? gettext("Add as a stop") : gettext("Add all as stops"))), said, place);
  };

  const shown = (stop) => {
    const known = (id) => base.images[id] ?? ((window.ATLAS_IMAGES?.id.indexOf(id) ?? -1) + 1 || null);
    if (stop.image) return gettext("Plate %(number)s", { number: known(stop.image) ?? stop.image });
    if (stop.patch && known(stop.patch.split("-")[0])) return gettext("Patch of plate %(number)s", { number: known(stop.patch.split("-")[0]) });
    return stop.patch ? gettext("Patch %(id)s", { id: stop.patch }) : gettext("Cluster %(number)s", { number: stop.cluster });
  };
  // The form of one lesson: its words, and its stops in their order.
  const lessonForm = (slug) => {
    const form = el("section", {});
    const find = () => draft.lessons().find((one) => one.slug === slug);
    const change = (act) => { const one = find(); act(one); put(one); };
    const draw = (focus) => {
      const one = find();
      if (!one) return void form.replaceChildren(el("p", {}, gettext("The next build will leave this lesson out.")));
      const move = (k, by) => { change((own) => own.stops.splice(k + by, 0, ...own.stops.splice(k, 1))); draw([k + by, by < 0 ? "earlier" : "later"]); };
      const stops = one.stops.map((stop, k) => el("fieldset", { class: "stop-form" },
        el("legend", {}, gettext("Stop %(number)s: %(shown)s", { number: k + 1, shown: shown(stop) })),
        field(gettext("Title"), stop.title, (text) => change((own) => { own.stops[k].title = text; }), { most: 120 }),
        field(gettext("Text"), stop.text, (text) => change((own) => { own.stops[k].text = text; }), { rows: 4 }),
        el("p", { class: "buttons" },
          el("button", { type: "button", class: "tool", dataset: { by: "earlier" }, disabled: k === 0, onclick: () => move(k, -1) }, gettext("Move up")),
          el("button", { type: "button", class: "tool", dataset: { by: "later" }, disabled: k === one.stops.length - 1, onclick: () => move(k, 1) }, gettext("Move down")),
          el("button", { type: "button", class: "tool", onclick: () => { change((own) => own.stops.splice(k, 1)); draw([Math.max(0, k - 1), "later"]); } }, gettext("Remove")))));
      form.replaceChildren(
        field(gettext("Title"), one.title, (text) => text && change((own) => { own.title = text; }), { most: 120 }),
        field(gettext("Summary"), one.summary, (text) => change((own) => { own.summary = text; }), { rows: 3 }),
        ...stops,
        el("p", {}, twice(gettext("Delete this lesson"), gettext("Click again to delete"), () => { draft.remove(slug); keep(); draw(); })));
      if (focus) {
        const own = form.querySelectorAll(".stop-form")[focus[0]];
        [...(own?.querySelectorAll(`[data-by=${focus[1]}], button`) ?? [])].find((button) => !button.disabled)?.focus();
      }
    };
    draw();
    return form;
  };
  // A button that asks once more before it acts.
  const twice = (label, again, act, extra = {}) => {
    const button = el("button", { type: "button", class: "tool", ...extra, onclick: () => {
      if (button.dataset.sure === undefined) {
        button.dataset.sure = "";
        button.textContent = again;
      } else {
        calm();
        act();
      }
    } }, label);
    const calm = () => { delete button.dataset.sure; button.textContent = label; };
    button.addEventListener("blur", calm);
    return button;
  };
  const anyLesson = () => {
    const all = draft.lessons();
    if (!all.length) return [el("p", {}, gettext("There are no lessons yet. Open a photograph or a cluster to start one."))];
    const place = el("div");
    const select = el("select", { id: "edit-which", onchange: () => place.replaceChildren(lessonForm(select.value)) }, all.map((one) => el("option", { value: one.slug }, one.title)));
    place.append(lessonForm(all[0].slug));
    return [el("p", { class: "asked" }, el("label", { for: "edit-which" }, gettext("Lesson")), select), place];
  };

  const { image, cluster, lesson: slug } = document.body.dataset;
  const forms = () => {
    if (image) {
      return [el("h3", {}, gettext("This photograph")), ...wordsOf("images", image), tick(gettext("Feature on the home page"), "pins", "images", image),
        tick(gettext("Leave out of the atlas"), "exclude", "images", image), toLesson(() => [{ image }], gettext("Add this photograph to a lesson"))];
    }
    if (cluster) {
      return [el("h3", {}, gettext("Cluster %(number)s", { number: cluster })), ...wordsOf("clusters", cluster), tick(gettext("Show first among the clusters"), "pins", "clusters", cluster),
        tick(gettext("Leave out of the atlas"), "exclude", "clusters", cluster), toLesson(() => [{ cluster: Number(cluster) }], gettext("Add this cluster to a lesson"))];
    }
    if (document.body.classList.contains("tray")) {
      return [toLesson(() => AtlasTray.shown().map(({ key }) => (AtlasPicks.isPatch(key) ? { patch: key } : { image: key })), gettext("Make a lesson of these"))];
    }
    if (slug) return [el("h3", {}, gettext("This lesson")), lessonForm(slug)];
    if (document.body.classList.contains("lessons")) return [el("h3", {}, gettext("Lessons")), ...anyLesson()];
    return [el("p", {}, gettext("Open a photograph, a cluster or a lesson to write about it."))];
  };

  // On a cluster's page each patch has its own buttons.
  const patchButtons = () => {
    for (const figure of document.querySelectorAll(".patch")) {
      const id = figure.querySelector("a[href*='#']")?.hash.slice(1);
      if (!/^[0-9a-f]{16}-\d+w\d+$/.test(id ?? "")) continue;
      const button = (label, title, list) => {
        const made = el("button", { type: "button", "aria-pressed": String(draft.chosen(list, "patches", id)), "aria-label": title, onclick: () => {
          draft.choose(list, "patches", id, !draft.chosen(list, "patches", id));
          keep();
          for (const twin of document.querySelectorAll(`[data-patch-button="${list} ${id}"]`)) twin.setAttribute("aria-pressed", String(draft.chosen(list, "patches", id)));
        }, dataset: { patchButton: `${list} ${id}` } }, label);
        return made;
      };
      figure.append(el("p", { class: "patch-buttons" }, button(gettext("Pin"), gettext("Pin patch %(id)s", { id }), "pins"), button(gettext("Hide"), gettext("Hide patch %(id)s", { id }), "exclude")));
    }
  };

  // ---- The drawer

  const close = () => {
    drawer?.remove();
    drawer = status = null;
    for (const one of document.querySelectorAll(".patch-buttons")) one.remove();
    document.documentElement.classList.remove("editing");
  };
  const open = async () => {
    if (drawer) return;
    await Promise.all([Atlas.load("data/curation.js"), Atlas.load("js/draft.js")]);
    base = window.ATLAS_CURATION;
    try { draft = AtlasDraft(base, JSON.parse(kept.get(DRAFT) ?? "{}")); } catch { draft = AtlasDraft(base); }
    status = el("output", { class: "edit-status", "aria-live": "polite" });
    drawer = el("aside", { class: "drawer", id: "drawer", "aria-label": gettext("Edit mode") },
      el("header", {}, el("h2", {}, gettext("Edit mode")), el("button", { type: "button", class: "tool", "aria-label": gettext("Leave edit mode"), onclick: () => turn(false) }, gettext("Leave"))),
      status,
      ...forms(),
      el("div", { class: "taking" }, el("p", { class: "buttons" },
        el("button", { type: "button", class: "button", onclick: () => Atlas.download("curation.toml", draft.toml(), "application/toml") }, gettext("Download %(file)s", { file: "curation.toml" })),
        twice(gettext("Discard changes"), gettext("Click again to discard"), () => { draft = AtlasDraft(base); keep(); close(); open(); }, { dataset: { ofDraft: "" } })),
      el("p", { class: "hint" }, Atlas.within(gettext("Your changes appear after the next build. Put the file next to the folder of photographs, or name it with %(option)s.", { option: Atlas.HERE }), el("code", {}, "--curation")))));
    document.querySelector("footer").before(drawer);
    document.documentElement.classList.add("editing");
    patchButtons();
    tell();
  };
  const press = (on) => {
    for (const button of document.querySelectorAll("[data-edit-switch]")) button.setAttribute("aria-pressed", String(on));
  };
  const turn = (on) => {
    kept.set(ON, on ? "on" : null);
    press(on);
    return on ? open() : close();
  };
  for (const button of document.querySelectorAll("[data-edit-open]")) {
    button.addEventListener("click", async () => {
      await turn(true);
      drawer.querySelector("select, input").focus();
    });
  }
  for (const button of document.querySelectorAll("[data-edit-switch]")) button.addEventListener("click", () => turn(button.getAttribute("aria-pressed") !== "true"));
  const sheet = el("link", { rel: "stylesheet", href: Atlas.asset("css/edit.css") });
  if (document.querySelector("[data-edit-switch], [data-edit-open]") || kept.get(ON)) document.head.append(sheet);
  if (kept.get(ON) === "on") {
    press(true);
    open();
  }
})();
