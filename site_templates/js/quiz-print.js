// The quiz on paper: photographs without answers, and an answer key that is made only when it is asked for. The address chooses both.
"use strict";
(() => {
  const { el, number, count, list, asset, page, state, load, picture } = window.Atlas;
  const deck = window.ATLAS_QUIZ;
  const rules = window.AtlasDeck(deck);
  const at = (id) => document.getElementById(id);
  const setup = at("setup"), key = at("key"), plates = at("plates");
  const words = window.AtlasQuizWords(deck, window.Atlas);
  let wanted = null;
  let asked = [];

  const told = () => {
    const values = { seed: wanted.seed, stages: list(wanted.stages), n: count(asked.length) };
    return wanted.all
      ? ngettext("Quiz %(seed)s: %(n)s photograph from all stages.", "Quiz %(seed)s: %(n)s photographs from all stages.", asked.length, values)
      : ngettext("Quiz %(seed)s: %(n)s photograph. Stages: %(stages)s.", "Quiz %(seed)s: %(n)s photographs. Stages: %(stages)s.", asked.length, values);
  };
  const boxes = () => deck.stages.map((stage) => el("span", {}, el("i", {}), `${stage.number} ${stage.name}`));
  const draw = () => {
    asked = rules.session(wanted);
    at("plates-says").textContent = [told(), gettext("Grade each photograph, circle the place that decided your grade, and write in a word what you see.")].join(" ");
    at("sheets").replaceChildren(...asked.map((k, place) => el("article", {},
      el("h3", {}, String(place + 1)),
      el("img", { src: picture(deck.id[k]).src, alt: gettext("Photograph %(number)s, to be graded", { number: place + 1 }), width: 1024, height: 1024 }),
      el("p", { class: "boxes-line" }, boxes()),
      el("p", { class: "write-on" }, gettext("I see")))));
    at("screen").href = page(`quiz.html#${new URLSearchParams(Object.entries(rules.address(wanted)).filter(([, value]) => value !== null))}`);
    if (key.hidden) return Promise.resolve();
    return answers();
  };

  const heat = async (canvas, id, caption) => {
    await load(`cells/${id}.js`);
    const cells = window.ATLAS_CELLS[id];
    const outlines = window.AtlasOverlay.found(cells);
    if (outlines) {
      canvas.parentElement.append(outlines);
      caption.append(gettext("Found by the network:"), " ", window.AtlasOverlay.key(cells));
    }
    await window.AtlasOverlay.draw(canvas, cells, { method: Object.keys(cells.maps)[0] });
  };
  const answers = () => {
    const trust = key.dataset.found;
    at("key-says").textContent = [
      told(), gettext("Each photograph carries the map of the scorer: cyan places raised the score. White outlines are lesions that people outlined, where there are any."),
      trust && gettext("Lesions that the network found have the colour and the letter of their kind."),
      gettext("The map shows what drove the score, not what an expert saw."), trust && gettext("Lesions found: %(trust)s", { trust }),
    ].filter(Boolean).join(" ");
    const drawn = [];
    at("answers").replaceChildren(...asked.map((k, place) => {
      const id = deck.id[k];
      const answer = rules.answer(k);
      const target = rules.target(answer);
      const kinds = Object.keys(answer.lesions ?? {}).filter(Boolean);
      const map = answer.retina === null ? null : el("canvas", { "aria-hidden": "true", width: 160, height: 160 });
      const caption = el("p", { class: "told" });
      if (map) drawn.push(heat(map, id, caption).catch(() => { /* shown without its map */ }));
      const look = answer.lesions ? (kinds.length ? gettext("outlined: %(kinds)s", { kinds: words.kinds(kinds) }) : gettext("outlined lesions, kinds not known"))
        : target ? gettext("where the map is strongest") : answer.grade === deck.scale.lowest ? gettext("nothing to find") : gettext("not known");
      const serial = count(answer.plate);
      return el("tr", {}, el("th", { scope: "row" }, String(place + 1)),
        el("td", {}, el("div", { class: "small-plate" },
          el("img", { src: picture(id).src, alt: gettext("Question %(question)s: plate %(number)s of the atlas", { question: place + 1, number: serial }), width: 1024, height: 1024 }), map,
          answer.lesions && el("img", { src: asset(`masks/${id}.png`), alt: "", width: 1024, height: 1024 }))),
        el("td", {}, words.grade(answer.grade)), el("td", {}, gettext("%(score)s, read as grade %(read)s", { score: number(answer.score), read: answer.read })),
        el("td", {}, look, el("br"), el("a", { href: page(`images/${id}.html`) }, gettext("plate %(number)s of the atlas", { number: serial })), caption));
    }));
    return Promise.all(drawn);
  };
  const show = (yes) => {
    key.hidden = !yes;
    at("show-key").setAttribute("aria-expanded", String(yes));
    at("show-key").textContent = yes ? gettext("Hide the answer key") : gettext("Show the answer key");
    if (yes) return answers();
    at("answers").replaceChildren();
    return Promise.resolve();
  };
  at("show-key").addEventListener("click", () => show(key.hidden));

  // What is printed is in the page only while it is printed.
  const loaded = () => Promise.all([...document.images].filter((image) => !image.closest("[hidden]")).map((image) => image.decode().catch(() => null)));
  const print = async (withPlates, withKey) => {
    const before = !key.hidden;
    await show(withKey);
    plates.hidden = !withPlates;
    await loaded();
    window.print();
    plates.hidden = false;
    await show(before);
  };
  at("print-plates").addEventListener("click", () => print(true, false));
  at("print-key").addEventListener("click", () => print(false, true));
  at("print-both").addEventListener("click", () => print(true, true));

  const fill = () => {
    setup.elements.n.value = wanted.n;
    setup.elements.seed.value = wanted.seed;
    for (const box of setup.querySelectorAll("[name=stage]")) box.checked = wanted.stages.includes(Number(box.value));
  };
  const open = () => {
    const address = state.get();
    wanted = rules.wanted({ ...address, seed: address.seed || String(1000 + Math.floor(Math.random() * 9000)) });
    if (!address.seed) state.set(rules.address(wanted));
    fill();
    draw();
  };
  setup.addEventListener("submit", (event) => event.preventDefault());
  setup.addEventListener("change", () => {
    const form = new FormData(setup);
    wanted = rules.wanted({ seed: String(form.get("seed")).trim() || "1", n: form.get("n"), stages: form.getAll("stage").join(",") });
    state.set(rules.address(wanted));
    fill();
    draw();
  });
  state.listen(open);
  open();
})();
