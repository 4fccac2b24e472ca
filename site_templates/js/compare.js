// Two photographs side by side: pickers, one zoom for both, heat maps, and the difference in words. The address holds the pair.
"use strict";
(async () => {
  const { el, number, fine, percent, count, apart, grade: gradeOf, plate, page, state, load, images, picture, typing } = window.Atlas;
  const at = (id) => document.getElementById(id);
  const bar = at("bar"), difference = at("difference");
  let data;
  try {
    data = await images();
  } catch (fault) {
    difference.textContent = fault.message;
    return;
  }
  const plateOf = new Map(data.id.map((id, k) => [id, k]));
  const stageOf = new Map(data.grades.map((stage) => [stage.number, stage]));
  const named = (value) => gradeOf(stageOf.get(value));
  const shown = { a: null, b: null }; // places in the atlas' order, from mild to severe

  const sides = Object.fromEntries([...document.querySelectorAll(".side")].map((section) => {
    const find = (selector) => section.querySelector(selector);
    find(".layer").prepend(el("img", { class: "photograph", alt: "", width: 1024, height: 1024 }));
    return [section.dataset.side, {
      find, section, photograph: find(".photograph"), overlay: find(".overlay"), form: find(".pick"), fault: find(".fault"), viewer: window.AtlasViewer.attach(find(".plate")),
    }];
  }));

  // ---- one zoom for both --------------------------------------------------------------------------------------------------------
  let part = null;
  const couple = () => {
    part?.();
    part = at("coupled").checked ? sides.a.viewer.couple(sides.b.viewer) : null;
  };
  at("coupled").addEventListener("change", () => {
    couple();
    state.set({ coupled: at("coupled").checked ? null : "no" });
  });

  // ---- heat maps ----------------------------------------------------------------------------------------------------------------
  const method = () => bar.elements.map?.value ?? "none";
  const heat = async (side) => {
    const { overlay, fault } = sides[side];
    const k = shown[side], wanted = method();
    if (at("legend")) at("legend").hidden = wanted === "none";
    if (wanted === "none") {
      overlay.hidden = true;
      return;
    }
    const meant = () => shown[side] === k && method() === wanted; // else the reader went on meanwhile
    try {
      await load(`cells/${data.id[k]}.js`);
      if (!meant()) return;
      const cells = window.ATLAS_CELLS[data.id[k]];
      const limit = await window.AtlasOverlay.draw(overlay, cells, { method: wanted });
      if (!meant()) return;
      at("limit").value = fine(limit);
      overlay.hidden = false;
    } catch (error) {
      if (!meant()) return;
      overlay.hidden = true;
      fault.textContent = error.message;
    }
  };
  // ---- lesions found by the net -------------------------------------------------------------------------------------------------
  const outline = async (side) => {
    const { find, fault } = sides[side], box = at("lesions"), k = shown[side], lettered = find(".lettered");
    if (!box) return;
    find("svg.found")?.remove(); // they are another photograph's until its own are drawn
    lettered.hidden = at("lesions-trust").hidden = !box.checked;
    lettered.textContent = "";
    if (!box.checked || k === null) return;
    try {
      await load(`cells/${data.id[k]}.js`);
      if (shown[side] !== k || !box.checked || find("svg.found")) return; // the reader went on meanwhile
      const cells = window.ATLAS_CELLS[data.id[k]];
      find(".layer").append(...[window.AtlasOverlay.found(cells)].filter(Boolean));
      lettered.replaceChildren(window.AtlasOverlay.key(cells) ?? (data.looked[k] ? gettext("The network found no lesions in this photograph.") : gettext("The network did not look for lesions in this photograph.")));
    } catch (error) {
      if (shown[side] === k) fault.textContent = error.message;
    }
  };
  const outlines = () => Object.keys(sides).forEach(outline);
  at("lesions")?.addEventListener("change", () => {
    outlines();
    state.set({ lesions: at("lesions").checked ? 1 : null });
  });

  const strength = () => {
    if (!at("opacity")) return;
    for (const { overlay } of Object.values(sides)) overlay.style.opacity = at("opacity").value / 100;
    at("strength").value = percent(at("opacity").value / 100);
  };
  at("opacity")?.addEventListener("input", strength);
  const heats = () => Object.keys(sides).forEach(heat);
  for (const choice of bar.querySelectorAll("[name=map]")) {
    choice.addEventListener("change", () => {
      heats();
      state.set({ map: method() === "none" ? null : method() });
    });
  }

  // ---- the difference in words --------------------------------------------------------------------------------------------------
  const told = () => {
    const { a, b } = shown;
    if (a === b) return gettext("Both sides show the same photograph.");
    const gap = apart(data.severity[b], data.severity[a]);
    const scores = { left: number(data.severity[a]), right: number(data.severity[b]), gap: number(Math.abs(gap)) };
    const between = Math.abs(a - b) - 1;
    return [
      gap === 0 ? gettext("Both photographs score %(left)s.", scores)
        : gap > 0 ? gettext("The photograph on the right scores %(gap)s grades higher (%(right)s) than the one on the left (%(left)s).", scores)
          : gettext("The photograph on the right scores %(gap)s grades lower (%(right)s) than the one on the left (%(left)s).", scores),
      between ? ngettext("%(n)s photograph lies between them on the strip.", "%(n)s photographs lie between them on the strip.", between, { n: count(between) })
        : gettext("They are next to each other on the strip."),
      graded(data.grade[a], data.grade[b], gap),
    ].join(" ");
  };
  const graded = (left, right, gap) => {
    if (left === null && right === null) return gettext("Neither has a grade.");
    if (right === null) return gettext("Only the photograph on the left has a grade.");
    if (left === null) return gettext("Only the photograph on the right has a grade.");
    if (left === right) return gettext("Both have grade %(grade)s.", { grade: named(left) });
    const values = { left: named(left), right: named(right) };
    if (gap === 0) return ngettext("Grades: %(left)s on the left, %(right)s on the right. They differ by %(n)s grade.", "Grades: %(left)s on the left, %(right)s on the right. They differ by %(n)s grades.", Math.abs(right - left), values);
    return Math.sign(right - left) === Math.sign(gap)
      ? ngettext("Grades: %(left)s on the left, %(right)s on the right. They differ by %(n)s grade, in the same order as the scores.", "Grades: %(left)s on the left, %(right)s on the right. They differ by %(n)s grades, in the same order as the scores.", Math.abs(right - left), values)
      : ngettext("Grades: %(left)s on the left, %(right)s on the right. They differ by %(n)s grade, in the opposite order to the scores.", "Grades: %(left)s on the left, %(right)s on the right. They differ by %(n)s grades, in the opposite order to the scores.", Math.abs(right - left), values);
  };

  // ---- showing a photograph ----------------------------------------------------------------------------------------------------------
  const show = (side, k) => {
    const { find, photograph, overlay, fault, form, section, viewer } = sides[side];
    const id = data.id[k], grade = data.grade[k], stage = grade === null ? null : stageOf.get(grade);
    const moved = shown[side] !== k;
    shown[side] = k;
    fault.textContent = "";
    find(".what").textContent = gettext("plate %(number)s of %(total)s", { number: count(k + 1), total: count(data.id.length) });
    if (moved) {
      viewer.show(picture(id, data.finer[k]));
      overlay.hidden = true; // it is another photograph's map until its own is drawn
    }
    photograph.alt = plate(k, data.severity[k], data.read[k], stage);
    find("figcaption").textContent = [data.name?.[k], data.eyes?.[data.eye[k]], data.note[k]].filter(Boolean).join(". ");
    find(".score").replaceChildren(number(data.severity[k]), el("small", {}, " ", gettext("of %(highest)s", { highest: data.scale.highest })));
    find(".read").replaceChildren(String(data.read[k]), el("small", {}, " ", stageOf.get(data.read[k]).name));
    find(".grade").replaceChildren(...(stage ? [String(grade), el("small", {}, el("i", { class: "dot", style: `background:${stage.colour};margin-left:.5em`, "aria-hidden": "true" }), stage.name)] : ["–", el("small", {}, " ", gettext("not graded"))]));
    const badge = find(".trusted-as");
    if (badge) badge.textContent = data.trusts[data.trust[k]] ?? "–";
    const link = find(".report-link");
    link.href = page(`images/${id}.html`);
    link.textContent = gettext("Report on plate %(number)s", { number: count(k + 1) });
    form.querySelector("[data-step='-1']").disabled = k === 0;
    form.querySelector("[data-step='1']").disabled = k === data.id.length - 1;
    section.dataset.id = id;
    Object.assign(find(".plate").dataset, { plate: k + 1, pick: id });
    if (moved) {
      heat(side);
      outline(side);
    }
    if (shown.a !== null && shown.b !== null) difference.textContent = told();
  };
  const choose = (side, k) => {
    show(side, k);
    state.set({ [side]: data.id[k] });
  };

  // A photograph's number, its id or the beginning of it, or a file name where the atlas shows them.
  const sought = (text) => {
    const wanted = text.trim().toLowerCase();
    if (plateOf.has(wanted)) return plateOf.get(wanted);
    if (/^\d{1,9}$/.test(wanted) && Number(wanted) >= 1 && Number(wanted) <= data.id.length) return Number(wanted) - 1;
    if (wanted.length < 3) return null;
    const found = data.id.findIndex((id, k) => id.startsWith(wanted) || data.name?.[k]?.toLowerCase().includes(wanted));
    return found < 0 ? null : found;
  };
  const step = (side, way) => {
    const k = shown[side] + way;
    if (k >= 0 && k < data.id.length) choose(side, k);
  };
  const random = (side) => {
    const of = sides[side].form.elements.of.value;
    const pool = data.id.map((_, k) => k).filter((k) => k !== shown[side] && (of === "" || data.grade[k] === Number(of)));
    if (pool.length) choose(side, pool[Math.floor(Math.random() * pool.length)]);
    else sides[side].fault.textContent = of === "" ? gettext("There is no other photograph.") : gettext("There is no other photograph of this grade.");
  };
  for (const [side, { form, fault }] of Object.entries(sides)) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const k = sought(form.elements.wanted.value);
      if (k === null) {
        fault.textContent = gettext("No plate matches “%(text)s”. Enter a number from 1 to %(total)s, or an id.", { text: form.elements.wanted.value.trim(), total: count(data.id.length) });
      } else choose(side, k);
    });
    for (const button of form.querySelectorAll("[data-step]")) button.addEventListener("click", () => step(side, Number(button.dataset.step)));
    form.querySelector("[data-random]").addEventListener("click", () => random(side));
  }
  bar.addEventListener("submit", (event) => event.preventDefault());
  const swap = () => {
    const { a, b } = shown;
    show("a", b);
    show("b", a);
    state.set({ a: data.id[b], b: data.id[a] });
  };
  at("swap").addEventListener("click", swap);

  document.addEventListener("keydown", (event) => {
    if (typing(event) || event.defaultPrevented || event.target.closest?.("select")) return;
    const key = event.key.toLowerCase();
    if (key === "a" || key === "b") step(key, event.shiftKey ? -1 : 1);
    else if (event.shiftKey) return;
    else if (key === "c") at("coupled").click();
    else if (key === "x") swap();
    else if (key === "l" && at("lesions")) at("lesions").click();
    else if (key === "m" && bar.elements.map) {
      const choices = [...bar.elements.map];
      choices[(choices.findIndex((choice) => choice.checked) + 1) % choices.length].click();
    } else return;
    event.preventDefault();
  });

  // ---- the address --------------------------------------------------------------------------------------------------------------
  // Where one side is not given: the photograph whose score is closest to one grade above the other, or below where there is none.
  const beside = (k) => {
    const way = data.severity[k] + 1 <= data.severity.at(-1) ? 1 : -1;
    const far = (other) => (other === k ? Infinity : Math.abs(data.severity[other] - data.severity[k] - way));
    return data.id.reduce((best, _, other) => (far(other) < far(best) ? other : best), k);
  };
  const open = () => {
    const wanted = state.get();
    const known = (side) => (plateOf.has(wanted[side]) ? plateOf.get(wanted[side]) : null);
    const b = known("b");
    const a = known("a") ?? (b === null ? Math.floor((data.id.length - 1) / 4) : beside(b));
    at("coupled").checked = wanted.coupled !== "no";
    const choice = [...bar.querySelectorAll("[name=map]")].find((one) => one.value === (wanted.map ?? "none"));
    if (choice) choice.checked = true;
    if (at("lesions")) at("lesions").checked = wanted.lesions === "1";
    show("a", a);
    show("b", b ?? beside(a));
    state.set({ a: data.id[shown.a], b: data.id[shown.b] });
    for (const side of ["a", "b"]) {
      if (wanted[side] && !plateOf.has(wanted[side])) sides[side].fault.textContent = gettext("This link names a photograph that is not in this atlas.");
    }
    couple();
    heats();
    outlines();
  };
  strength();
  state.listen(open);
  open();
  at("compare").dataset.ready = "yes";
})();
