// The quiz on paper: blind plates, and an answer key that is made only when it is asked for. The address chooses both.
"use strict";
(() => {
  const { el, number, count, state, load, picture } = window.Atlas;
  const deck = window.ATLAS_QUIZ;
  const rules = window.AtlasDeck(deck);
  const at = (id) => document.getElementById(id);
  const setup = at("setup"), key = at("key"), plates = at("plates");
  const page = (path) => window.Atlas.root + path;
  const stageOf = new Map(deck.stages.map((stage) => [stage.number, stage]));
  let wanted = null;
  let asked = [];

  const told = () => {
    const stages = wanted.all ? "all stages" : `stages ${wanted.stages.join(", ")}`;
    return `Quiz ${wanted.seed}: ${asked.length} ${asked.length === 1 ? "plate" : "plates"} from ${stages}.`;
  };
  const boxes = () => deck.stages.map((stage) => el("span", {}, el("i", {}), `${stage.number} ${stage.name}`));
  const draw = () => {
    asked = rules.session(wanted);
    at("plates-says").textContent = `${told()} Grade each plate, circle the region that decided, and say in a word what you see.`;
    at("sheets").replaceChildren(...asked.map((k, place) => el("article", {},
      el("h3", {}, String(place + 1)),
      el("img", { src: picture(deck.id[k]).src, alt: `Photograph ${place + 1}, to be graded`, width: 1024, height: 1024 }),
      el("p", { class: "boxes-line" }, boxes()),
      el("p", { class: "write-on" }, "I see"))));
    at("screen").href = page(`quiz.html#${new URLSearchParams(Object.entries(rules.address(wanted)).filter(([, value]) => value !== null))}`);
    if (key.hidden) return Promise.resolve();
    return answers();
  };

  const heat = async (canvas, id, told) => {
    await load(`cells/${id}.js`);
    const cells = window.ATLAS_CELLS[id];
    const outlines = window.AtlasOverlay.found(cells);
    if (outlines) {
      canvas.parentElement.append(outlines);
      told.append("the lesion net found: ", window.AtlasOverlay.key(cells));
    }
    await window.AtlasOverlay.draw(canvas, cells, { method: Object.keys(cells.maps)[0] });
  };
  const answers = () => {
    at("key-says").textContent = `${told()} On each plate: the scorer’s map, cyan where it raised the score, and in white the lesions that were outlined, where they are known${at("key").dataset.found ? ", and what the lesion net found, in the colour and with the letter of its kind" : ""}. The map shows what drove the scorer, not what an expert saw.${at("key").dataset.found ? ` Lesions found: ${at("key").dataset.found}` : ""}`;
    const drawn = [];
    at("answers").replaceChildren(...asked.map((k, place) => {
      const id = deck.id[k];
      const answer = rules.answer(k);
      const target = rules.target(answer);
      const kinds = Object.keys(answer.lesions ?? {}).filter(Boolean);
      const map = answer.map && el("canvas", { "aria-hidden": "true", width: 160, height: 160 });
      const told = el("p", { class: "told" });
      if (map) drawn.push(heat(map, id, told).catch(() => { /* the plate stands without its map */ }));
      const look = answer.lesions ? `outlined: ${kinds.join(", ") || "lesions of kinds not told"}`
        : target ? "where the map is strongest" : answer.grade === deck.scale.lowest ? "nothing to find" : "not known";
      return el("tr", {}, el("th", { scope: "row" }, String(place + 1)),
        el("td", {}, el("div", { class: "small-plate" },
          el("img", { src: picture(id).src, alt: `Photograph ${place + 1}, plate ${count(answer.plate)} of the atlas`, width: 1024, height: 1024 }), map,
          answer.lesions && el("img", { src: page(`masks/${id}.png`), alt: "", width: 1024, height: 1024 }))),
        el("td", {}, `${answer.grade} ${stageOf.get(answer.grade).name}`), el("td", {}, number(answer.score)),
        el("td", {}, look, el("br"), el("a", { href: page(`images/${id}.html`) }, `plate ${count(answer.plate)} of the atlas`), told));
    }));
    return Promise.all(drawn);
  };
  const show = (yes) => {
    key.hidden = !yes;
    at("show-key").setAttribute("aria-expanded", String(yes));
    at("show-key").textContent = yes ? "Hide the answer key" : "Show the answer key";
    if (yes) return answers();
    at("answers").replaceChildren();
    return Promise.resolve();
  };
  at("show-key").addEventListener("click", () => show(key.hidden));

  // What a print shows stands in the page while it is printed, and no longer.
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
