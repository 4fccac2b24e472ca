// The quiz's deck: which photographs a session asks, what is known of each once it is revealed, and how answers are judged.
//
// AtlasDeck(window.ATLAS_QUIZ) returns
//   session({seed, n, stages})  the places in the deck of the photographs asked, the same for the same three, on any machine
//   answer(k)                   what is revealed of the photograph at place k; call it only then
//   target(answer)              where a mark should lie: {kind: "lesions" or "cells", areas: [{kind, left, top, right, bottom}]},
//                               in shares of the plate, or null where nothing is known or there is nothing to find
//   touched(mark, areas)        the areas that the circle {x, y, r} touches
//   chance(mark, answer, areas) how often a circle of that size hits when it is put on the retina at random
//   judge(k, own)               one answer {grade, mark} judged; result(all) and table(seed, all) of all that were judged
//   kappa(pairs)                quadratic kappa of [human, assigned] grades; NaN where all are one and the same grade
//
// The seal hides answers from the page, its source and a glance at the file. It cannot keep out a determined reader: everything needed
// to open it is in this file.
"use strict";
window.AtlasDeck = (deck) => {
  // FNV-1a, and mulberry32 (Tommy Ettinger, 2017, public domain); atlas/site/quiz.py seals with the same.
  const hash = (text) => {
    let found = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(text)) found = Math.imul(found ^ byte, 0x01000193) >>> 0;
    return found;
  };
  const stream = (key) => {
    let a = hash(key);
    return () => {
      a = (a + 0x6d2b79f5) | 0;
      let t = Math.imul(a ^ (a >>> 15), a | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return (t ^ (t >>> 14)) >>> 0;
    };
  };
  const opened = (sealed, key) => {
    const bytes = Uint8Array.from(atob(sealed), (letter) => letter.charCodeAt(0));
    const next = stream(key);
    for (let at = 0; at < bytes.length; at += 4) {
      const word = next();
      for (let b = 0; b < 4 && at + b < bytes.length; b += 1) bytes[at + b] ^= (word >>> (8 * b)) & 255;
    }
    return JSON.parse(new TextDecoder().decode(bytes));
  };

  // Every photograph has its place in a seed's order whatever else is in the deck, so that a rebuilt atlas changes little.
  const order = (seed, places) => places
    .map((k) => [stream(`${seed} ${deck.id[k]}`)(), deck.id[k], k])
    .sort(([a, x], [b, y]) => a - b || (x < y ? -1 : 1))
    .map(([, , k]) => k);

  // Stages take turns, so that a short quiz is as balanced as its length allows; one that runs out leaves its turns to the others.
  const session = ({ seed, n, stages }) => {
    const grades = opened(deck.grades, "grades");
    const all = grades.map((_, k) => k);
    const piles = stages.map((stage) => ({ turn: stream(`${seed} stage ${stage}`)(), left: order(seed, all.filter((k) => grades[k] === stage)) }));
    piles.sort((a, b) => a.turn - b.turn);
    const asked = [];
    while (asked.length < n && piles.some((pile) => pile.left.length)) {
      for (const pile of piles) if (pile.left.length && asked.length < n) asked.push(pile.left.shift());
    }
    return order(`${seed} order`, asked);
  };

  // The cells of runs, (gap, length, gap, length, ...): a gap counts from the end of the run before it.
  const places = (runs) => {
    const found = [];
    for (let at = 0, end = 0; at < runs.length; at += 2) {
      const start = end + runs[at];
      end = start + runs[at + 1];
      for (let place = start; place < end; place += 1) found.push(place);
    }
    return found;
  };
  const answer = (k) => {
    const found = opened(deck.answers[k], deck.id[k]);
    for (const [kind, runs] of Object.entries(found.lesions ?? {})) found.lesions[kind] = places(runs);
    found.strongest = places(found.strongest);
    return found;
  };

  const area = (kind, row, column, rows, columns, span) => ({ kind, left: column / columns, top: row / rows, right: (column + span) / columns, bottom: (row + span) / rows });
  const [rows, columns] = deck.shape;
  const span = deck.window; // cells on a side of the window that each drop belongs to
  const cell = (place) => area("", Math.floor(place / columns), place % columns, rows + span - 1, columns + span - 1, span);
  const target = ({ lesions, strongest }) => {
    const outlined = Object.entries(lesions ?? {}).flatMap(([kind, own]) =>
      own.map((place) => area(kind, Math.floor(place / deck.grid), place % deck.grid, deck.grid, deck.grid, 1)));
    if (outlined.length) return { kind: "lesions", areas: outlined };
    return strongest.length ? { kind: "cells", areas: strongest.map(cell) } : null;
  };

  const touches = ({ x, y, r }, { left, top, right, bottom }) => {
    const across = Math.max(left - x, 0, x - right), down = Math.max(top - y, 0, y - bottom);
    return across * across + down * down <= r * r;
  };
  const touched = (mark, areas) => areas.filter((one) => touches(mark, one));
  const chance = ({ r }, { retina: which }, areas) => {
    const retina = which !== null ? places(deck.retinas[which]).map(cell) : [{ left: 0, top: 0, right: 1, bottom: 1 }];
    const steps = 48;
    let hits = 0, tries = 0;
    for (let row = 0; row < steps; row += 1) {
      for (let column = 0; column < steps; column += 1) {
        const mark = { x: (column + 0.5) / steps, y: (row + 0.5) / steps, r };
        if (!retina.some((one) => touches({ ...mark, r: 0 }, one))) continue;
        tries += 1;
        if (areas.some((one) => touches(mark, one))) hits += 1;
      }
    }
    return tries ? hits / tries : NaN;
  };

  // How one answer {grade, mark} to the photograph at place k is judged. hit, chance: null where there is no mark, or nothing to hit.
  const judge = (k, own) => {
    const known = answer(k), goal = target(known);
    const counted = Boolean(own.mark && goal);
    const hits = counted ? touched(own.mark, goal.areas) : [];
    return {
      id: deck.id[k], answer: known, own, target: goal, kinds: [...new Set(hits.map((one) => one.kind))].filter(Boolean),
      hit: counted ? hits.length > 0 : null, chance: counted ? chance(own.mark, known, goal.areas) : null,
    };
  };
  // What all answers that were judged come to. hit and chance are means over the marks that can be judged, NaN where there is none.
  const result = (all) => {
    const pairs = all.map((one) => [one.answer.grade, one.own.grade]);
    const within = (far) => pairs.filter(([human, own]) => Math.abs(human - own) <= far).length;
    const marked = all.filter((one) => one.hit !== null);
    const mean = (value) => marked.reduce((sum, one) => sum + Number(value(one)), 0) / marked.length;
    return {
      kappa: kappa(pairs), scorer: kappa(all.map((one) => [one.answer.grade, one.answer.read])), same: within(0), near: within(1),
      marks: marked.length, onLesions: marked.filter((one) => one.target.kind === "lesions").length,
      hit: mean((one) => one.hit), chance: mean((one) => one.chance),
    };
  };
  // The same as rows of a table, the first with the names of the columns.
  const table = (seed, all) => [
    ["quiz", "question", "image_id", "plate", "human_grade", "your_grade", "difference", "score", "read_as", "mark_x", "mark_y", "mark_radius", "target", "hit", "chance", "touched"],
    ...all.map(({ id, answer: known, own, target: goal, hit, chance: luck, kinds }, k) => [
      seed, k + 1, id, known.plate, known.grade, own.grade, own.grade - known.grade, known.score.toFixed(2), known.read,
      own.mark?.x.toFixed(4), own.mark?.y.toFixed(4), own.mark?.r.toFixed(4),
      goal === null ? "" : { lesions: "outlined lesions", cells: "strongest cells" }[goal.kind], hit === null ? "" : Number(hit), luck?.toFixed(3), kinds.join("; ")]),
  ];

  // 1 less the mean squared distance of the pairs over that of all human with all assigned grades (Cohen, 1968).
  const kappa = (pairs) => {
    const observed = pairs.reduce((sum, [human, own]) => sum + (human - own) ** 2, 0) * pairs.length;
    const expected = pairs.reduce((sum, [human]) => sum + pairs.reduce((part, [, own]) => part + (human - own) ** 2, 0), 0);
    return expected ? 1 - observed / expected : NaN;
  };

  // What the address asks, made good: a seed, stages of the scale, and no more photographs than there are.
  const wanted = ({ seed, n, stages }) => {
    const known = deck.stages.filter((stage) => stage.count).map((stage) => stage.number);
    const named = new Set((stages ?? "").split(",").filter((part) => part.trim() !== "").map(Number));
    const chosen = known.filter((number) => named.has(number));
    const list = chosen.length ? chosen : known;
    const most = deck.stages.reduce((sum, stage) => sum + (list.includes(stage.number) ? stage.count : 0), 0);
    const count = Number.parseInt(n, 10);
    return { seed: String(seed ?? "").slice(0, 40), n: Math.min(most, Math.max(1, Number.isFinite(count) ? count : 10)), stages: list, all: list.length === known.length };
  };
  // The same for an address: what is left out is the default.
  const address = ({ seed, n, stages, all }) => ({ seed, n, stages: all ? null : stages.join(",") });

  return { session, answer, target, touched, chance, judge, result, table, kappa, wanted, address };
};
