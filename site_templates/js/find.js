// The finder: photographs by grade, score, difference, eye, cluster, trust and what words mean, all at once.
"use strict";
Atlas.images().then((images) => {
  const { number, count, state } = Atlas;
  const { MOST } = window.AtlasPicks;
  const byId = (id) => document.getElementById(id);
  const form = byId("wishes");
  const fields = form.elements;
  const host = byId("found");
  const total = images.id.length;
  const sieve = AtlasSieve(images);
  const meaning = AtlasMeaning(images, window.ATLAS_MEANINGS ?? [], { drawn: "synthetic" in document.documentElement.dataset, graded: Atlas.graded, count });
  const sort = AtlasOrder(images);
  const plateOf = new Map(images.id.map((id, row) => [id, row]));
  const sets = ["grades", "trusts", "qualities"];
  const plain = ["text", "low", "high", "differ", "eye", "cluster", "place", "order"];
  const ticks = ["unsure", "noted", "marks"];
  const boxes = (name) => [...form.querySelectorAll(`[name=${name}]`)];

  const read = (address) => {
    const pairs = { ...address, differ: AtlasDiffer(address, images.scale.flagged) };
    for (const name of sets) {
      const wanted = pairs[name]?.split(",");
      for (const box of boxes(name)) box.checked = !wanted || wanted.includes(box.value);
    }
    for (const box of boxes("lesions")) box.checked = (pairs.lesions ?? "").split(",").includes(box.value);
    for (const name of plain.filter((one) => fields[one])) {
      const field = fields[name];
      field.value = pairs[name] ?? "";
      if (field.options && field.selectedIndex < 0) field.value = "";
    }
    for (const name of ticks.filter((one) => fields[one])) fields[name].checked = pairs[name] === "1";
  };
  const chosen = (name) => {
    const all = boxes(name);
    return all.every((box) => box.checked) ? null : all.filter((box) => box.checked).map((box) => box.value);
  };
  const kinds = () => boxes("lesions").filter((box) => box.checked).map((box) => box.value);
  const write = () => state.set({
    from: null, to: null, flagged: null, // of earlier atlases
    lesions: kinds().join(","),
    ...Object.fromEntries(sets.map((name) => [name, chosen(name) && (chosen(name).join(",") || "-")])),
    ...Object.fromEntries(plain.filter((name) => fields[name]).map((name) => [name, fields[name].value.trim()])),
    ...Object.fromEntries(ticks.filter((name) => fields[name]).map((name) => [name, fields[name].checked ? 1 : null])),
  });
  const value = (name) => (fields[name] && fields[name].value !== "" ? Number(fields[name].value) : null);
  const filters = () => ({
    grades: chosen("grades") && new Set(chosen("grades")), trusts: chosen("trusts") && new Set(chosen("trusts")), qualities: chosen("qualities") && new Set(chosen("qualities")),
    eyes: fields.eye?.value ? new Set([fields.eye.value]) : null, cluster: value("cluster"),
    low: value("low"), high: value("high"), differ: value("differ"),
    lesions: new Set(kinds()), place: fields.place?.value ? fields.place.selectedIndex - 1 : null, unsure: fields.unsure?.checked, noted: fields.noted?.checked,
  });

  let settled = false;
  const grid = Atlas.grid(host, images, ({ place, row }) => {
    if (settled) state.set({ at: row !== null && place > 0 ? images.id[row] : null });
  });
  const shown = byId("shown");
  const spread = byId("spread");

  // What the words were taken to mean, with the number of photographs of each; what only the glossary explains; what is spelled almost so.
  const meant = byId("meant"), near = byId("near"), terms = byId("terms");
  const tell = (result) => {
    meant.hidden = !result?.senses.length;
    meant.replaceChildren(...(result?.senses ?? []).slice(0, 6).flatMap(({ sense, count: n }, k) => [k ? " · " : "", Atlas.el("b", {}, named(sense)), " ",
      ngettext("in %(n)s photograph", "in %(n)s photographs", n, { n: count(n) })]));
    const like = result ? result.unknown.flatMap((phrase) => meaning.near(phrase)).slice(0, 4) : [];
    near.hidden = !like.length;
    near.replaceChildren(gettext("Did you mean:"), ...like.map(({ text }) => Atlas.el("button", { type: "button", onclick: () => {
      fields.text.value = text;
      changed();
      fields.text.focus();
    } }, text)));
    terms.hidden = !result?.terms.length;
    terms.replaceChildren(...(result?.terms ?? []).slice(0, 4).flatMap(({ key, name }, k) => [k ? " " : gettext("No photograph is marked with this, but the glossary explains it:"), " ",
      Atlas.el("a", { href: `${Atlas.page("glossary.html")}#${key.slice(5)}` }, name)]));
  };
  const named = ({ key, name }) => {
    if (key.startsWith("lesion:")) return gettext("%(kind)s found by the network", { kind: Atlas.sentence(name) });
    if (key.startsWith("marked:")) return "synthetic" in document.documentElement.dataset ? gettext("%(kind)s drawn", { kind: Atlas.sentence(name) }) : gettext("%(kind)s marked by a person", { kind: Atlas.sentence(name) });
    return key.startsWith("grade:") ? gettext("Grade %(grade)s", { grade: name }) : name;
  };

  const apply = (at = null) => {
    const result = meaning.search(fields.text.value);
    const { rows, counts } = sieve({ ...filters(), mask: result?.mask });
    tell(result);
    grid.explain(result && meaning.explains(rows, result) ? (row) => meaning.why(row, result) : null);
    sort(rows, fields.order.value, kinds());
    for (const tally of form.querySelectorAll("[data-count]")) tally.textContent = count(counts.grades.get(tally.dataset.count) ?? 0);
    for (const tally of form.querySelectorAll("[data-lesion]")) tally.textContent = count(counts.lesions.get(tally.dataset.lesion) ?? 0);
    grid.letter(Boolean(fields.marks?.checked));
    for (const tally of form.querySelectorAll("[data-trust]")) tally.textContent = count(counts.trusts.get(tally.dataset.trust) ?? 0);
    for (const tally of form.querySelectorAll("[data-quality]")) tally.textContent = count(counts.qualities?.get(tally.dataset.quality) ?? 0);
    for (const option of fields.cluster?.options ?? []) {
      if (option.value) option.textContent = `${option.dataset.label} (${count(counts.cluster.get(Number(option.value)) ?? 0)})`;
    }
    for (const option of fields.eye?.options ?? []) {
      if (option.value) option.textContent = `${option.dataset.label ??= option.textContent} (${count(counts.eyes.get(option.value) ?? 0)})`;
    }
    for (const option of fields.differ?.options ?? []) {
      if (option.value) option.textContent = `${option.dataset.label} (${count(counts.differ.get(Number(option.value)) ?? 0)})`;
    }
    const unsure = form.querySelector("[data-unsure]");
    if (unsure) unsure.textContent = count(counts.unsure);
    form.querySelector("[data-noted]").textContent = count(counts.noted);
    shown.replaceChildren(...Atlas.within(rows.length === total
      ? ngettext("%(n)s photograph", "%(n)s photographs", total, { n: Atlas.HERE })
      : ngettext("%(shown)s of %(n)s photograph", "%(shown)s of %(n)s photographs", total, { shown: Atlas.HERE, n: count(total) }), Atlas.el("b", {}, count(rows.length))));
    const scores = rows.map((row) => images.severity[row]);
    const low = scores.reduce((a, b) => Math.min(a, b), Infinity);
    const high = scores.reduce((a, b) => Math.max(a, b), -Infinity);
    spread.textContent = rows.length > 1 ? gettext("scores %(low)s to %(high)s", { low: number(low), high: number(high) })
      : rows.length ? gettext("score %(score)s", { score: number(low) }) : "";
    byId("empty").hidden = rows.length > 0;
    host.hidden = !rows.length;
    byId("save").disabled = !rows.length;
    const beside = byId("beside"); // the tray: as many as it holds
    beside.hidden = rows.length < 2;
    beside.href = Atlas.page(`tray.html#tray=${rows.slice(0, MOST).map((row) => images.id[row]).join(",")}`);
    beside.textContent = rows.length > MOST ? gettext("The first %(n)s side by side", { n: MOST }) : gettext("Side by side");
    grid.show(rows, Math.max(0, at === null ? 0 : rows.indexOf(at)));
  };

  const changed = () => {
    write();
    apply();
  };
  form.addEventListener("input", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    read({});
    changed();
  });

  byId("save").addEventListener("click", () => {
    const columns = ["plate", "image_id", "severity", "read_as", "grade", "difference", "flagged", "not_sure", ...(images.eye ? ["eye"] : []), "clusters", "trust", ...(images.quality ? ["quality"] : []), "note", ...images.lesions.map((kind) => `count_${kind.key}`)];
    const rows = grid.list.map((row) => [
      row + 1, images.id[row], images.severity[row], images.read[row], images.grade[row], images.difference[row], images.flagged[row], images.unsure[row],
      ...(images.eye ? [images.eye[row]] : []), images.clusters[row].join(" "), images.trust[row], ...(images.quality ? [images.quality[row]] : []), images.note[row], ...images.lesions.map((kind) => kind.counts[row]), ...(images.name ? [images.name[row]] : []),
    ]);
    Atlas.csv("atlas-photographs.csv", [[...columns, ...(images.name ? ["name"] : [])], ...rows]);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target === fields.text && grid.list.length) {
      event.preventDefault();
      grid.go(grid.place, { focus: true });
    } else if (event.key === "/" && !Atlas.typing(event)) {
      event.preventDefault();
      fields.text.focus();
      fields.text.select();
    }
  });

  const open = (pairs) => {
    read(pairs);
    apply(plateOf.get(pairs.at) ?? null);
  };
  byId("noted").hidden = !images.note.some((note) => note !== "");
  open(state.get());
  settled = true;
  state.listen(open);
  host.dataset.ready = "yes";
}, (error) => {
  document.getElementById("shown").value = error.message;
});
