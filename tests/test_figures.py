"""Figures of an evaluation: the drawings, static and for Plotly, their texts, and the table of all numbers."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest
from drawn_atlas import drawn_atlas

from atlas.agreement.evaluation import evaluate, fit_reading, label_distribution
from atlas.records import Evaluation, Scale
from atlas.site.colours import severity_colours
from atlas.site.drawing import drawing
from atlas.site.figures import Figure, base_name, figures, measures
from atlas.site.methods import FIGURES
from atlas.site.render import render_site
from atlas.site.tables import write_tables

FIVE = Scale()
FOUR = Scale(1, ("clear", "<b>hazy</b>", "cloudy & dim", "opaque</script>"), None, "cataract")


@cache
def measured(scale: Scale = FIVE, *, whole: bool = True, count: int = 300) -> Evaluation:
    """Scores that follow the grades with some noise; with a classifier, a reading, labels and doubts where `whole`."""
    rng = np.random.default_rng(3)
    grades = rng.integers(scale.lowest, scale.highest + 1, count)
    severity = np.clip(grades + rng.normal(0, 0.7, count), scale.lowest, scale.highest)
    if not whole:
        return evaluate(severity, grades, scale)
    probabilities = rng.dirichlet(np.ones(len(scale.grades)), count) / 2 + np.eye(len(scale.grades))[grades - scale.lowest] / 2
    return evaluate(
        severity,
        grades,
        scale,
        [f"p{k // 2}" for k in range(count)],
        probabilities=probabilities,
        reading=fit_reading(severity, grades, scale),
        labels=label_distribution(grades, rng.uniform(0, 1, count), scale),
        unsure=(rng.random(count) < 0.2).tolist(),
    )


def drawn(evaluation: Evaluation, scale: Scale = FIVE) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures(evaluation, scale, severity_colours(len(scale.grades)))}


def spec(panel: Any, colour: str = "#123456") -> dict[str, Any]:
    """Read a panel's JSON as the page's script does, each theme colour replaced."""
    found: dict[str, Any] = json.loads(
        str(panel.json),
        object_hook=lambda node: {k: colour if isinstance(v, str) and v.startswith("--") else v for k, v in node.items()},
    )
    for trace in found["data"]:
        if "colorscale" in trace:
            trace["colorscale"] = [[0, "#ffffff"], [1, colour]]
    return found


@pytest.mark.parametrize("scale", [FIVE, FOUR], ids=["five", "four"])
def test_plotly_knows_every_property(scale: Scale) -> None:
    """`graph_objects` refuses unknown properties and values, which plotly.js would silently ignore."""
    found = drawn(measured(scale), scale)
    assert list(found) == ["labels", "results", "reading", "roc", "calibration"]
    for figure in found.values():
        for panel in figure.panels:
            assert go.Figure(spec(panel)).data


@pytest.mark.parametrize("scale", [FIVE, FOUR], ids=["five", "four"])
def test_each_figure_has_one_sentence_to_read_it_by_and_its_numbers(scale: Scale) -> None:
    for figure in drawn(measured(scale), scale).values():
        assert figure.caption.endswith(".")
        assert ". " not in figure.caption
        assert figure.tables
        for table in figure.tables:
            assert table.rows
            assert {len(row) for row in table.rows} == {len(table.columns)}
        for panel in figure.panels:
            assert panel.label


def svg(panel: Any) -> Any:
    return ElementTree.fromstring(str(panel.svg))


def places(elements: Any, name: str) -> list[float]:
    return [float(one.get(name).rstrip("%")) for one in elements]


def texts(root: Any) -> list[str]:
    return [one.text for one in root.iter("text")]


@pytest.mark.parametrize("scale", [FIVE, FOUR], ids=["five", "four"])
def test_bars_are_as_long_as_their_shares(scale: Scale) -> None:
    evaluation = measured(scale)
    (panel,) = drawn(evaluation, scale)["labels"].panels
    root = svg(panel)
    bars = [one for one in root.iter("rect") if one.get("width").endswith("%")]
    shares = [row.before for row in evaluation.labels] + [row.after for row in evaluation.labels]
    lengths = places(bars, "width")
    assert lengths == pytest.approx([100 * share / (1.25 * max(shares)) for share in shares], abs=0.06)
    tops = places(bars, "y")
    count = len(evaluation.labels)
    assert tops[:count] == sorted(tops[:count]), "the lowest grade is on top"
    assert all(before < after for before, after in zip(tops[:count], tops[count:], strict=True))
    assert {scale.name(grade) for grade in scale.grades} <= {text.split(" ", 1)[1] for text in texts(root) if " " in text}


def test_the_cells_of_a_matrix_lie_in_its_rows_and_columns() -> None:
    evaluation = evaluate([0.1, 2.0, 2.2, 1.9], [0, 0, 3, 3], FIVE, probabilities=np.eye(5)[[0, 2, 2, 2]])
    (panel, *_) = drawn(evaluation)["results"].panels
    root = svg(panel)
    numbers = {
        (one.get("x"), one.get("y")): one.text for one in root.iter("text") if one.get("y") != "100%" and one.get("x") != "-8"
    }
    numbers.pop((None, None))  # the title of the rows
    assert numbers == {("10%", "10%"): "1", ("50%", "10%"): "1", ("50%", "70%"): "2"}
    frames = [one for one in root.iter("rect") if "dasharray" in one.get("style")]
    assert [(one.get("x"), one.get("y"), one.get("width")) for one in frames] == [("40.8%", "0.8%", "18.4%")]
    grounds = [one.get("style").partition(";")[0] for one in root.iter("rect") if "color-mix" in one.get("style")]
    strengths = [int(ground.split(" ")[2].partition("%")[0]) for ground in grounds]
    assert sorted(strengths)[-3:] == [24, 24, 48]  # halves of the first row, all of the fourth
    assert sum(strengths) == 96


def test_curves_pass_through_their_points() -> None:
    evaluation = measured()
    found = {roc.grade: roc for roc in evaluation.rocs if roc.method == "score"}
    for panel, grade in zip(drawn(evaluation)["roc"].panels, [*FIVE.grades, None], strict=True):
        curve = next(one for one in svg(panel).iter("polyline") if "--accent" in one.get("style"))
        points = np.array([[int(n) for n in pair.split(",")] for pair in curve.get("points").split()], float)
        assert np.all(np.diff(points[:, 0]) >= 0)
        assert np.all(np.diff(points[:, 1]) <= 0), "places are counted from the top"
        shares = 1 - points[:, 1] / 1000 * 1.04 + 0.02  # the axes run from -0.02 to 1.02
        across = points[:, 0] / 1000 * 1.04 - 0.02
        assert np.trapezoid(shares, across) == pytest.approx(found[grade].auc, abs=0.002)


def test_the_dots_of_calibration_lie_at_score_and_grade() -> None:
    evaluation = measured()
    (panel,) = drawn(evaluation)["calibration"].panels
    circles = list(svg(panel).iter("circle"))
    low, span = -0.1, 4.2
    bins = evaluation.calibration
    assert places(circles, "cx") == pytest.approx([100 * (one.mean_score - low) / span for one in bins], abs=0.06)
    assert places(circles, "cy") == pytest.approx([100 * (1 - (one.mean_grade - low) / span) for one in bins], abs=0.06)
    sizes = [float(one.get("r")) for one in circles]
    assert sizes.index(max(sizes)) == int(np.argmax([one.count for one in bins]))


@pytest.mark.parametrize(
    "part", [{"data": [{"type": "pie", "x": [1], "y": [1]}]}, {"layout": {"shapes": [{"type": "circle"}]}}], ids=str
)
def test_what_cannot_be_drawn_is_an_error(part: dict[str, Any]) -> None:
    (panel,) = drawn(measured())["calibration"].panels
    spec = {"data": part.get("data", panel.spec["data"]), "layout": {**panel.spec["layout"], **part.get("layout", {})}}
    with pytest.raises(ValueError, match="no drawing of"):
        drawing(spec)


def test_what_was_not_measured_is_not_drawn() -> None:
    bare = drawn(measured(whole=False))
    assert list(bare) == ["results", "reading", "roc", "calibration"]
    assert len(bare["results"].panels) == 1
    assert "classifier" not in " ".join(figure.caption for figure in bare.values())
    assert list(drawn(evaluate([1.0], [1], FIVE))) == ["reading", "calibration"]
    assert drawn(evaluate([], [], FIVE)) == {}
    old = Evaluation({"spearman": 0.5}, ({"grade": 0.0, "count": 1.0},), 1)
    assert drawn(old) == {}


def test_a_confusion_matrix_shows_the_counts_and_frames_skipped_stages() -> None:
    # One grade 0 read 0, one grade 0 read 2, two grade 3 read 2: of the three cells one is two grades off.
    evaluation = evaluate([0.1, 2.0, 2.2, 1.9], [0, 0, 3, 3], FIVE, probabilities=np.eye(5)[[0, 2, 2, 2]])
    (panel, *_) = drawn(evaluation)["results"].panels
    heat, layout = spec(panel)["data"][0], spec(panel)["layout"]
    assert heat["text"][0] == ["1", "", "1", "", ""]
    assert heat["text"][3] == ["", "", "2", "", ""]
    assert heat["z"][3] == [0, 0, 100, 0, 0]
    assert heat["z"][1] == [0] * 5
    (frame,) = layout["shapes"]
    assert (frame["x0"] + frame["x1"], frame["y0"] + frame["y1"]) == (4, 0)
    assert "Two or more grades off: 1." in panel.label


def test_names_cannot_leave_the_script_or_become_markup() -> None:
    for figure in drawn(measured(FOUR), FOUR).values():
        for panel in figure.panels:
            assert "<" not in panel.json
            assert "hazy" not in "".join(one.tag for one in svg(panel).iter())
            labels = json.dumps(spec(panel), ensure_ascii=False)
            assert "<b>" not in labels
            assert "</script>" not in labels
    rows = drawn(measured(FOUR), FOUR)["calibration"].tables[0].rows
    assert rows
    names = [row[0] for row in drawn(measured(FOUR), FOUR)["labels"].tables[0].rows]
    assert names[1] == "2 <b>hazy</b>"  # escaped by the template, where it stands as text


def test_the_same_evaluation_gives_the_same_drawing() -> None:
    made = measured(), measured.__wrapped__()
    first, again = ([str(panel.json) + panel.svg for figure in drawn(one).values() for panel in figure.panels] for one in made)
    assert first == again


def test_each_figure_of_an_evaluation_has_its_meaning_and_its_cell() -> None:
    evaluation = measured()
    assert measures(evaluation)[0] == ("score", "classifier")
    methods, rows = measures(evaluation, hidden=())
    assert methods == ("score", "score by ranges", "classifier")
    assert {row.name for row in rows} == set(FIGURES)
    cells = {cell for row in rows for cell in row.cells if cell is not None}
    assert {value for value, _ in cells} == set(evaluation.figures.values())
    assert measures(measured(whole=False))[0] == ("score",)
    assert base_name("quadratic_kappa_ranges") == ("quadratic_kappa", "_ranges")
    assert base_name("auc_referable") == ("auc_referable", "")


def test_the_methods_page_shows_the_cohort_and_the_scorers_own_test(tmp_path: Path) -> None:
    atlas = dataclasses.replace(drawn_atlas(tmp_path / "pictures", count=40), scorer_evaluation=measured())
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    page = (tmp_path / "out" / "methods.html").read_text("utf-8")
    assert (tmp_path / "out" / "js" / "plotly.min.js").is_file()
    for prefix, names in (("agreement", ("results", "calibration")), ("scorer-test", ("labels", "results", "roc"))):
        for name in names:
            assert f'id="{prefix}-{name}"' in page
    assert 'id="agreement-labels"' not in page
    assert re.search(r"set aside and never used for learning: \d+ photographs of 150 patients", page)
    assert "it was chosen on one half of the patients and judged on the other half, both ways" in page
    assert "It was chosen beforehand, on the photographs with which the scorer was trained or selected" in page
    assert "score by ranges" not in page.casefold()
    value = measured().figures["quadratic_kappa_classifier"]
    assert f"{value:.3f}" in page


def test_the_table_holds_every_number(tmp_path: Path) -> None:
    evaluation = measured()
    atlas = dataclasses.replace(drawn_atlas(tmp_path / "pictures"), scorer_evaluation=evaluation)
    write_tables(atlas, tmp_path / "tables")
    with (tmp_path / "tables" / "evaluation.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["cohort"] for row in rows} == {"atlas", "scorer"}
    assert len({(row["cohort"], row["figure"], row["method"], row["grade"]) for row in rows}) == len(rows)
    found = {(row["figure"], row["method"], row["grade"]): row for row in rows if row["cohort"] == "scorer"}
    kappa = found["quadratic_kappa", "nearest", ""]
    assert float(kappa["value"]) == pytest.approx(evaluation.figures["quadratic_kappa"], abs=1e-4)
    ends = tuple(float(kappa[end]) for end in ("low", "high"))
    assert ends == pytest.approx(evaluation.intervals["quadratic_kappa"], abs=1e-4)
    assert {row["method"] for row in rows} == {"score", "nearest", "classifier", "threshold", "operating", "training"}
    for method in ("nearest", "classifier"):
        confusion = evaluation.confusions[method]
        cells = [[int(found[f"read_as_{j}", method, str(i)]["count"]) for j in FIVE.grades] for i in FIVE.grades]
        assert cells == confusion.counts.tolist()
        assert float(found["skipped_photographs", method, ""]["value"]) == confusion.skipped
    for roc in evaluation.rocs:
        if roc.grade is not None:
            assert float(found["auc_one_vs_all", roc.method, str(roc.grade)]["value"]) == pytest.approx(roc.auc, abs=1e-4)
    for step in evaluation.calibration:
        row = found[f"calibration_mean_grade_{step.low:g}_to_{step.high:g}", "score", ""]
        assert (int(row["count"]), float(row["value"])) == (step.count, pytest.approx(step.mean_grade, abs=1e-4))
    for one in evaluation.detections:
        name = "recall_referable" if one.grade is None else "recall"
        row = found[name, one.method, "" if one.grade is None else str(one.grade)]
        assert int(row["count"]) == one.human
        if math.isfinite(one.figures["recall"]):
            assert float(row["value"]) == pytest.approx(one.both / one.human, abs=1e-4)
    assert float(found["referable_from", "operating", ""]["value"]) == pytest.approx(evaluation.operating, abs=1e-4)
    for label in evaluation.labels:
        assert float(found["label_share_after", "training", str(label.grade)]["value"]) == pytest.approx(label.after, abs=1e-4)
    assert float(found["sd", "score", "2"]["value"]) == pytest.approx(evaluation.by_grade[2]["sd"], abs=1e-4)
    bare = [row for row in rows if row["cohort"] == "atlas" and row["method"] == "classifier"]
    assert bare == []
    assert all(row["value"] == "" or math.isfinite(float(row["value"])) for row in rows)
