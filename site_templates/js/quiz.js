// The quiz: its address says which photographs are asked, this tab keeps how they were answered, and nothing is sent. What is
// known of a photograph is read only once it is revealed; see deck.js for how well it is hidden until then.
"use strict";
(() => {
  const { el, number, percent, count, asset, page, state, load, picture, csv, typing } = window.Atlas;
  const deck = window.ATLAS_QUIZ;
  const rules = window.AtlasDeck(deck);
  const at = (id) => document.getElementById(id);
  const quiz = at("quiz"), heading = at("heading"), ask = at("ask"), grading = at("grading"), setup = at("setup");
  const stageOf = new Map(deck.stages.map((stage) => [stage.number, stage]));
  const words = window.AtlasQuizWords(deck, window.Atlas);
  const [title, kicker] = [heading.textContent, at("kicker").textContent];

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
    heading.textContent = title;
    at("kicker").textContent = kicker;
    if (!setup.elements.seed.value) setup.elements.seed.value = String(1000 + Math.floor(Math.random() * 9000));
    paper();
    part("start");
  };
  setup.addEventListener("input", () => {
    const boxes = [...setup.querySelectorAll("[name=stage]")];
    boxes[0]?.setCustomValidity(boxes.some((box) => box.checked) ? "" : gettext("Choose at least one stage."));
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
    at("marked").textContent = mark
      ? gettext("Marked: %(place)s. Click elsewhere to move the mark.", { place: words.place(mark) })
      : gettext("Nothing is marked. A normal photograph may have nothing to mark.");
  };
  const size = (factor) => { if (mark) setMark({ ...mark, r: mark.r * factor }); };
  const answered = () => session !== null && session.given.length > session.at;

  // A click marks. A drag draws the mark if the plate is not zoomed, moves the mark if it begins on it, and else moves the plate.
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
  mat.querySelector(".zoom button:last-child").title = gettext("Show the full photograph");

  at("smaller").addEventListener("click", () => size(1 / 1.25));
  at("larger").addEventListener("click", () => size(1.25));
  at("unmark").addEventListener("click", () => { setMark(null); mat.focus(); });

  const course = () => {
    const said = (k) => {
      const which = { question: k + 1 };
      if (k === session.at) return gettext("Question %(question)s: current", which);
      return k < session.given.length ? gettext("Question %(question)s: answered", which) : gettext("Question %(question)s: not answered yet", which);
    };
    at("course").replaceChildren(...session.asked.map((_, k) => el("li", { class: k === session.at ? "now" : k < session.given.length ? "done" : "" }, el("span", { class: "unseen" }, said(k)))));
  };
  const question = () => {
    const { asked, given, at: now } = session;
    const id = deck.id[asked[now]];
    heading.textContent = gettext("Photograph %(number)s of %(total)s", { number: now + 1, total: asked.length });
    at("kicker").textContent = gettext("Quiz %(seed)s", { seed: session.wanted.seed });
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
    at("missing").textContent = gettext("Choose a grade first.");
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
  const judged = (k) => rules.judge(session.asked[k], session.given[k]);
  const share = (grade) => `${(100 * (grade - deck.scale.lowest)) / (deck.scale.highest - deck.scale.lowest)}%`;
  const three = ({ answer, own }) => el("div", { class: "three", role: "img", "aria-label": gettext("On the scale: your grade %(own)s, grade of the photograph %(human)s, score %(score)s", { own: own.grade, human: answer.grade, score: number(answer.score) }) },
    el("div", { class: "ramp" }, deck.stages.map((stage) => el("i", { style: `background:${stage.colour}` }))),
    deck.stages.map((stage) => el("span", { class: "tick", style: `left:${share(stage.number)}` }, String(stage.number))),
    el("span", { class: "scored", style: `left:${share(answer.score)}` }, number(answer.score)),
    el("span", { class: "person", style: `left:${share(answer.grade)}` }),
    el("span", { class: "own", style: `left:${share(own.grade)}` }));

  const NEXT = gettext("Next"), RESULT = gettext("Your result");
  const toggles = new Map(); // key -> button
  const toggle = (text, key, shown, pressed = true) => {
    for (const one of shown) one.toggleAttribute("hidden", !pressed);
    const button = el("button", { type: "button", class: "small", "aria-pressed": String(pressed) }, `${text} `, el("kbd", {}, key));
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
    const button = toggle(gettext("Lesions found by the network"), "F", [outlines, told]);
    actions.append(" ", button);
    actions.after(told);
    if (answer.lesions) button.click(); // a person's outlines are looked at first
  };

  const reveal = () => {
    const found = judged(session.at);
    const { id, answer, own } = found;
    setMark(own.mark);
    ask.dataset.revealed = "yes";
    course();
    toggles.clear();
    const pictures = at("pictures"), buttons = [];
    const kinds = words.kinds(Object.keys(answer.lesions ?? {}));
    const outlined = kinds ? gettext("Outlined lesions: %(kinds)s.", { kinds }) : gettext("Lesions are outlined here. Their kinds are not known.");
    const mapped = el("span", {}, gettext("Cyan places raised the score, violet places lowered it."), " ");
    if (answer.retina !== null) {
      const map = el("canvas", { "aria-hidden": "true", class: "map", width: 160, height: 160 });
      pictures.append(map);
      draw(map, id).catch((fault) => { if (map.isConnected) at("caption").append(` ${fault.message}`); });
      buttons.push(toggle(gettext("Map"), "M", [map, mapped], false)); // the photograph is looked at first
    }
    if (answer.lesions) {
      const outlines = el("img", { src: asset(`masks/${id}.png`), alt: outlined, width: 1024, height: 1024 });
      pictures.append(outlines);
      buttons.push(toggle(gettext("Outlined lesions"), "L", [outlines]));
    }
    const marked = [answer.lesions && gettext("White: outlined lesions."), own.mark && gettext("Dashed: your mark.")].filter(Boolean);
    at("caption").replaceChildren(...(answer.retina !== null ? [mapped] : []), marked.join(" "));
    const actions = buttons.length ? el("p", { class: "actions" }, buttons) : null;
    const badge = answer.trust === null ? null : deck.trusts[answer.trust];
    at("told").replaceChildren(...[
      el("p", { class: "said" }, words.agreement(found)),
      three(found),
      el("p", { class: "key-line", "aria-hidden": "true" }, el("span", {}, el("i", { class: "own" }), gettext("your grade")), el("span", {}, el("i", { class: "person" }), gettext("grade of the photograph")), el("span", {}, "▾ ", gettext("score"))),
      el("p", {}, words.region(found)),
      answer.lesions ? el("p", {}, outlined) : null,
      badge ? el("p", { class: "hint" }, gettext("Trust in this map: %(word)s.", { word: badge[0] }), " ", badge[1]) : null,
      actions,
      el("p", {}, el("a", { href: page(`images/${id}.html`) }, gettext("Report on plate %(number)s", { number: count(answer.plate) })), " · ", el("a", { href: page(`compare.html#a=${id}`) }, gettext("Compare with another photograph"))),
    ].filter(Boolean));
    if (answer.retina !== null) lesions(pictures, actions, found).catch(() => undefined); // the map already reports a file that is missing
    at("next").firstChild.textContent = `${session.at + 1 < session.asked.length ? NEXT : RESULT} `;
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
  const measured = (term, value, told) => el("div", {}, el("dt", {}, term), el("dd", {}, value, el("small", {}, told)));

  const matrix = (all) => {
    const cell = (human, own) => all.filter((one) => one.answer.grade === human && one.own.grade === own).length;
    return el("table", { class: "matrix" },
      el("caption", {}, gettext("Photographs by their grade (rows) and by your grade (columns). Framed: both agree.")),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, gettext("Grade")), deck.stages.map((stage) => el("th", { scope: "col", title: stage.name }, gettext("you %(grade)s", { grade: stage.number }))))),
      el("tbody", {}, deck.stages.map((row) => {
        const total = all.filter((one) => one.answer.grade === row.number).length;
        return el("tr", {}, el("th", { scope: "row" }, `${row.number} ${row.name}`), deck.stages.map((column) => {
          const found = cell(row.number, column.number);
          return el("td", { class: [found ? "" : "none", row === column ? "agree" : ""].join(" ").trim() || null, style: `--share:${total ? found / total : 0}` }, String(found));
        }));
      })));
  };
  const scored = ({ score, read }, hit) => [
    gettext("Score %(score)s, read as grade %(read)s", { score: number(score), read }),
    hit === null ? null : hit ? gettext("Place found") : gettext("Place missed"),
  ].filter((one) => one !== null).join(" · ");
  const finish = () => {
    const all = session.given.map((_, k) => judged(k));
    const result = rules.result(all);
    heading.textContent = RESULT;
    at("kicker").textContent = gettext("Quiz %(seed)s", { seed: session.wanted.seed });
    at("result").replaceChildren(
      el("dl", { class: "measured" },
        measured(el("a", { class: "term", href: page("glossary.html#kappa") }, gettext("Quadratic kappa")), number(result.kappa),
          gettext("How far your grades agree with those of the photographs beyond chance. Larger differences count more; 1 is perfect, 0 is chance. The network on the same photographs, its scores read as grades: %(kappa)s.", { kappa: number(result.scorer) })),
        measured(gettext("Same grade"), gettext("%(same)s of %(total)s", { same: result.same, total: all.length }), gettext("within one grade: %(near)s", { near: result.near })),
        measured(gettext("Place that decided your grade"), result.marks && result.marks < 5 ? count(Math.round(result.hit * result.marks)) : percent(result.hit), words.marks(result))),
      el("p", { class: "actions" },
        el("button", { type: "button", class: "button", id: "save", onclick: () => csv(`quiz-${session.wanted.seed.replace(/[^\w-]+/g, "-")}.csv`, rules.table(session.wanted.seed, all)) }, gettext("Save as CSV")),
        el("button", { type: "button", class: "button quiet", id: "again", onclick: () => { session.given = []; session.at = 0; keep(); question(); } }, gettext("Repeat this quiz")),
        el("button", { type: "button", class: "button quiet", id: "fresh", onclick: () => { state.set({ seed: null, n: null, stages: null }); setup.elements.seed.value = ""; begin(); heading.focus(); } }, gettext("New quiz"))),
      el("h2", {}, gettext("Where your grades differ")),
      el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": gettext("Confusion matrix") }, matrix(all)),
      el("h2", {}, gettext("The photographs")),
      el("ol", { class: "answered" }, all.map(({ id, answer, own, hit }, k) => el("li", {},
        el("a", { href: page(`images/${id}.html`) }, el("img", { src: asset(`thumbnails/${id}.jpg`), alt: gettext("Question %(question)s: report on plate %(number)s", { question: k + 1, number: count(answer.plate) }), width: 160, height: 160, loading: "lazy" })),
        el("p", { class: own.grade === answer.grade ? null : "off" }, gettext("Your grade %(own)s, grade of the photograph %(human)s", { own: own.grade, human: answer.grade })), el("p", {}, scored(answer, hit))))));
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
