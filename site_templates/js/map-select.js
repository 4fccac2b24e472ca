// The patches that are selected on the map: their pictures and links, the grades of their photographs, a file of them.
//
// Atlas.patchWords(points) returns the sentences and names that the map and its gallery share.
// Atlas.mapGallery({ points, words }) fills the section #selection and returns
//   show(selection)  of AtlasPoints.from, or null for none; gives the selection its members in order, largest drop first
"use strict";
Atlas.patchWords = (points) => ({
  facts: (i) => {
    const drop = points.drop[i] / 1000;
    const kind = points.kind(i);
    const values = { plate: Atlas.count(points.plate[i] + 1), drop: Atlas.number(Math.abs(drop)) };
    if (!kind) {
      if (!Atlas.seen(drop)) return gettext("Patch of plate %(plate)s. Hiding it hardly changes the score.", values);
      return drop > 0
        ? gettext("Patch of plate %(plate)s. Hiding it lowers the score by %(drop)s.", values)
        : gettext("Patch of plate %(plate)s. Hiding it raises the score by %(drop)s.", values);
    }
    values.kind = Atlas.sentence(kind.name);
    if (!Atlas.seen(drop)) return gettext("%(kind)s, plate %(plate)s. Hiding it hardly changes the score.", values);
    return drop > 0
      ? gettext("%(kind)s, plate %(plate)s. Hiding it lowers the score by %(drop)s.", values)
      : gettext("%(kind)s, plate %(plate)s. Hiding it raises the score by %(drop)s.", values);
  },
});

Atlas.mapGallery = ({ points, words }) => {
  const { el, signed, count, share } = Atlas;
  const { images } = points;
  const get = (id) => document.getElementById(id);
  const PAGE = 60; // pictures that the gallery adds at a time
  let selection = null;
  let listed = 0;

  // ---- grades, compared with all photographs ------------------------------------------------------------------------------------
  const sharesTable = (plates) => {
    const { counts, graded } = points.graded(plates);
    const cohort = points.graded(images.id.keys());
    if (!graded || !cohort.graded) return el("p", {}, gettext("None of these photographs has a grade."));
    return el("table", { class: "shares" },
      el("caption", {}, ngettext("Grade of the %(n)s graded photograph in the selection, compared with all photographs.", "Grades of the %(n)s graded photographs in the selection, compared with all photographs. Each photograph counts once.", graded, { n: count(graded) })),
      el("thead", {}, el("tr", {}, [gettext("Grade"), gettext("Selection"), gettext("All photographs"), gettext("Comparison")].map((text) => el("th", { scope: "col" }, text)), el("td", { class: "bars" }))),
      el("tbody", {}, images.grades.map((grade) => {
        const here = counts.get(grade.number), there = cohort.counts.get(grade.number);
        return el("tr", {},
          el("th", { scope: "row" }, el("span", { class: "chip" }, el("i", { style: { background: grade.colour }, "aria-hidden": "true" }), points.named(grade))),
          el("td", {}, share(here, graded)), el("td", {}, share(there, cohort.graded)),
          el("td", { class: "words" }, points.compared(here, graded, there, cohort.graded)),
          el("td", { class: "bars", "aria-hidden": "true" }, el("b", { style: { width: `${100 * here / graded}%`, background: grade.colour } }), el("s", { style: { width: `${100 * there / cohort.graded}%` } })));
      })));
  };

  // ---- pictures ---------------------------------------------------------------------------------------------------------------
  const figure = (i) => {
    const grade = points.grade(points.plate[i]);
    return el("figure", { class: "patch", dataset: { pick: points.id(i), plate: points.plate[i] + 1 } },
      el("a", { href: Atlas.page(points.page(i)) }, el("img", { src: Atlas.asset(points.picture(i)), alt: words.facts(i), width: 128, height: 128, loading: "lazy" })),
      el("figcaption", {}, el("span", {}, signed(points.drop[i] / 1000)),
        grade && el("span", { class: "of", title: Atlas.graded(grade) }, el("i", { class: "dot", style: { background: grade.colour } }), String(grade.number))));
  };
  const more = () => { // returns the first link that was added
    const { ordered } = selection;
    const next = ordered.slice(listed, listed + PAGE);
    get("gallery").append(...next.map(figure));
    const first = get("gallery").children[listed]?.querySelector("a");
    listed += next.length;
    get("gallery-shown").textContent = ngettext("%(shown)s of %(n)s patch shown.", "%(shown)s of %(n)s patches shown, largest drop first.", ordered.length, { shown: count(listed), n: count(ordered.length) });
    get("gallery-more").hidden = listed >= ordered.length;
    return first;
  };
  get("gallery-more").addEventListener("click", () => more()?.focus());

  const show = (made) => {
    selection = made;
    get("selection").hidden = !made;
    get("unselected").hidden = Boolean(made);
    if (!made) return;
    const members = new Set(made.members);
    made.ordered = Array.from(points.byDrop).filter((i) => members.has(i));
    const plates = new Set(made.members.map((i) => points.plate[i]));
    get("selection-title").textContent = made.title;
    get("selection-count").textContent = gettext("Patches: %(patches)s. Photographs: %(photographs)s.", { patches: count(made.members.length), photographs: count(plates.size) });
    const own = made.key.startsWith("cluster:") ? Number(made.key.slice(8)) : 0;
    get("selection-page").hidden = !own;
    if (own) get("selection-page").href = Atlas.page(points.clusterPage(own));
    get("selection-shares").replaceChildren(made.members.length ? sharesTable(plates) : "");
    get("gallery").replaceChildren();
    listed = 0;
    more();
  };

  // ---- a file -----------------------------------------------------------------------------------------------------------------
  get("selection-csv").addEventListener("click", () => {
    const named = Boolean(images.name);
    const rows = selection.ordered.map((i) => {
      const plate = points.plate[i];
      return [points.id(i), images.id[plate], plate + 1, ...(named ? [images.name[plate]] : []), images.severity[plate], images.read[plate], images.grade[plate], ...(images.eye ? [images.eye[plate]] : []),
        ...(points.kinds.length ? [points.kind(i)?.key ?? ""] : []), points.cluster[i] || null, points.drop[i] / 1000, points.x[i], points.y[i]];
    });
    Atlas.csv(`patches-${selection.file}.csv`, [["patch_id", "image_id", "plate", ...(named ? ["name"] : []), "score", "read_as", "grade", ...(images.eye ? ["eye"] : []), ...(points.kinds.length ? ["kind"] : []), "cluster", "drop", "x", "y"], ...rows]);
  });

  return { show };
};
