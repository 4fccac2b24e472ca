"""The words of the atlas for a first-year resident: lesions and stages of diabetic retinopathy, and what the pages speak of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from atlas.records import DIABETIC_RETINOPATHY, Scale
from atlas.site.book import Book
from atlas.site.views import PlateView


@dataclass(frozen=True)
class Entry:
    """One word. `key` is its place on the page; the first sentence of `words` stands for itself.

    also : other names.   look : how to recognise it, and what it is taken for.   stage : place of a stage in the scale.
    kinds : names of outlined lesions that show it.
    """

    key: str
    name: str
    words: str
    also: str = ""
    look: str = ""
    stage: int | None = None
    kinds: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """The first sentence."""
        return self.words.split(". ")[0].rstrip(".") + "."


STAGES = (
    Entry(
        "normal",
        "No apparent retinopathy",
        "No lesion of diabetic retinopathy is seen. This does not say that there is none: small lesions escape a photograph, and "
        "the edge of the retina lies outside it.",
        look="Search along the arcades and temporal to the fovea before you call a retina normal.",
        stage=0,
    ),
    Entry(
        "mild",
        "Mild non-proliferative retinopathy",
        "Microaneurysms, and nothing else. They are the first lesions that can be seen.",
        look="One small, round, sharp red dot is enough. As soon as there is a larger haemorrhage, a hard exudate or a cotton "
        "wool spot, the stage is moderate.",
        stage=1,
    ),
    Entry(
        "moderate",
        "Moderate non-proliferative retinopathy",
        "More than microaneurysms, but less than severe retinopathy. Most often that means some haemorrhages, with or without "
        "hard exudates and cotton wool spots.",
        look="The widest stage. Ask what keeps it from being severe: count haemorrhages quadrant by quadrant and follow the "
        "veins.",
        stage=2,
    ),
    Entry(
        "severe",
        "Severe non-proliferative retinopathy",
        "So many signs of closed capillaries that new vessels are to be expected; any one part of the 4-2-1 rule is enough. "
        "There are no new vessels yet. Without treatment, about half of such eyes became proliferative within a year in the "
        "ETDRS.",
        look="No single lesion looks dramatic. Severity lies in how far the lesions spread.",
        stage=3,
    ),
    Entry(
        "proliferative",
        "Proliferative retinopathy",
        "New vessels have grown, or have bled before the retina or into the vitreous. They are the retina's answer to a lack of "
        "oxygen, and they threaten sight by bleeding and by pulling the retina off.",
        look="Look at the disc first, then along the arcades. One loop of new vessels makes the stage, however calm the rest.",
        stage=4,
    ),
    Entry(
        "four-two-one",
        "4-2-1 rule",
        "A way to remember severe retinopathy: any one of many haemorrhages in 4 quadrants, venous beading in 2, or prominent "
        "IRMA in 1. The international scale counts more than 20 haemorrhages in a quadrant as many. The rule comes from the "
        "ETDRS.",
        also="ETDRS rule",
    ),
    Entry(
        "referable",
        "Referable",
        "Severe enough that a patient would be sent to an ophthalmologist; in this atlas, a human grade of moderate or above. "
        "Screening programmes also refer for macular oedema, which this atlas does not grade.",
    ),
)
"""Stages after the International Clinical Diabetic Retinopathy scale, in our own words."""

LESIONS = (
    Entry(
        "microaneurysm",
        "Microaneurysm",
        "A small pouch in the wall of a capillary, where the cells that support it have died. It may leak, and it may close "
        "again within months.",
        look="A round red dot with a sharp edge, narrower than a vein at the disc, often temporal to the fovea. A photograph "
        "cannot always tell it from a dot haemorrhage.",
        kinds=("microaneurysm", "microaneurysms"),
    ),
    Entry(
        "haemorrhage",
        "Dot and blot haemorrhage",
        "Blood in the middle layers of the retina, where the tissue is dense and keeps it in a small, round space.",
        also="intraretinal haemorrhage",
        look="Dark red. Dots are small and sharp, blots larger and with a softer edge. Many blots in every quadrant speak of "
        "wide closure of capillaries.",
        kinds=("haemorrhage", "haemorrhages", "hemorrhages"),
    ),
    Entry(
        "flame-haemorrhage",
        "Flame-shaped haemorrhage",
        "Blood in the layer of nerve fibres, which it follows.",
        look="A red streak or feather along the fibres, near the disc above all. Many of them should make you ask for the blood "
        "pressure, or for a closed vein.",
    ),
    Entry(
        "hard-exudate",
        "Hard exudate",
        "Fat and protein left in the retina where a leaking vessel let them out and only the water was taken back.",
        look="Yellow-white, waxy, sharp at the edge; in clusters, streaks, or rings round the leak. Near the fovea it hints at "
        "macular oedema. Drusen are duller, rounder, and come without haemorrhages.",
        kinds=("hard exudate", "hard exudates"),
    ),
    Entry(
        "cotton-wool-spot",
        "Cotton wool spot",
        "Nerve fibres that have swollen because a small arteriole closed. It is not an exudate, for nothing has leaked, and it "
        "fades within weeks to months.",
        also="soft exudate",
        look="Pale, grey-white, with a feathery edge; it lies on top and hides the vessels beneath it.",
        kinds=("soft exudate", "soft exudates", "cotton wool spot", "cotton-wool spot"),
    ),
    Entry(
        "venous-beading",
        "Venous beading",
        "Veins whose width rises and falls along their course. It is a sign of wide closure of capillaries, and one of the "
        "strongest warnings of proliferative disease.",
        look="A vein like a string of beads or sausages. Follow each large vein from the disc outwards, and compare with its "
        "arteriole, which stays even.",
        kinds=("venous beading",),
    ),
    Entry(
        "irma",
        "IRMA",
        "Intraretinal microvascular abnormality: widened, winding capillaries within the retina that skirt an area without flow.",
        look="Fine, angular, flat, and it does not cross over the larger vessels. New vessels do, and they lie on the surface, "
        "leak and form loops and wheels.",
        kinds=("intraretinal microvascular abnormality", "irma"),
    ),
    Entry(
        "new-vessels",
        "New vessels",
        "Vessels that grow from the retina or the disc onto its surface and into the vitreous. They have weak walls and bleed, "
        "and the scar that comes with them can pull the retina off.",
        also="neovascularisation; NVD at or within one disc diameter of the disc, NVE elsewhere",
        look="A fine net, loops or a wheel that crosses over the vessels beneath. Easily missed at the disc.",
        kinds=("new vessels", "neovascularisation", "neovascularization"),
    ),
    Entry(
        "preretinal-haemorrhage",
        "Preretinal and vitreous haemorrhage",
        "Blood from new vessels between retina and vitreous, or within the vitreous.",
        look="Before the retina it settles like a boat with a level top, and hides every vessel. In the vitreous it is a red "
        "or grey veil that blurs the whole photograph, and can pass for poor focus.",
        kinds=("preretinal haemorrhage", "vitreous haemorrhage", "pre-retinal blood"),
    ),
    Entry(
        "fibrous-proliferation",
        "Fibrous proliferation",
        "The scar that grows with new vessels. It shrinks and can pull the retina off, which is called tractional detachment.",
        look="Grey-white sheets or bands, often along the arcades or from the disc, with vessels drawn towards them.",
    ),
    Entry(
        "macular-oedema",
        "Diabetic macular oedema",
        "Water in the centre of the retina, at any stage, and the most common reason for lost sight in diabetes. It is graded "
        "apart from the stage.",
        look="Thickness needs stereoscopic pictures or optical coherence tomography. One photograph shows a hint only: hard "
        "exudates within a disc diameter of the fovea.",
    ),
    Entry(
        "laser-scars",
        "Laser scars",
        "Marks of panretinal laser, given against new vessels. They say that the eye was treated, not that it is quiet.",
        look="Round, pale or dark spots in rows outside the arcades.",
    ),
    Entry(
        "landmarks",
        "Disc, macula, fovea, arcades",
        "The disc is where the nerve leaves the eye, on the side of the nose; the fovea is the centre of sharp sight, in the "
        "middle of the macula, on the side of the temple. The arcades are the large vessels that bend round the macula above "
        "and below.",
        look="The disc is bright and the fovea dark. A quadrant is a quarter of the retina: above or below, nose or temple.",
    ),
)

WORDS = (
    Entry(
        "plate",
        "Plate",
        "A photograph of this atlas. Its number is its place in the order of scores, mildest first, so numbers can change when "
        "the atlas is built again; its id and its address do not.",
    ),
    Entry(
        "human-grade",
        "Human grade",
        "The stage that a person gave the photograph before this atlas was made. People disagree with each other, most often "
        "by one grade.",
    ),
    Entry(
        "severity-score",
        "Severity score",
        "The number that the network gives a photograph, on the same scale as the grades but with every value between. It says "
        "where a photograph stands among the others. It is not a grade, and not a chance of disease.",
        also="score",
    ),
    Entry(
        "disagreement",
        "Disagreement and flag",
        "How far the score, read as a grade by its place in the order, lies from the human grade. A flag marks 1.5 grades or "
        "more: a plate to look at twice, not a mistake by itself.",
    ),
    Entry("strip", "Strip", "All plates side by side, from the lowest score to the highest."),
    Entry(
        "scorer",
        "Scorer",
        "The network that gives the scores: a trunk that turns a photograph into a grid of features, and a small head, trained "
        "on graded photographs, that turns the grid into one number.",
    ),
    Entry(
        "out-of-fold",
        "Out of fold",
        "Scored by a head that never learned from this patient. The patients are dealt into parts; each part is scored by a head "
        "trained on the others. Scores that are not out of fold look better than they are.",
    ),
    Entry(
        "saliency",
        "Saliency map",
        "A picture of which places drove a score, laid over the photograph: cyan where a place raised it, violet where it "
        "lowered it. It explains the network, not the disease.",
        also="heat map",
    ),
    Entry(
        "cell",
        "Cell and receptive field",
        "A saliency map is a grid of cells, one for each square of the photograph. A cell has seen more than its square, for the "
        "network looks at the surroundings too; all that it has seen is its receptive field.",
    ),
    Entry(
        "occlusion",
        "Occlusion",
        "Leaving a place out and computing the score again. The fall is how much the place mattered. Here it is exact: the "
        "place is taken out of the network's sum, nothing is painted over.",
    ),
    Entry(
        "drop",
        "Drop",
        "How far the score falls, in grades, when a place is left out. A drop of 0.5 is half a grade; a negative drop means "
        "that the place made the photograph look milder.",
    ),
    Entry(
        "grad-cam",
        "Grad-CAM",
        "Another way to a saliency map: each place is credited with the part of the score that the network's gradient gives it. "
        "Where Grad-CAM and occlusion differ, believe neither without looking.",
    ),
    Entry(
        "patch",
        "Patch",
        "A small window of a photograph whose removal lowers the score more than almost all others do.",
        also="salient patch",
    ),
    Entry(
        "cluster",
        "Cluster",
        "Patches that look alike to the network, put together without telling it any name of a lesion. A cluster may be one "
        "lesion, several, or a trick of the light. Typical patches lie in its middle, borderline ones almost as near to another.",
    ),
    Entry(
        "t-sne",
        "t-SNE and UMAP",
        "Ways to lay many patches out in a plane so that those alike fall close together. Neighbours mean something; the "
        "distance between far groups, and their size, mean little.",
        also="patch map",
    ),
    Entry(
        "deletion-curve",
        "Deletion curve",
        "How the score falls as places are left out, the strongest of the map first. If the map is true to the network, it falls "
        "sooner than with places left out at random. Put in instead of left out, the curve is called insertion.",
    ),
    Entry(
        "trust-badge",
        "Trust badge",
        "One word for how true a map is to the network, read from its deletion curve. It does not say whether the network is "
        "right.",
    ),
    Entry(
        "scrambled",
        "Scrambled weights",
        "A check of a saliency method: with the network's numbers shuffled, the map must change. One that stays the same draws "
        "the photograph, not the reasons.",
        also="sanity check",
    ),
    Entry(
        "hit-rate",
        "Hit rate",
        "How often a marked place touches a lesion that an expert outlined. In the quiz it is your mark; in tests of the maps, "
        "the strongest place of a map. Compare it with a random place.",
        also="pointing game",
    ),
    Entry(
        "sensitivity",
        "Sensitivity and specificity",
        "Of those who have the finding, the share that is called; of those who do not, the share that is left alone. Each can be "
        "raised at the other's cost by moving the threshold.",
    ),
    Entry(
        "auc",
        "AUC",
        "How often a photograph with the finding gets a higher score than one without; 1 is always, 0.5 is chance. It is the "
        "area under the ROC curve, which draws sensitivity against false alarms for every threshold.",
        also="area under the ROC curve",
    ),
    Entry(
        "kappa",
        "Quadratic kappa",
        "Agreement between two graders beyond what chance would give, where a miss by two grades weighs four times one by one; "
        "1 is perfect, 0 is chance, and below 0 is worse than chance.",
    ),
    Entry(
        "confusion-matrix",
        "Confusion matrix",
        "A table of what was said against what was graded. The diagonal is agreement; the farther from it, the worse the miss.",
    ),
    Entry(
        "rank-correlation",
        "Rank correlation",
        "Whether two orders agree, whatever the values: 1 is the same order, 0 none, −1 the reverse.",
        also="Spearman's rho",
    ),
    Entry(
        "calibration",
        "Calibration",
        "Whether scores mean what they say: of photographs scored about 2, is the mean grade about 2?",
    ),
    Entry(
        "interval",
        "95 % interval",
        "Where a figure would probably lie had other patients been drawn. It is found by drawing patients again and again from "
        "those at hand; a wide one means that few stand behind the figure.",
    ),
    Entry("cohort", "Cohort", "All photographs of this atlas, with which a cluster or a selection is compared."),
)

SOURCES = (
    "Wilkinson CP, Ferris FL, Klein RE, and others. Proposed international clinical diabetic retinopathy and diabetic macular "
    "edema disease severity scales. Ophthalmology 2003; 110: 1677–1682. (Stages.)",
    "Early Treatment Diabetic Retinopathy Study Research Group. Grading diabetic retinopathy from stereoscopic color fundus "
    "photographs: an extension of the modified Airlie House classification. ETDRS report 10. Ophthalmology 1991; 98: 786–806. "
    "(Lesions.)",
    "Early Treatment Diabetic Retinopathy Study Research Group. Fundus photographic risk factors for progression of diabetic "
    "retinopathy. ETDRS report 12. Ophthalmology 1991; 98: 823–833. (4-2-1 rule.)",
)


def known(scale: Scale) -> Mapping[str, Entry]:
    """Return the entries that apply to a scale, by key: those of the disease only where it is diabetic retinopathy."""
    entries = (*STAGES, *LESIONS, *WORDS) if about_retinopathy(scale) else WORDS
    return {entry.key: entry for entry in entries}


def about_retinopathy(scale: Scale) -> bool:
    return scale.disease.strip().lower() == DIABETIC_RETINOPATHY.disease


def same_stages(scale: Scale) -> bool:
    """Whether the scale's grades are the five of the international scale."""
    return about_retinopathy(scale) and scale.names == DIABETIC_RETINOPATHY.names


def glossary_pages(book: Book) -> Iterator[tuple[str, dict[str, Any]]]:
    scale = book.atlas.dataset.scale
    disease = about_retinopathy(scale)
    yield (
        "glossary.html",
        {
            "stages": [(entry, _typical(book, entry)) for entry in STAGES] if disease else [],
            "lesions": [(entry, _outlined(book, entry)) for entry in LESIONS] if disease else [],
            "words": WORDS,
            "sources": SOURCES if disease else (),
        },
    )


def _typical(book: Book, entry: Entry) -> PlateView | None:
    """A plate that shows the stage, where the atlas' grades are those of the international scale."""
    if entry.stage is None or not same_stages(book.atlas.dataset.scale):
        return None
    return book.typical_of(book.grades[entry.stage])


def _outlined(book: Book, entry: Entry) -> tuple[PlateView, int] | None:
    """The plate with most of an outlined lesion, and how many plates have it."""
    found = [
        (sum(len(cells) for kind, cells in lesions.items() if kind.lower() in entry.kinds), image_id)
        for image_id, lesions in sorted(book.atlas.lesions.items())
        if image_id in book.plate
    ]
    found = [(size, image_id) for size, image_id in found if size]
    return (book.plate[max(found, key=lambda pair: pair[0])[1]], len(found)) if found else None
