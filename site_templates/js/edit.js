// Edit mode: titles, notes, pins, what is left out, and lessons are written in the pages, kept in this browser, and taken home as
// curation.toml, from which the next build makes them part of the atlas. Off until the reader switches it on.
"use strict";
(() => {
  const { el } = Atlas;
  const ON = "atlas-edit";
  const DRAFT = `atlas-curation ${new URL(Atlas.root || "./", location.href).pathname}`;
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
  const KINDS = ["images", "clusters", "patches"];
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const line = (text) => text.replace(/\s+/g, " ").trim();

  // ---- The draft: only what differs from the atlas' own curation

  let base = { file: {}, clusters: {}, images: {} };
  let draft = null;
  const lists = () => Object.fromEntries(KINDS.map((kind) => [kind, {}]));
  const blank = () => ({ images: {}, clusters: {}, pins: lists(), exclude: lists(), lessons: {} });
  const words = (entry) => ({ title: entry?.title ?? "", note: entry?.note ?? "" });
  const lesson = (one) => ({
    title: one.title, slug: one.slug, summary: one.summary ?? "",
    stops: (one.stops ?? []).map(({ image, cluster, patch, title, text }) => ({
      ...(image ? { image } : patch ? { patch } : { cluster }), title: title ?? "", text: text ?? "",
    })),
  });
  const built = (slug) => (base.file.lessons ?? []).find((one) => one.slug === slug);
  const listed = (list, kind, id) => (base.file[list]?.[kind] ?? []).map(String).includes(String(id));

  const prune = () => {
    for (const kind of ["images", "clusters"]) {
      for (const [id, entry] of Object.entries(draft[kind])) if (same(words(base.file[kind]?.[id]), words(entry))) delete draft[kind][id];
    }
    for (const list of ["pins", "exclude"]) {
      for (const kind of KINDS) for (const [id, on] of Object.entries(draft[list][kind])) if (on === listed(list, kind, id)) delete draft[list][kind][id];
    }
    for (const [slug, one] of Object.entries(draft.lessons)) {
      const was = built(slug);
      if (one === null ? !was : was && same(lesson(was), lesson(one))) delete draft.lessons[slug];
    }
  };
  const changes = () => {
    const size = (table) => Object.keys(table).length;
    return size(draft.images) + size(draft.clusters) + size(draft.lessons)
      + ["pins", "exclude"].flatMap((list) => KINDS.map((kind) => size(draft[list][kind]))).reduce((a, b) => a + b, 0);
  };
  const keep = () => {
    prune();
    const safe = kept.set(DRAFT, changes() ? JSON.stringify(draft) : null);
    tell(safe ? "" : " This browser keeps nothing: download before you leave the page.");
  };

  const entry = (kind, id) => words(draft[kind][id] ?? base.file[kind]?.[id]);
  const chosen = (list, kind, id) => draft[list][kind][id] ?? listed(list, kind, id);
  const lessons = () => {
    const all = (base.file.lessons ?? []).map((one) => (one.slug in draft.lessons ? draft.lessons[one.slug] : one)).filter(Boolean);
    return [...all, ...Object.values(draft.lessons).filter((one) => one && !built(one.slug))].map(lesson);
  };
  const put = (one) => { draft.lessons[one.slug] = lesson(one); keep(); };
  const address = (title) => {
    const stem = title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 70).replace(/-$/, "") || "lesson";
    const taken = new Set([...lessons(), ...(base.file.lessons ?? [])].map((known) => known.slug));
    for (let k = 1; ; k++) if (!taken.has(k === 1 ? stem : `${stem}-${k}`)) return k === 1 ? stem : `${stem}-${k}`;
  };

  // ---- The file

  const LONE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g; // halves of a character, which no file may hold
  const inner = (text) => JSON.stringify(text.replace(LONE, "\ufffd")).slice(1, -1).replace(/\u007f/g, "\\u007f");
  const quoted = (text) => (text.includes("\n") ? `"""\n${text.split("\n").map(inner).join("\n")}"""` : `"${inner(text)}"`);
  const pair = (key, text) => (text.trim() ? [`${key} = ${quoted(text.trim())}`] : []);
  const array = (values) => (values.length > 3 ? `[\n${values.map((value) => `  ${value},\n`).join("")}]` : `[${values.join(", ")}]`);

  const toml = () => {
    const rows = [
      "# What an instructor added to this atlas. Written by its edit mode; may be changed by hand.",
      "# Put it beside the folder of photographs, or name it with --curation, and build the atlas again.",
    ];
    const ids = (kind) => [...new Set([...Object.keys(base.file[kind] ?? {}), ...Object.keys(draft[kind])])];
    for (const id of ids("images").sort()) {
      const { title, note } = entry("images", id);
      if (title || note) rows.push("", `[images.${id}]`, ...pair("title", title), ...pair("note", note));
    }
    const of = (list, kind) => {
      const first = (base.file[list]?.[kind] ?? []).map(String).filter((id) => chosen(list, kind, id));
      return [...first, ...Object.keys(draft[list][kind]).filter((id) => draft[list][kind][id] && !first.includes(id))];
    };
    const spoken = [...of("pins", "clusters"), ...of("exclude", "clusters"), ...lessons().flatMap((one) => one.stops.map((stop) => stop.cluster ?? ""))];
    const numbers = new Set([...ids("clusters"), ...spoken.map(String).filter(Boolean)]);
    for (const number of [...numbers].map(Number).sort((a, b) => a - b)) {
      const { title, note } = entry("clusters", number);
      const patches = base.clusters[number] ?? base.file.clusters?.[number]?.patches ?? [];
      if (!title && !note && (!patches.length || (draft.clusters[number] && !spoken.map(String).includes(String(number))))) continue;
      rows.push("", `[clusters.${number}]`, ...pair("title", title), ...pair("note", note));
      if (patches.length) rows.push(`patches = ${array(patches.map(quoted))}`);
    }
    for (const list of ["pins", "exclude"]) {
      const found = KINDS.map((kind) => [kind, of(list, kind)]).filter(([, own]) => own.length);
      if (found.length) rows.push("", `[${list}]`, ...found.map(([kind, own]) => `${kind} = ${array(kind === "clusters" ? own : own.map(quoted))}`));
    }
    for (const one of lessons()) {
      rows.push("", "[[lessons]]", ...pair("title", one.title), ...pair("slug", one.slug), ...pair("summary", one.summary));
      for (const stop of one.stops) {
        const target = stop.image ? `image = ${quoted(stop.image)}` : stop.patch ? `patch = ${quoted(stop.patch)}` : `cluster = ${stop.cluster}`;
        rows.push("", "[[lessons.stops]]", target, ...pair("title", stop.title), ...pair("text", stop.text));
      }
    }
    return `${rows.join("\n")}\n`;
  };

  // ---- What is written where

  let drawer = null;
  let status = null;
  const tell = (more = "") => {
    if (!status) return;
    const count = changes();
    status.textContent = (count ? `${count} ${count === 1 ? "change" : "changes"}, kept in this browser only.` : "No changes.") + more;
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
    const box = el("input", { type: "checkbox", onchange: () => { draft[list][kind][id] = box.checked; keep(); } });
    box.checked = chosen(list, kind, id);
    return el("label", { class: "ticked" }, box, label);
  };
  const wordsOf = (kind, id) => ["title", "note"].map((key) => field(key === "title" ? "Title" : "Note", entry(kind, id)[key], (text) => {
    draft[kind][id] = { ...entry(kind, id), [key]: text };
    keep();
  }, key === "title" ? { most: 120 } : { rows: 5 }));

  // Adds what the page shows to a lesson, old or new.
  const toLesson = (target, what) => {
    const select = el("select", { id: "edit-lesson" });
    const name = field("Title of the new lesson", "", null, { most: 120 });
    const text = field("What to see in it", "", null, { rows: 4 });
    const said = el("p", { class: "hint", role: "status" });
    const fill = (slug) => {
      select.replaceChildren(...lessons().map((one) => el("option", { value: one.slug }, one.title)), el("option", { value: "" }, "A new lesson"));
      if (slug !== undefined) select.value = slug;
      name.hidden = select.value !== "";
    };
    fill();
    select.addEventListener("change", () => { name.hidden = select.value !== ""; });
    const add = () => {
      const title = line(name.querySelector("input").value);
      if (!select.value && !title) {
        said.textContent = "Give the new lesson a title first.";
        name.querySelector("input").focus();
        return;
      }
      const one = lessons().find((known) => known.slug === select.value) ?? { title, slug: address(title), summary: "", stops: [] };
      one.stops.push({ ...target, title: "", text: text.querySelector("textarea").value });
      put(one);
      text.querySelector("textarea").value = "";
      name.querySelector("input").value = "";
      fill(one.slug);
      said.textContent = `Stop ${one.stops.length} of “${one.title}”.`;
    };
    return el("section", {}, el("h3", {}, `Add ${what} to a lesson`), el("p", { class: "asked" }, el("label", { for: "edit-lesson" }, "Lesson"), select), name, text,
      el("p", {}, el("button", { type: "button", class: "tool", onclick: add }, "Add as a stop")), said);
  };

  const shown = (stop) => {
    if (stop.image) return base.images[stop.image] ? `Plate ${base.images[stop.image]}` : `Photograph ${stop.image}`;
    return stop.patch ? `Patch ${stop.patch}` : `Cluster ${stop.cluster}`;
  };
  // Writes one lesson: its words, and its stops in their order.
  const lessonForm = (slug) => {
    const form = el("section", {});
    const find = () => lessons().find((one) => one.slug === slug);
    const change = (act) => { const one = find(); act(one); put(one); };
    const draw = (focus) => {
      const one = find();
      if (!one) return void form.replaceChildren(el("p", {}, "This lesson will be gone from the next build."));
      const move = (k, by) => { change((own) => own.stops.splice(k + by, 0, ...own.stops.splice(k, 1))); draw([k + by, by < 0 ? "earlier" : "later"]); };
      const stops = one.stops.map((stop, k) => el("fieldset", { class: "stop-form" },
        el("legend", {}, `Stop ${k + 1}: ${shown(stop)}`),
        field("Title", stop.title, (text) => change((own) => { own.stops[k].title = text; }), { most: 120 }),
        field("Text", stop.text, (text) => change((own) => { own.stops[k].text = text; }), { rows: 4 }),
        el("p", { class: "buttons" },
          el("button", { type: "button", class: "tool", dataset: { by: "earlier" }, disabled: k === 0, onclick: () => move(k, -1) }, "Earlier"),
          el("button", { type: "button", class: "tool", dataset: { by: "later" }, disabled: k === one.stops.length - 1, onclick: () => move(k, 1) }, "Later"),
          el("button", { type: "button", class: "tool", onclick: () => { change((own) => own.stops.splice(k, 1)); draw([Math.max(0, k - 1), "later"]); } }, "Remove"))));
      form.replaceChildren(
        field("Title", one.title, (text) => text && change((own) => { own.title = text; }), { most: 120 }),
        field("Summary", one.summary, (text) => change((own) => { own.summary = text; }), { rows: 3 }),
        ...stops,
        el("p", {}, twice("Delete this lesson", "Press again to delete it", () => { draft.lessons[slug] = null; keep(); draw(); })));
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
    const all = lessons();
    if (!all.length) return [el("p", {}, "No lesson yet. Open a photograph or a cluster and add it to a new one.")];
    const place = el("div");
    const select = el("select", { id: "edit-which", onchange: () => place.replaceChildren(lessonForm(select.value)) }, all.map((one) => el("option", { value: one.slug }, one.title)));
    place.append(lessonForm(all[0].slug));
    return [el("p", { class: "asked" }, el("label", { for: "edit-which" }, "Lesson"), select), place];
  };

  const { image, cluster, lesson: slug } = document.body.dataset;
  const forms = () => {
    if (image) {
      return [el("h3", {}, "This photograph"), ...wordsOf("images", image), tick("Show it first, on the home page", "pins", "images", image),
        tick("Leave it out of the atlas", "exclude", "images", image), toLesson({ image }, "this photograph")];
    }
    if (cluster) {
      return [el("h3", {}, `Cluster ${cluster}`), ...wordsOf("clusters", cluster), tick("Show it first among the clusters", "pins", "clusters", cluster),
        tick("Hide it", "exclude", "clusters", cluster), toLesson({ cluster: Number(cluster) }, "this cluster")];
    }
    if (slug) return [el("h3", {}, "This lesson"), lessonForm(slug)];
    if (document.body.classList.contains("lessons")) return [el("h3", {}, "Lessons"), ...anyLesson()];
    return [el("p", {}, "Open a photograph, a cluster or a lesson to write about it.")];
  };

  // On a cluster's page each patch can be pinned or hidden where it stands.
  const patchButtons = () => {
    for (const figure of document.querySelectorAll(".patch")) {
      const id = figure.querySelector("a[href*='#']")?.hash.slice(1);
      if (!/^[0-9a-f]{16}-\d+w\d+$/.test(id ?? "")) continue;
      const button = (label, list) => {
        const made = el("button", { type: "button", "aria-pressed": String(chosen(list, "patches", id)), "aria-label": `${label} patch ${id}`, onclick: () => {
          draft[list].patches[id] = !chosen(list, "patches", id);
          keep();
          for (const twin of document.querySelectorAll(`[data-patch-button="${list} ${id}"]`)) twin.setAttribute("aria-pressed", String(chosen(list, "patches", id)));
        }, dataset: { patchButton: `${list} ${id}` } }, label);
        return made;
      };
      figure.append(el("p", { class: "patch-buttons" }, button("Pin", "pins"), button("Hide", "exclude")));
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
    await Atlas.load("data/curation.js");
    base = window.ATLAS_CURATION;
    try { draft = { ...blank(), ...JSON.parse(kept.get(DRAFT) ?? "{}") }; } catch { draft = blank(); }
    prune();
    status = el("output", { class: "edit-status", "aria-live": "polite" });
    drawer = el("aside", { class: "drawer", id: "drawer", "aria-label": "Edit mode" },
      el("header", {}, el("h2", {}, "Edit mode"), el("button", { type: "button", class: "tool", "aria-label": "Leave edit mode", onclick: () => turn(false) }, "Leave")),
      status,
      ...forms(),
      el("div", { class: "taking" }, el("p", { class: "buttons" },
        el("button", { type: "button", class: "button", onclick: () => Atlas.download("curation.toml", toml(), "application/toml") }, "Download curation.toml"),
        twice("Discard changes", "Press again to discard", () => { draft = blank(); keep(); close(); open(); }, { dataset: { ofDraft: "" } })),
      el("p", { class: "hint" }, "The pages change with the next build: put the file beside the folder of photographs, or name it with ", el("code", {}, "--curation"), ".")));
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
    if (on) open();
    else close();
  };
  for (const button of document.querySelectorAll("[data-edit-switch]")) button.addEventListener("click", () => turn(button.getAttribute("aria-pressed") !== "true"));
  const sheet = el("link", { rel: "stylesheet", href: `${Atlas.root}css/edit.css` });
  if (document.querySelector("[data-edit-switch]") || kept.get(ON)) document.head.append(sheet);
  if (kept.get(ON) === "on") {
    press(true);
    open();
  }
})();
