// The quiz: its address says which photographs are asked, this tab keeps how they were answered, and nothing is sent. What is
// known of a photograph is opened only once it is revealed; see deck.js for how far it is hidden until then.
"use strict";
(() => {
  const { el, number, count, state, load, picture, csv, typing } = window.Atlas;
  const deck = window.ATLAS_QUIZ;
  const rules = window.AtlasDeck(deck);
  const at = (id) => document.getElementById(id);
  const quiz = at("quiz"), heading = at("heading"), ask = at("ask"), grading = at("grading"), setup = at("setup");
  const stageOf = new Map(deck.stages.map((stage) => [stage.number, stage]));
  const named = (grade) => `${grade} ${stageOf.get(grade).name}`;
  const grades = (value) => `${value} ${value === 1 ? "grade" : "grades"}`;
  const page = (path) => window.Atlas.root + path;

  let session = null; // {wanted, asked: places in the deck, given: [{grade, mark}], at, revealed}
  let mark = null; // {x, y, r} in shares of the plate

  // ---- what this tab keeps ------------------------------------------------------------------------------------------------------
  const name = (wanted) => `atlas-quiz ${deck.deck} ${wanted.seed} ${wanted.n} ${wanted.stages.join(",")}`;
  const keep = () => {
    const { wanted, given, at: now } = session;
    try { sessionStorage.setItem(name(wanted), JSON.stringify({ given, at: now })); } catch { /* a private window: answers last for this page */ }
  };
  const sound = (one) => one && stageOf.has(one.grade) && (one.mark === null || ["x", "y", "r"].every((key) => Number.isFinite(one.mark?.[key])));
  const kept = (wanted, asked) => {
    try {
      const { given, at: now } = JSON.parse(sessionStorage.getItem(name(wanted)));
      if (Array.isArray(given) && given.length <= asked.length && given.every(sound) && now >= 0 && now <= given.length) return { given, at: now };
    } catch { /* nothing kept, or nothing that can be read: begin */ }
    return { given: [], at: 0 };
  };

  const part = (which) => {
    quiz.dataset.part = which;
    window.scrollTo(0, 0);
  };

  // ---- begin --------------------------------------------------------------------------------------------------------------------
  const asks = () => {
    const form = new FormData(setup);
    return rules.wanted({ seed: String(form.get("seed")).trim(), n: form.get("n"), stages: form.getAll("stage").join(",") });
  };
  const paper = () => { at("paper").href = page(`quiz-print.html#${new URLSearchParams(Object.entries(rules.address(asks())).filter(([, value]) => value !== null))}`); };
  const begin = () => {
    session = null;
    heading.textContent = "Grade what you see";
    at("kicker").textContent = "Quiz";
    if (!setup.elements.seed.value) setup.elements.seed.value = String(1000 + Math.floor(Math.random() * 9000));
    paper();
    part("start");
  };
  setup.addEventListener("input", () => {
    const boxes = [...setup.querySelectorAll("[name=stage]")];
    boxes[0]?.setCustomValidity(boxes.some((box) => box.checked) ? "" : "Choose at least one stage.");
    setup.elements.n.max = deck.stages.reduce((sum, stage) => sum + (boxes.some((box) => box.checked && Number(box.value) === stage.number) ? stage.count : 0), 0) || 1;
    paper();
  });
  setup.addEventListener("submit", (event) => {
    event.preventDefault();
    state.set(rules.address(asks()));
    open();
  });

  // From the address: the questions, as far as this tab has answered them.
  const open = () => {
    const address = state.get();
    if (!address.seed) {
      begin();
      return;
    }
    const wanted = rules.wanted(address);
    const asked = rules.session(wanted);
    session = { wanted, asked, ...kept(wanted, asked) };
    if (session.at >= asked.length) finish();
    else question();
  };

  // ---- ask ----------------------------------------------------------------------------------------------------------------------
  const figure = at("plate"), mat = figure.querySelector(".mat"), layer = mat.querySelector(".layer");
  layer.prepend(el("img", { class: "photograph", id: "photograph", alt: gettext("The photograph to be graded"), width: 1024, height: 1024 }));
  const circle = at("mark");
  const SMALLEST = 0.02, LARGEST = 0.12, USUAL = 0.05; // radius of a mark: larger ones would hit by chance
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  const setMark = (wanted) => {
    mark = wanted && { x: clamp(wanted.x, 0, 1), y: clamp(wanted.y, 0, 1), r: clamp(wanted.r, SMALLEST, LARGEST) };
    circle.toggleAttribute("hidden", !mark);
    if (mark) {
      for (const ring of circle.children) {
        for (const [key, value] of [["cx", mark.x], ["cy", mark.y], ["r", mark.r]]) ring.setAttribute(key, (100 * value).toFixed(2));
      }
    }
    at("unmark").disabled = !mark;
    at("smaller").disabled = !mark || mark.r <= SMALLEST;
    at("larger").disabled = !mark || mark.r >= LARGEST;
    at("marked").textContent = mark ? `Marked: ${where(mark)}. Press elsewhere to move it.` : "Nothing is marked. A healthy eye may have nothing to mark.";
  };
  const where = ({ x, y }) => {
    const row = y < 0.4 ? "upper" : y > 0.6 ? "lower" : "", column = x < 0.4 ? "left" : x > 0.6 ? "right" : "";
    return row || column ? `${[row, column].filter(Boolean).join(" ")} part of the plate` : "middle of the plate";
  };
  const size = (factor) => { if (mark) setMark({ ...mark, r: mark.r * factor }); };
  const answered = () => session !== null && session.given.length > session.at;

  // A press marks; a drag draws the mark where the whole plate is shown, moves the mark where it begins on it, and else the plate.
  let drawing = null;
  layer.addEventListener("pointerdown", (event) => {
    if (answered() || event.button !== 0 || !event.isPrimary) return;
    const place = viewer.at(event);
    const on = mark && Math.hypot(place.x - mark.x, place.y - mark.y) <= mark.r;
    drawing = { id: event.pointerId, start: place, from: { x: event.clientX, y: event.clientY }, grab: on && { x: mark.x - place.x, y: mark.y - place.y }, moved: false };
    viewer.hold(on || viewer.view().scale === 1);
  });
  mat.addEventListener("pointermove", (event) => {
    if (!drawing || event.pointerId !== drawing.id) return;
    if (!drawing.moved && Math.hypot(event.clientX - drawing.from.x, event.clientY - drawing.from.y) < 5) return;
    if (!drawing.moved) {
      drawing.moved = true;
      if (mat.classList.contains("held")) mat.setPointerCapture(event.pointerId);
    }
    if (!mat.classList.contains("held")) return; // the plate moves instead
    const place = viewer.at(event);
    if (drawing.grab) setMark({ ...mark, x: place.x + drawing.grab.x, y: place.y + drawing.grab.y });
    else setMark({ x: (drawing.start.x + place.x) / 2, y: (drawing.start.y + place.y) / 2, r: Math.hypot(place.x - drawing.start.x, place.y - drawing.start.y) / 2 });
  });
  const lift = (event, done) => {
    if (!drawing || event.pointerId !== drawing.id) return;
    if (done && !drawing.moved) setMark({ ...drawing.start, r: mark?.r ?? USUAL });
    drawing = null;
    viewer.hold(false);
  };
  addEventListener("pointerup", (event) => lift(event, true));
  addEventListener("pointercancel", (event) => lift(event, false));

  mat.addEventListener("keydown", (event) => {
    if (answered() || typing(event) || event.target !== mat) return;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const { x, y, scale } = viewer.view();
    if (way && !event.shiftKey) {
      const far = 0.02 / scale;
      setMark(mark ? { ...mark, x: mark.x + way[0] * far, y: mark.y + way[1] * far } : { x, y, r: USUAL / scale });
      if (Math.max(Math.abs(mark.x - x), Math.abs(mark.y - y)) > 0.5 / scale) viewer.setView({ x: mark.x, y: mark.y });
    } else if (event.key === "Delete" || event.key === "Backspace") setMark(null);
    else return;
    event.preventDefault();
  });
  const viewer = window.AtlasViewer.attach(figure);
  mat.querySelector(".zoom button:last-child").title = "Show the whole plate";

  at("smaller").addEventListener("click", () => size(1 / 1.25));
  at("larger").addEventListener("click", () => size(1.25));
  at("unmark").addEventListener("click", () => { setMark(null); mat.focus(); });

  const course = () => {
    at("course").replaceChildren(...session.asked.map((_, k) => el("li", { class: k < session.given.length && k !== session.at ? "done" : k === session.at ? "now" : "" },
      el("span", { class: "unseen" }, `${k + 1}: ${k === session.at ? "this one" : k < session.given.length ? "answered" : "to come"}`))));
  };
  const question = () => {
    const { asked, given, at: now } = session;
    const id = deck.id[asked[now]];
    heading.textContent = `Photograph ${now + 1} of ${asked.length}`;
    at("kicker").textContent = `Quiz ${session.wanted.seed}`;
    ask.dataset.revealed = "no";
    at("pictures").replaceChildren();
    at("told").replaceChildren();
    at("caption").replaceChildren();
    at("missing").textContent = "";
    viewer.setView({ x: 0.5, y: 0.5, scale: 1 }); // before the new photograph: its plate is for those who look closer
    viewer.show(picture(id, deck.finer[asked[now]]));
    grading.reset();
    setMark(null);
    course();
    part("ask");
    if (now + 1 < asked.length) new Image().src = picture(deck.id[asked[now + 1]]).src;
    if (given.length > now) reveal();
    else heading.focus({ preventScroll: true });
  };

  grading.addEventListener("invalid", (event) => { // one sentence in its place instead of the browser's bubble
    event.preventDefault();
    at("missing").textContent = "Choose a grade first.";
    event.target.focus();
  }, true);
  grading.addEventListener("change", () => { at("missing").textContent = ""; });
  grading.addEventListener("submit", (event) => {
    event.preventDefault();
    if (answered()) return;
    session.given.push({ grade: Number(new FormData(grading).get("grade")), mark });
    keep();
    reveal();
  });

  // ---- reveal -------------------------------------------------------------------------------------------------------------------
  const judged = (k) => {
    const { asked, given } = session;
    const answer = rules.answer(asked[k]);
    const own = given[k];
    const target = rules.target(answer);
    const touched = own.mark && target ? rules.touched(own.mark, target.areas) : [];
    return {
      id: deck.id[asked[k]], answer, own, target, kinds: [...new Set(touched.map((area) => area.kind))],
      hit: own.mark && target ? touched.length > 0 : null,
      chance: own.mark && target ? rules.chance(own.mark, answer, target.areas) : null,
    };
  };
  const words = (kinds) => {
    const known = kinds.filter(Boolean);
    return known.length < 2 ? known.join("") : `${known.slice(0, -1).join(", ")} and ${known.at(-1)}`;
  };
  const agreement = ({ answer, own }) => {
    const off = own.grade - answer.grade;
    if (!off) return `You and the human grade agree: ${named(answer.grade)}.`;
    return `You graded ${named(own.grade)}, the human grade is ${named(answer.grade)}: ${grades(Math.abs(off))} too ${off > 0 ? "severe" : "mild"}.`;
  };
  const region = ({ answer, own, target, hit, kinds, chance }) => {
    if (!target) {
      return answer.grade === deck.scale.lowest ? "In an eye of the lowest grade there is no region to find, so none is counted." : "Nothing is known of where to look, so no region is counted.";
    }
    const what = target.kind === "lesions" ? "an outlined lesion" : "one of the map’s strongest places; nobody outlined lesions here";
    if (!own.mark) return `You marked nothing; ${target.kind === "lesions" ? "the outlines show where lesions lie" : "the map shows what drove the score"}.`;
    const luck = ` A mark of this size put anywhere on the retina would hit ${number(100 * chance, 0)}\u00a0% of the time.`;
    if (!hit) return `Your mark does not touch ${what}.${luck}`;
    return `Your mark touches ${what}${words(kinds) ? `: ${words(kinds)}` : ""}.${luck}`;
  };
  const share = (grade) => `${(100 * (grade - deck.scale.lowest)) / (deck.scale.highest - deck.scale.lowest)}%`;
  const three = ({ answer, own }) => el("div", { class: "three", role: "img", "aria-label": `On the scale: you ${own.grade}, human grade ${answer.grade}, score ${number(answer.score)}` },
    el("div", { class: "ramp" }, deck.stages.map((stage) => el("i", { style: `background:${stage.colour}` }))),
    deck.stages.map((stage) => el("span", { class: "tick", style: `left:${share(stage.number)}` }, String(stage.number))),
    el("span", { class: "scored", style: `left:${share(answer.score)}` }, number(answer.score)),
    el("span", { class: "person", style: `left:${share(answer.grade)}` }),
    el("span", { class: "own", style: `left:${share(own.grade)}` }));

  const toggles = new Map(); // key -> button
  const toggle = (text, key, shown) => {
    const button = el("button", { type: "button", class: "small", "aria-pressed": "true" }, `${text} `, el("kbd", {}, key));
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      for (const one of shown) one.toggleAttribute("hidden", !on);
    });
    toggles.set(key.toLowerCase(), button);
    return button;
  };
  const draw = async (canvas, id) => {
    await load(`cells/${id}.js`);
    const cells = window.ATLAS_CELLS[id];
    await window.AtlasOverlay.draw(canvas, cells, { method: Object.keys(cells.maps)[0] });
    canvas.dataset.drawn = "yes";
  };

  const lesions = async (pictures, actions, { id, answer }) => { // found by the net: nothing of them is loaded before the answer
    await load(`cells/${id}.js`);
    const cells = window.ATLAS_CELLS[id], outlines = window.AtlasOverlay.found(cells);
    if (!outlines || !actions.isConnected) return;
    pictures.append(outlines);
    const told = el("p", { class: "hint" }, window.AtlasOverlay.key(cells), el("br"), quiz.dataset.found);
    const button = toggle("Lesions found by the net", "F", [outlines, told]);
    actions.append(" ", button);
    actions.after(told);
    if (answer.lesions) button.click(); // a person's outlines are looked at first
  };

  const reveal = () => {
    const found = judged(session.at);
    const { id, answer, own, target } = found;
    setMark(own.mark);
    ask.dataset.revealed = "yes";
    course();
    toggles.clear();
    const pictures = at("pictures"), buttons = [];
    if (answer.map) {
      const map = el("canvas", { "aria-hidden": "true", class: "map", width: 160, height: 160 });
      pictures.append(map);
      draw(map, id).catch((fault) => { if (map.isConnected) at("caption").append(` ${fault.message}.`); });
      buttons.push(toggle("Map", "M", [map]));
    }
    if (answer.lesions) {
      const outlines = el("img", { src: page(`masks/${id}.png`), alt: `Outlined lesions: ${words(Object.keys(answer.lesions)) || "kinds not told"}`, width: 1024, height: 1024 });
      pictures.append(outlines);
      buttons.push(toggle("Outlined lesions", "L", [outlines]));
    }
    at("caption").replaceChildren(
      answer.map ? "Cyan raised the score, violet lowered it. " : "", answer.lesions ? "White: lesions that were outlined. " : "", own.mark ? "Dashed: your mark." : "");
    const actions = buttons.length ? el("p", { class: "actions" }, buttons) : null;
    const badge = answer.trust === null ? null : deck.trusts[answer.trust];
    at("told").replaceChildren(...[
      el("p", { class: "said" }, agreement(found)),
      three(found),
      el("p", { class: "key-line", "aria-hidden": "true" }, el("span", {}, el("i", { class: "own" }), "you"), el("span", {}, el("i", { class: "person" }), "human grade"), el("span", {}, "▾ score")),
      el("p", {}, region(found)),
      answer.lesions ? el("p", {}, `Outlined here: ${words(Object.keys(answer.lesions)) || "lesions, their kinds not told"}.`) : null,
      badge ? el("p", { class: "hint" }, `Trust in this map: ${answer.trust}. ${badge}`) : null,
      actions,
      el("p", {}, el("a", { href: page(`images/${id}.html`) }, `Report of plate ${count(answer.plate)}`), " · ", el("a", { href: page(`compare.html#a=${id}`) }, "Compare it")),
    ].filter(Boolean));
    if (answer.map) lesions(pictures, actions, found).catch(() => undefined); // the map tells of a file that is missing
    at("next").firstChild.textContent = session.at + 1 < session.asked.length ? "Next " : "Your result ";
    if (quiz.dataset.part === "ask") at("verdict").focus({ preventScroll: true });
  };
  const next = () => {
    session.at += 1;
    keep();
    if (session.at >= session.asked.length) finish();
    else question();
  };
  at("next").addEventListener("click", next);

  // ---- result -------------------------------------------------------------------------------------------------------------------
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const percent = (value) => `${number(100 * value, 0)}\u00a0%`;
  const measured = (term, value, told) => el("div", {}, el("dt", {}, term), el("dd", {}, value, el("small", {}, told)));

  const matrix = (all) => {
    const cell = (human, own) => all.filter((one) => one.answer.grade === human && one.own.grade === own).length;
    return el("table", { class: "matrix" },
      el("caption", {}, "Photographs by human grade (rows) and by your grade (columns); those framed agree"),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Human grade"), deck.stages.map((stage) => el("th", { scope: "col", title: stage.name }, `you ${stage.number}`)))),
      el("tbody", {}, deck.stages.map((row) => {
        const total = all.filter((one) => one.answer.grade === row.number).length;
        return el("tr", {}, el("th", { scope: "row" }, named(row.number)), deck.stages.map((column) => {
          const found = cell(row.number, column.number);
          return el("td", { class: [found ? "" : "none", row === column ? "agree" : ""].join(" ").trim() || null, style: `--share:${total ? found / total : 0}` }, String(found));
        }));
      })));
  };
  const table = (all) => [
    ["quiz", "question", "image_id", "plate", "human_grade", "your_grade", "difference", "score", "mark_x", "mark_y", "mark_radius", "target", "hit", "chance", "touched"],
    ...all.map(({ id, answer, own, target, hit, chance, kinds }, k) => [
      session.wanted.seed, k + 1, id, answer.plate, answer.grade, own.grade, own.grade - answer.grade, answer.score.toFixed(2),
      own.mark?.x.toFixed(4), own.mark?.y.toFixed(4), own.mark?.r.toFixed(4),
      target === null ? "" : { lesions: "outlined lesions", cells: "strongest cells" }[target.kind], hit === null ? "" : Number(hit), chance?.toFixed(3), kinds.filter(Boolean).join("; ")]),
  ];

  const finish = () => {
    const all = session.given.map((_, k) => judged(k));
    const pairs = all.map(({ answer, own }) => [answer.grade, own.grade]);
    const rounded = (score) => clamp(Math.round(score), deck.scale.lowest, deck.scale.highest);
    const scorer = rules.kappa(all.map(({ answer }) => [answer.grade, rounded(answer.score)]));
    const marked = all.filter((one) => one.hit !== null);
    const byLesions = marked.filter((one) => one.target.kind === "lesions").length;
    const against = byLesions === marked.length ? "touch an outlined lesion" : byLesions ? `touch an outlined lesion (${byLesions}) or, where none is outlined, the map’s strongest places (${marked.length - byLesions})` : "touch the map’s strongest places, for no lesions were outlined";
    const agree = pairs.filter(([human, own]) => human === own).length, near = pairs.filter(([human, own]) => Math.abs(human - own) <= 1).length;
    heading.textContent = "Your result";
    at("kicker").textContent = `Quiz ${session.wanted.seed}`;
    at("result").replaceChildren(
      el("dl", { class: "measured" },
        measured(el("a", { class: "term", href: page("glossary.html#kappa") }, "Quadratic kappa"), number(rules.kappa(pairs)), `your agreement with the human grades beyond chance, wide misses weighing more: 1 is perfect, 0 is chance. The scorer’s own, its score rounded, on these photographs: ${number(scorer)}`),
        measured("Same grade", `${agree} of ${all.length}`, `within one grade: ${near}`),
        measured("Region", marked.length ? percent(mean(marked.map((one) => Number(one.hit)))) : "–", marked.length
          ? `of your ${marked.length} ${marked.length === 1 ? "mark" : "marks"} that can be judged ${against}; marks of these sizes put anywhere on the retina would hit ${percent(mean(marked.map((one) => one.chance)))}`
          : "no mark of yours can be judged")),
      el("p", { class: "actions" },
        el("button", { type: "button", class: "button", id: "save", onclick: () => csv(`quiz-${session.wanted.seed.replace(/[^\w-]+/g, "-")}.csv`, table(all)) }, "Save as CSV"),
        el("button", { type: "button", class: "button quiet", id: "again", onclick: () => { session.given = []; session.at = 0; keep(); question(); } }, "The same again"),
        el("button", { type: "button", class: "button quiet", id: "fresh", onclick: () => { state.set({ seed: null, n: null, stages: null }); setup.elements.seed.value = ""; begin(); heading.focus(); } }, "Another quiz")),
      el("h2", {}, "Where you and the human grades differ"),
      el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Confusion matrix" }, matrix(all)),
      el("h2", {}, "The photographs"),
      el("ol", { class: "answered" }, all.map(({ id, answer, own, hit }, k) => el("li", {},
        el("a", { href: page(`images/${id}.html`) }, el("img", { src: page(`thumbnails/${id}.jpg`), alt: `Photograph ${k + 1}: report of plate ${count(answer.plate)}`, width: 160, height: 160, loading: "lazy" })),
        el("p", { class: own.grade === answer.grade ? null : "off" }, `You ${own.grade}, human grade ${answer.grade}`), el("p", {}, `Score ${number(answer.score)}${hit === null ? "" : hit ? ", region hit" : ", region missed"}`)))));
    part("result");
    heading.focus({ preventScroll: true });
  };

  // ---- keys of the page ---------------------------------------------------------------------------------------------------------
  document.addEventListener("keydown", (event) => {
    if (typing(event) || event.shiftKey || event.defaultPrevented || quiz.dataset.part !== "ask") return;
    if (event.key === "Enter") {
      if (event.repeat || event.target.closest("a, button, summary")) return;
      if (answered()) next();
      else grading.requestSubmit();
    } else if (answered()) {
      const button = toggles.get(event.key.toLowerCase());
      if (!button) return;
      button.click();
    } else if (event.key === "[" || event.key === "]") size(event.key === "[" ? 1 / 1.25 : 1.25);
    else {
      const choice = /^\d$/.test(event.key) && grading.querySelector(`input[value="${event.key}"]`);
      if (!choice) return;
      choice.checked = true;
      at("missing").textContent = "";
    }
    event.preventDefault();
  }, true);

  state.listen(open);
  open();
})();
