// The sentences that the quiz says about an answer and about a result. Nothing here touches the page.
//
// AtlasQuizWords(window.ATLAS_QUIZ, window.Atlas) takes the deck and the number formats, and returns
//   grade(number)         a grade of the scale: its number and name
//   kinds(kinds)          a list of kinds of lesion; "" where none is known
//   place(mark)           where on the photograph a mark lies
//   agreement(judged)     the reader's grade beside that of the photograph, as AtlasDeck's judge returns them
//   region(judged)        whether the mark hit, and how often one of its size would hit by chance
//   marks(result)         the same of all marks, as AtlasDeck's result returns them
"use strict";
window.AtlasQuizWords = (deck, { count, percent, list, grade: gradeOf }) => {
  const stageOf = new Map(deck.stages.map((stage) => [stage.number, stage]));
  const grade = (value) => gradeOf(stageOf.get(value));
  const kinds = (all) => list(all.filter(Boolean));

  const PLACES = [ // by rows
    [gettext("upper left"), gettext("top"), gettext("upper right")],
    [gettext("left"), gettext("centre"), gettext("right")],
    [gettext("lower left"), gettext("bottom"), gettext("lower right")],
  ];
  const third = (share) => (share < 0.4 ? 0 : share > 0.6 ? 2 : 1);
  const place = ({ x, y }) => PLACES[third(y)][third(x)];

  const agreement = ({ answer, own }) => {
    const off = own.grade - answer.grade, apart = Math.abs(off);
    const both = { own: grade(own.grade), human: grade(answer.grade) };
    if (!off) return gettext("You agree with the grade of this photograph: %(human)s.", both);
    return off > 0
      ? ngettext("Your grade: %(own)s. Grade of this photograph: %(human)s. Yours is %(n)s grade too severe.", "Your grade: %(own)s. Grade of this photograph: %(human)s. Yours is %(n)s grades too severe.", apart, both)
      : ngettext("Your grade: %(own)s. Grade of this photograph: %(human)s. Yours is %(n)s grade too mild.", "Your grade: %(own)s. Grade of this photograph: %(human)s. Yours is %(n)s grades too mild.", apart, both);
  };

  const hit = ({ hit: yes, kinds: touched, target }) => {
    if (target.kind !== "lesions") {
      return yes
        ? gettext("Your mark touches one of the strongest places of the map. Nobody outlined lesions in this photograph.")
        : gettext("Your mark does not touch the strongest places of the map. Nobody outlined lesions in this photograph.");
    }
    if (!yes) return gettext("Your mark does not touch an outlined lesion.");
    return touched.length ? gettext("Your mark touches an outlined lesion: %(kinds)s.", { kinds: kinds(touched) }) : gettext("Your mark touches an outlined lesion.");
  };
  const region = (judged) => {
    const { answer, own, target, chance } = judged;
    if (!target) {
      return answer.grade === deck.scale.lowest
        ? gettext("In a photograph of the lowest grade there is no place to find, so it does not count here.")
        : gettext("Nothing shows where to look in this photograph, so it does not count here.");
    }
    if (!own.mark) {
      return target.kind === "lesions"
        ? gettext("You marked nothing. The outlines show where the lesions lie.")
        : gettext("You marked nothing. The map shows what drove the score.");
    }
    return [hit(judged), gettext("A mark of this size, placed at random on the image area, would hit %(share)s of the time.", { share: percent(chance) })].join(" ");
  };

  const marks = ({ marks: n, onLesions, hit: share, chance }) => {
    if (!n) return gettext("none of your marks can be judged");
    const values = { n: count(n), lesions: count(onLesions), places: count(n - onLesions), chance: percent(chance), share: percent(share) };
    const judged = onLesions === n
      ? ngettext("of your %(n)s mark that can be judged touches an outlined lesion.", "of your %(n)s marks that can be judged touch an outlined lesion.", n, values)
      : onLesions
        ? gettext("of your %(n)s marks that can be judged touch an outlined lesion (%(lesions)s photographs) or, where none is outlined, the strongest places of the map (%(places)s photographs).", values)
        : ngettext("of your %(n)s mark that can be judged touches the strongest places of the map. No lesions were outlined.", "of your %(n)s marks that can be judged touch the strongest places of the map. No lesions were outlined.", n, values);
    return [judged, gettext("Marks of these sizes, placed at random on the image area, would hit %(chance)s of the time.", values)].join(" ");
  };

  return { grade, kinds, place, agreement, region, marks };
};
