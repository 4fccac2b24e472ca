// An instructor's draft: what differs from the atlas' own curation, and curation.toml made of both. Nothing here touches the page.
//
// AtlasDraft(base, kept) takes window.ATLAS_CURATION and what this browser kept of an earlier draft, and returns
//   kept()                      what is to be kept, as JSON, or null where nothing differs
//   changes()                   how many entries differ
//   entry(kind, id)             {title, note} of a photograph or a cluster; kind: "images", "clusters"
//   write(kind, id, words)      gives it other words, {title} or {note} or both
//   chosen(list, kind, id)      whether something is pinned or left out; list: "pins", "exclude"; kind also: "patches"
//   choose(list, kind, id, on)  pins it or leaves it out, or no longer
//   lessons()                   all lessons as they would be built, the atlas' own first: {title, slug, summary, stops}
//   put(lesson), remove(slug)   another state of a lesson, or a new one; takes a lesson out
//   slug(title)                 a name for the address of a new lesson, none that is taken
//   toml()                      the file
"use strict";
window.AtlasDraft = (base, kept = {}) => {
  const KINDS = ["images", "clusters", "patches"];
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const lists = () => Object.fromEntries(KINDS.map((kind) => [kind, {}]));
  const draft = { images: {}, clusters: {}, pins: lists(), exclude: lists(), lessons: {}, ...kept };
  const words = (entry) => ({ title: entry?.title ?? "", note: entry?.note ?? "" });
  const lesson = (one) => ({
    title: one.title, slug: one.slug, summary: one.summary ?? "",
    stops: (one.stops ?? []).map(({ image, cluster, patch, title, text }) => ({
      ...(image ? { image } : patch ? { patch } : { cluster }), title: title ?? "", text: text ?? "",
    })),
  });
  const built = (slug) => (base.file.lessons ?? []).find((one) => one.slug === slug);
  const listed = (list, kind, id) => (base.file[list]?.[kind] ?? []).map(String).includes(String(id));

  const prune = () => { // what is as the atlas has it is no change
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

  const entry = (kind, id) => words(draft[kind][id] ?? base.file[kind]?.[id]);
  const chosen = (list, kind, id) => draft[list][kind][id] ?? listed(list, kind, id);
  const lessons = () => {
    const all = (base.file.lessons ?? []).map((one) => (one.slug in draft.lessons ? draft.lessons[one.slug] : one)).filter(Boolean);
    return [...all, ...Object.values(draft.lessons).filter((one) => one && !built(one.slug))].map(lesson);
  };
  const changed = (act) => (...given) => {
    act(...given);
    prune();
  };
  const write = changed((kind, id, more) => { draft[kind][id] = { ...entry(kind, id), ...more }; });
  const choose = changed((list, kind, id, on) => { draft[list][kind][id] = on; });
  const put = changed((one) => { draft.lessons[one.slug] = lesson(one); });
  const remove = changed((slug) => { draft.lessons[slug] = null; });
  const slug = (title) => {
    const stem = title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 70).replace(/-$/, "") || "lesson";
    const taken = new Set([...lessons(), ...(base.file.lessons ?? [])].map((known) => known.slug));
    for (let k = 1; ; k++) if (!taken.has(k === 1 ? stem : `${stem}-${k}`)) return k === 1 ? stem : `${stem}-${k}`;
  };

  // ---- the file
  const LONE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g; // halves of a character, which no file may hold
  const inner = (text) => JSON.stringify(text.replace(LONE, "\ufffd")).slice(1, -1).replace(/\u007f/g, "\\u007f");
  const quoted = (text) => (text.includes("\n") ? `"""\n${text.split("\n").map(inner).join("\n")}"""` : `"${inner(text)}"`);
  const pair = (key, text) => (text.trim() ? [`${key} = ${quoted(text.trim())}`] : []);
  const array = (values) => (values.length > 3 ? `[\n${values.map((value) => `  ${value},\n`).join("")}]` : `[${values.join(", ")}]`);

  const toml = () => {
    const rows = [
      "# What an instructor added to this atlas in its edit mode. You may change this file by hand.",
      "# Put it next to the folder of photographs, or name it with --curation, and build the atlas again.",
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

  prune();
  return { kept: () => (changes() ? JSON.stringify(draft) : null), changes, entry, write, chosen, choose, lessons, put, remove, slug, toml };
};
