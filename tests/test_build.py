"""The whole pipeline on small drawn cohorts: same bytes, resumption, privacy, other scales, missing grades, exit codes."""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import command
from PIL import Image
from pydantic import Field

from atlas import build_atlas, load_configuration, load_scorer, read_dataset, write_cohort
from atlas.config import Configuration
from atlas.errors import ConfigurationError, DatasetError, StoreError
from atlas.pipeline.build import BuildResult
from atlas.pipeline.evaluate import evaluate_scorer
from atlas.pipeline.sources import trained_source
from atlas.records import DIABETIC_RETINOPATHY
from atlas.resources import DEFAULT_LESION_NET, DEFAULT_SCORER, is_atlas, models_folder
from atlas.scorers.bundle import amend_bundle, shipped_scorers
from atlas.scorers.readouts import Head
from atlas.scorers.trunks import new_module
from atlas.training.splits import folds_by_patient

EYES = 24


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    write_cohort(EYES, folder, seed=5, size=160)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small trunk that learned nothing: what is tested here does not depend on what it sees."""
    file = tmp_path_factory.mktemp("weights") / "trunk.pth"
    torch.save(new_module("squeezenet1_1", seed=1).state_dict(), file)
    return file


@pytest.fixture(scope="module")
def settings(weights: Path) -> dict[str, Any]:
    return {
        "fit": True,
        "folds": 3,
        "trunk": "squeezenet1_1",
        "trunk_weights": str(weights),
        "size": 128,
        "clusters": 4,
        "patches": "occlusion",
        "lesion_net": "none",  # `found` has one
        "drop_threshold": 0.95,  # out of reach, so that the quantile steps in
        "drop_quantile": 0.9,
        "seed": 3,
    }


@pytest.fixture(scope="module")
def built(cohort: Path, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    folder = tmp_path_factory.mktemp("built")
    return build_atlas(
        load_configuration(
            images=cohort / "images",
            grades=cohort / "grades.csv",
            masks=cohort / "masks",
            out=folder / "site",
            store=folder / "store",
            workers=1,
            **settings,
        )
    )


@pytest.fixture(scope="module")
def with_net(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a build of few photographs in which a lesion net, which takes its time, looks for lesions."""
    return settings | {"lesion_net": DEFAULT_LESION_NET, "limit": 12, "folds": 2}


@pytest.fixture(scope="module")
def found(cohort: Path, with_net: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    folder = tmp_path_factory.mktemp("found")
    given: dict[str, Any] = {"images": cohort / "images", "grades": cohort / "grades.csv", "masks": cohort / "masks"}
    return build_atlas(load_configuration(**given, out=folder / "site", store=folder / "store", workers=1, **with_net))


def store_of(built: BuildResult) -> Path:
    return built.out.parent / "store"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def flags_of(settings: dict[str, Any]) -> list[str]:
    """Write settings as flags of the command line."""
    return [
        f"--{name.replace('_', '-')}={value}" if value is not True else f"--{name.replace('_', '-')}"
        for name, value in settings.items()
    ]


def process(*arguments: object, script: str = "from atlas.cli import main; main()") -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    words = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_every_photograph_has_its_page_and_its_row(built: BuildResult) -> None:
    table = rows(built.out / "tables" / "images.csv")
    assert len(table) == EYES
    assert {row["image_id"] for row in table} == set(built.atlas.dataset.image_ids)
    for row in table:
        assert (built.out / "images" / f"{row['image_id']}.html").is_file()
    severities = [float(row["severity"]) for row in table]
    assert severities == sorted(severities)
    assert {(row["out_of_fold"], row["unseen"]) for row in table} == {("1", "1")}
    assert not built.report.unreadable


def travelled(built: BuildResult, image_id: str) -> tuple[Head, np.ndarray, np.ndarray]:
    """The head that travels to a page, the sums of the whole photograph, (H,), and those of each cell, (h, w, H)."""
    text = (built.out / "cells" / f"{image_id}.js").read_text("utf-8")
    live = json.loads(text.split("]=", 1)[1].rstrip(";\n"))["live"]
    head = Head(np.zeros((1, 1, *live["shape"]), np.float32), np.zeros(1), np.array(live["weight"]), live["bias"])
    (part,) = live["parts"]
    places = np.frombuffer(base64.b64decode(part["sums"]), np.uint8).reshape(len(live["cells"]), -1, 3).astype(np.int32)
    values = (places[..., 0] | places[..., 1] << 8 | (places[..., 2] << 24) >> 8) * np.array(part["step"])
    sums = np.zeros((live["shape"][0] * live["shape"][1], values.shape[1]))
    sums[live["cells"]] = values
    return head, np.array(live["whole"]), sums.reshape(*live["shape"], -1)


def test_tables_agree_with_each_other_and_with_the_records(built: BuildResult) -> None:
    images = {row["image_id"]: row for row in rows(built.out / "tables" / "images.csv")}
    patches = rows(built.out / "tables" / "patches.csv")
    clusters = rows(built.out / "tables" / "clusters.csv")
    assert len(patches) == len(built.atlas.patches.patch_ids) > 0
    for image_id, row in images.items():
        assert int(row["patches"]) == sum(patch["image_id"] == image_id for patch in patches)
    for cluster in clusters:
        members = [patch for patch in patches if patch["cluster"] == cluster["cluster"]]
        assert int(cluster["patches"]) == len(members)
        shares = [int(count) for name, count in cluster.items() if name.startswith("patches_")]
        assert sum(shares) == len(members)
    assert min(float(patch["drop"]) for patch in patches) > 0
    chosen, scale = built.atlas.patches, built.atlas.dataset.scale
    for image_id, (row, column, window) in zip(chosen.image_ids, chosen.cells.tolist(), strict=True):
        head, whole, sums = travelled(built, image_id)
        hidden = sums[row : row + window, column : column + window].sum(axis=(0, 1))
        weight = scale.span / 4 * (float(head.logit(whole)) - float(head.logit(whole - hidden)))
        assert weight >= chosen.threshold - 1e-4


def test_each_page_can_score_its_photograph_anew(built: BuildResult) -> None:
    """The data for the page give the score, and the occlusion map by leaving out one cell at a time."""
    severity, scale = built.atlas.scores.by_id(), built.atlas.dataset.scale
    maps = {maps.method: maps for maps in (built.atlas.maps, *built.atlas.other_maps)}
    assert list(maps) == ["occlusion", "gradcam"]
    for row, image_id in enumerate(built.atlas.maps.image_ids):
        head, whole, sums = travelled(built, image_id)
        assert float(head.severity(whole, scale)) == pytest.approx(severity[image_id], abs=1e-4)
        weights = scale.span / 4 * (head.logit(whole) - head.logit(whole - sums))
        inside = maps["occlusion"].inside[row]
        np.testing.assert_allclose(weights[inside], maps["occlusion"].values[row][inside], atol=1e-3)
        assert np.flatnonzero(sums.any(axis=-1)).tolist() == np.flatnonzero(inside).tolist()


def test_each_photograph_has_six_others_that_look_most_alike(built: BuildResult) -> None:
    alike = built.atlas.alike
    assert alike is not None
    assert alike.image_ids == built.atlas.dataset.image_ids
    assert alike.others.shape == (EYES, 6)
    for row, others in enumerate(alike.others):
        assert row not in others
        assert len(set(others.tolist())) == 6
    assert (np.diff(alike.cosine, axis=1) <= 0).all()
    assert alike.cosine.max() <= 1.00001


def test_outlined_lesions_reach_the_site_with_their_kinds(built: BuildResult, cohort: Path) -> None:
    for image in built.atlas.dataset.images:
        kinds = {mask.stem.replace("-", " ") for mask in (cohort / "masks" / image.path.stem).glob("*.png")}
        lesions = built.atlas.lesions.get(image.image_id, {})
        assert {kind.replace("-", " ") for kind in lesions} == kinds
        outlines = built.out / "masks" / f"{image.image_id}.png"
        assert outlines.is_file() is bool(kinds)
        if kinds:
            with Image.open(outlines) as drawn, Image.open(built.out / "photographs" / f"{image.image_id}.jpg") as photograph:
                assert drawn.size == photograph.size
    assert built.atlas.lesions


def test_masks_that_fit_no_photograph_are_refused(cohort: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    given = {"images": cohort / "images", "grades": cohort / "grades.csv", "out": tmp_path / "out", "store": tmp_path / "store"}
    with pytest.raises(DatasetError, match="no mask of any of the 5 photographs"):
        build_atlas(load_configuration(**given, **settings, masks=tmp_path / "masks", limit=5))
    with pytest.raises(ConfigurationError, match="is not a folder"):
        build_atlas(load_configuration(**given, **settings, masks=tmp_path / "nowhere", limit=5))


def test_masks_of_one_name_go_to_their_own_photographs_and_a_bad_one_to_none(
    cohort: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Two folders of photographs with the same names, each with masks; one mask is damaged and one is of another size."""
    sources = sorted(path for path in (cohort / "masks").iterdir() if any(path.iterdir()))[:6]
    places = ["a/1", "b/1", "a/2", "b/2", "a/3", "b/4"]
    for source, place in zip(sources, places, strict=True):
        photograph = next((cohort / "images").glob(f"{source.name}.*"))
        (tmp_path / "images" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photograph, tmp_path / "images" / f"{place}{photograph.suffix}")
        shutil.copytree(source, tmp_path / "masks" / place)
    (tmp_path / "masks" / "b" / "4").rename(tmp_path / "masks" / "4")  # no other photograph has this name
    damaged, small = (sorted((tmp_path / "masks" / "a" / name).iterdir())[0] for name in ("2", "3"))
    damaged.write_bytes(damaged.read_bytes()[:60])
    Image.new("L", (5, 5), 255).save(small)
    given = {name: tmp_path / name for name in ("images", "masks", "out", "store")}
    result = build_atlas(load_configuration(**given, scorer="synthetic-alexnet", lesion_net="none", clusters=2))
    names = {i.path.relative_to(tmp_path / "images").with_suffix("").as_posix(): i.image_id for i in result.atlas.dataset.images}
    assert names.keys() == set(places)
    for source, place in zip(sources, places, strict=True):
        kinds = {file.stem.replace("-", " ") for file in source.iterdir()} if place not in ("a/2", "a/3") else set()
        assert {kind.replace("-", " ") for kind in result.atlas.lesions.get(names[place], {})} == kinds, place
    assert [[str(file) in line for file in (damaged, small)] for line in sorted(result.report.unreadable)] == [
        [True, False],
        [False, True],
    ]
    assert all("without outlines" in line for line in result.report.unreadable)


def test_a_replaced_threshold_is_said_and_recorded(built: BuildResult) -> None:
    run = json.loads((built.out / "run.json").read_text())
    assert run["settings"]["drop_threshold"] == 0.95
    assert run["settings"]["drop_quantile_used"] == 0.9
    assert run["settings"]["drop_threshold_used"] < 0.95
    assert any("quantile 0.9" in note for note in run["notes"])
    assert run["counts"]["images"] == EYES


def test_timings_are_kept_apart_from_the_site(built: BuildResult) -> None:
    assert "photographs" in built.timings
    assert not any("timing" in name for name in contents(built.out))


def test_the_same_input_gives_the_same_bytes_on_more_workers_and_a_warm_store(
    found: BuildResult, cohort: Path, with_net: dict[str, Any], tmp_path: Path
) -> None:
    assert any(one.marks for one in found.atlas.found.values())
    first = contents(found.out)
    # Elsewhere on disk, cold store, two workers: neither path nor order of work may show.
    shutil.copytree(cohort, tmp_path / "elsewhere")
    moved = {
        "images": tmp_path / "elsewhere" / "images",
        "grades": tmp_path / "elsewhere" / "grades.csv",
        "masks": tmp_path / "elsewhere" / "masks",
        "store": tmp_path / "store",
    }
    again = load_configuration(**moved, out=tmp_path / "again", workers=2, **with_net)
    build_atlas(again)
    assert contents(tmp_path / "again") == first
    build_atlas(again)
    assert contents(tmp_path / "again") == first


@pytest.mark.parametrize("atlas", ["built", "found"])
def test_no_name_or_path_of_a_file_reaches_the_site(atlas: str, request: pytest.FixtureRequest, cohort: Path) -> None:
    out = request.getfixturevalue(atlas).out
    names = [path.stem.encode() for path in (cohort / "images").iterdir()]
    assert len(names) == EYES
    for name, content in contents(out).items():
        if name.endswith(".jpg"):
            with Image.open(out / name) as picture:
                assert not picture.getexif()
                assert "comment" not in picture.info
        elif name.endswith((".html", ".js", ".csv", ".json", ".css")) and "plotly" not in name:
            assert str(cohort).encode() not in content, name
            for stem in names:
                assert re.search(rb"(?<![0-9a-f])" + stem + rb"(?![0-9a-f])", content) is None, (name, stem)


class Later(Configuration):
    """Settings that a later version may have."""

    clinical: Path | None = Field(None, description="Clinical table.")


def test_no_setting_that_holds_a_path_or_free_text_reaches_the_site(cohort: Path, weights: Path, tmp_path: Path) -> None:
    private = shutil.copytree(cohort, tmp_path / "MrsSurname")
    shutil.copy(weights, private / "w.pth")
    header, *lines = (private / "grades.csv").read_text().splitlines()
    assert "level" in header
    (private / "grades.csv").write_text("\n".join([header.replace("level", "GradeByDrSurname"), *lines]) + "\n")
    (private / "own.toml").write_text("")
    files = {"images": "images", "grades": "grades.csv", "masks": "masks", "curation": "own.toml", "clinical": "c.csv"}
    given: dict[str, Any] = {name: private / file for name, file in (files | {"out": "site", "store": "store"}).items()}
    given |= {"fit": True, "folds": 2, "trunk": "squeezenet1_1", "trunk_weights": str(private / "w.pth"), "size": 128}
    given |= {"image_column": "image", "grade_column": "GradeByDrSurname", "patient_column": "patient"}
    result = build_atlas(
        Later.model_validate(given | {"lesion_net": "none", "limit": 20, "clusters": 2}, context={"training": False})
    )
    assert result.atlas.lesions
    for name, content in contents(result.out).items():
        assert b"Surname" not in content, name
        assert str(tmp_path).encode() not in content, name


def test_names_are_kept_where_the_user_asks(built: BuildResult, cohort: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    result = build_atlas(
        load_configuration(
            images=cohort / "images",
            grades=cohort / "grades.csv",
            out=tmp_path / "site",
            store=store_of(built),
            keep_names=True,
            limit=12,
            **settings | {"folds": 2},
        )
    )
    names = {row["name"] for row in rows(result.out / "tables" / "images.csv")}
    assert len(names) == 12
    assert names <= {path.name for path in (cohort / "images").iterdir()}


def test_scores_are_out_of_fold(built: BuildResult, cohort: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    """A patient's own grades must not move the patient's own scores, while they move those of others."""
    images = built.atlas.dataset.images
    # Patients are dealt at their worst grade: another grade of the better eye leaves all folds as they are.
    pairs = {patient: sorted(i.grade or 0 for i in images if i.patient == patient) for patient in {i.patient for i in images}}
    patient, (better, worst) = max(((p, g) for p, g in pairs.items() if g[0] < g[1]), key=lambda pair: (pair[1], pair[0]))
    table = rows(cohort / "grades.csv")
    for row in table:
        if row["patient"] == patient and row["level"] == str(better):
            row["level"] = str(0 if better else worst)
    changed = tmp_path / "changed.csv"
    with changed.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, table[0].keys())
        writer.writeheader()
        writer.writerows(table)
    result = build_atlas(
        load_configuration(images=cohort / "images", grades=changed, out=tmp_path / "s", store=store_of(built), **settings)
    )
    before, after = built.atlas.scores.by_id(), result.atlas.scores.by_id()
    own = {image.image_id for image in images if image.patient == patient}
    folds, same_folds = (
        folds_by_patient(one.atlas.dataset.images, folds=settings["folds"], seed=settings["seed"]) for one in (built, result)
    )
    assert folds == same_folds
    assert {image.image_id: image.grade for image in images} != {i.image_id: i.grade for i in result.atlas.dataset.images}
    together = next(set(fold) for fold in folds if own <= set(fold))
    assert {i: after[i] for i in together} == {i: before[i] for i in together}, "their head did not learn from this patient"
    assert all(after[i] != before[i] for i in before if i not in together), "every other head did"
    assert result.atlas.scores.out_of_fold


def test_without_grades_the_atlas_builds_and_says_what_is_missing(cohort: Path, tmp_path: Path) -> None:
    result = build_atlas(
        load_configuration(
            images=cohort / "images",
            scorer="synthetic-alexnet",
            lesion_net="none",
            out=tmp_path / "s",
            store=tmp_path / "t",
            limit=6,
        )
    )
    assert result.atlas.evaluation is None
    assert any("no human grades" in note for note in result.atlas.provenance.notes)
    assert {row["grade"] for row in rows(result.out / "tables" / "images.csv")} == {""}
    table = rows(result.out / "tables" / "images.csv")
    assert {(row["out_of_fold"], row["unseen"]) for row in table} == {("0", "1")}, "its bundle tells whom it learned from"


def test_the_shipped_scorer_scores_as_it_does_alone(cohort: Path, tmp_path: Path) -> None:
    result = build_atlas(
        load_configuration(
            images=cohort / "images", grades=cohort / "grades.csv", out=tmp_path / "s", store=tmp_path / "t", limit=2
        )
    )
    scorer = load_scorer(DEFAULT_SCORER)
    from atlas import prepare, read_photograph

    for image in result.atlas.dataset.images:
        seen = prepare(image.image_id, read_photograph(image.path), size=scorer.size, preparation=scorer.preparation)
        (alone,) = scorer.predict([seen])
        assert result.atlas.scores.by_id()[image.image_id] == pytest.approx(alone.severity["dr"], abs=1e-5)


def test_a_disease_of_four_grades(built: BuildResult, cohort: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    table = rows(cohort / "grades.csv")
    with (tmp_path / "stages.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "stage", "patient"))
        writer.writerows((row["image"], 1 + min(int(row["level"]), 3), row["patient"]) for row in table)
    toml = tmp_path / "atlas.toml"
    toml.write_text(
        'grades = "stages.csv"\nimage_column = "file"\ngrade_column = "stage"\n'
        '[scale]\nlowest = 1\nnames = ["clear", "faint", "plain", "grave"]\ndisease = "test disease"\n'
    )
    result = build_atlas(
        load_configuration(toml, images=cohort / "images", out=tmp_path / "s", store=store_of(built), **settings)
    )
    severity = result.atlas.scores.severity
    assert 1 <= severity.min() <= severity.max() <= 4
    pages = "".join(page.read_text() for page in result.out.rglob("*.html"))
    assert "test disease" in pages
    assert "grave" in pages
    assert "proliferative" not in pages.lower()
    assert "diabetic" not in pages.lower()
    header = (result.out / "tables" / "clusters.csv").read_text().splitlines()[0].split(",")
    assert [name for name in header if name.startswith("patches_grade_")] == [f"patches_grade_{g}" for g in (1, 2, 3, 4)]


def test_a_scorer_of_another_scale_is_refused(cohort: Path, tmp_path: Path) -> None:
    toml = tmp_path / "atlas.toml"
    toml.write_text('[scale]\nnames = ["a", "b", "c"]\n')
    with pytest.raises(ConfigurationError, match="--fit"):
        build_atlas(load_configuration(toml, images=cohort / "images", out=tmp_path / "s", store=tmp_path / "t"))
    assert not (tmp_path / "s").exists()


def test_a_scorer_of_another_disease_is_refused(cohort: Path, tmp_path: Path) -> None:
    toml = tmp_path / "atlas.toml"
    toml.write_text('[scale]\nnames = ["none", "early", "moderate", "advanced", "blind"]\ndisease = "glaucoma"\n')
    with pytest.raises(
        ConfigurationError, match="learned to grade diabetic retinopathy; the photographs are graded for glaucoma"
    ) as fault:
        build_atlas(load_configuration(toml, images=cohort / "images", out=tmp_path / "s", store=tmp_path / "t"))
    for remedy in ("--fit", "scorer of this disease", 'disease = "diabetic retinopathy"'):
        assert remedy in fault.value.remedy
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("name", [name for name, _ in shipped_scorers()])
def test_every_shipped_scorer_fits_the_scale_of_a_build_without_one(name: str) -> None:
    source = trained_source(name, load_configuration().grade_scale())
    assert source.notes == ()


def test_the_same_grades_by_other_names_are_allowed_and_said(cohort: Path, tmp_path: Path) -> None:
    table = rows(cohort / "grades.csv")
    with (tmp_path / "stages.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("image", "grade", "patient"))
        writer.writerows((row["image"], 1 + int(row["level"]), row["patient"]) for row in table)
    toml = tmp_path / "atlas.toml"
    toml.write_text(
        'grades = "stages.csv"\nimage_column = "image"\ngrade_column = "grade"\npatient_column = "patient"\n[scale]\nlowest = 1\n'
        'names = ["No DR", " Mild", "moderate", "Severe", "PDR"]\nreferable = 4\ndisease = " Diabetic  Retinopathy"\n'
    )
    common: dict[str, Any] = {
        "images": cohort / "images",
        "scorer": "eyepacs-squeezenet",
        "lesion_net": "none",
        "store": tmp_path / "t",
        "limit": 8,
        "clusters": 2,
    }
    theirs = evaluate_scorer(load_configuration(grades=cohort / "grades.csv", **common))[0]
    made = build_atlas(load_configuration(toml, out=tmp_path / "s", **common)).atlas
    names, referral = made.provenance.notes[:2]
    assert "0 (normal) for 1 (No DR); 4 (proliferative) for 5 (PDR)" in names
    assert "mild" not in names.lower(), "a name that is only spelled differently is the same name"
    assert "for grade 2 (moderate) and above" in referral
    # The same scores, read by the same cuts, one grade higher.
    own = made.evaluation
    assert own is not None
    assert own.reading is not None
    assert theirs.reading is not None
    np.testing.assert_allclose(own.reading.cuts, theirs.reading.cuts + 1, atol=1e-6)
    assert (own.confusions["ranges"].counts == theirs.confusions["ranges"].counts).all()
    assert own.reading.threshold is None, "a threshold for another grade says nothing here"
    assert [label.grade for label in own.labels] == [label.grade + 1 for label in theirs.labels]
    assert own.labels


def test_a_file_that_is_no_photograph_is_named_and_left_out(cohort: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(cohort / "images", tmp_path / "images")
    shutil.copy(cohort / "grades.csv", tmp_path)
    victim = sorted((tmp_path / "images").iterdir())[3]
    victim.write_bytes(victim.read_bytes()[:300])
    result = build_atlas(
        load_configuration(
            images=tmp_path / "images",
            grades=tmp_path / "grades.csv",
            out=tmp_path / "s",
            store=tmp_path / "t",
            **settings,
        )
    )
    assert len(result.atlas.dataset.images) == EYES - 1
    assert [victim.name in line for line in result.report.unreadable] == [True]
    assert victim.name not in (result.out / "run.json").read_text()


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "eye.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"eye\.jpg"):
        build_atlas(load_configuration(images=tmp_path / "images", out=tmp_path / "s", store=tmp_path / "t"))


def test_what_is_not_an_atlas_stands(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(StoreError, match="not an atlas"):
        build_atlas(load_configuration(images=cohort / "images", out=tmp_path / "thesis", store=tmp_path / "t"))
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_build_that_is_stopped_leaves_the_old_site_and_goes_on(
    cohort: Path, with_net: dict[str, Any], found: BuildResult, tmp_path: Path, signal_number: int, code: int
) -> None:
    out, store = tmp_path / "site", tmp_path / "store"
    shutil.copytree(found.out, out)
    before = contents(out)
    files = [cohort / "images", "--grades", cohort / "grades.csv", "--masks", cohort / "masks"]
    arguments = ["build", *files, "--out", out, "--store", store, *flags_of(with_net)]
    process = subprocess.Popen(
        [sys.executable, "-c", "from atlas.cli import main; main()", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A shell that runs tests in the background has its children ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )

    def entries() -> set[Path]:  # whole ones: what is still being written has a name with a dot before it
        return {path for path in store.glob("predictions/*/*") if not path.name.startswith(".")}

    while len(entries()) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal_number)
    assert process.wait(60) == code
    assert contents(out) == before
    kept = entries()
    assert 2 <= len(kept) < with_net["limit"]
    stamps = {path: (path / "arrays.safetensors").stat().st_mtime_ns for path in kept}
    finished = command(*arguments)
    assert finished.returncode == 0, finished.stderr
    assert contents(out) == before
    assert {path: (path / "arrays.safetensors").stat().st_mtime_ns for path in kept} == stamps
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "site.publish.txt", "site.rejected.csv", "store"]


def test_exit_codes_and_messages(cohort: Path, tmp_path: Path) -> None:
    missing = command("build", tmp_path / "nowhere", "--out", tmp_path / "s", "--store", tmp_path / "t")
    assert missing.returncode == 1
    assert "nowhere" in missing.stderr
    assert "What to do" in missing.stderr
    assert "Traceback" not in missing.stderr
    assert command("build", "--no-such-flag").returncode == 2
    assert command("report").returncode == 2
    assert command("models").returncode == 0
    help_text = command("build", "--help").stdout
    for name in ("--fit", "--drop-threshold", "--keep-names", "--layout"):
        assert name in help_text


def test_report_by_file_and_by_id(built: BuildResult, cohort: Path, tmp_path: Path) -> None:
    photograph = built.atlas.dataset.images[0]
    store = store_of(built)
    by_file = command("report", photograph.path, "--out", tmp_path / "one.html", "--store", store)
    assert by_file.returncode == 0, by_file.stderr
    by_id = command("report", "--id", photograph.image_id, "--out", tmp_path / "two.html", "--store", store)
    assert by_id.returncode == 0, by_id.stderr
    page = (tmp_path / "one.html").read_text()
    assert page == (tmp_path / "two.html").read_text()
    assert photograph.image_id in page
    assert photograph.path.name not in page
    assert "not for diagnosis" in page
    unknown = command("report", "--id", "f" * 16, "--out", tmp_path / "three.html", "--store", store)
    assert (unknown.returncode, (tmp_path / "three.html").exists()) == (1, False)


def test_evaluate_prints_the_figures_that_the_atlas_holds(built: BuildResult, cohort: Path, settings: dict[str, Any]) -> None:
    needed = ("fit", "folds", "trunk", "trunk_weights", "size", "seed")
    flags = flags_of({name: value for name, value in settings.items() if name in needed})
    store = store_of(built)
    done = command("evaluate", cohort / "images", "--grades", cohort / "grades.csv", "--store", store, *flags)
    assert done.returncode == 0, done.stderr
    assert f"{built.atlas.evaluation.figures['spearman']:.3f}" in done.stdout


def test_evaluate_keeps_its_figures_in_the_bundle_once(cohort: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "own"
    shutil.copytree(models_folder() / "synthetic-alexnet", bundle)
    configuration = load_configuration(
        images=cohort / "images", grades=cohort / "grades.csv", scorer=str(bundle), store=tmp_path / "store"
    )
    for _ in range(2):
        evaluation, _ = evaluate_scorer(configuration, record="Drawn eyes", command="atlas evaluate IMAGES")
    scorer = load_scorer(bundle)
    (entry,) = (one for one in scorer.evaluations if one["name"] == "Drawn eyes")
    assert entry["photographs"] == EYES
    assert entry["figures"]["spearman"][0] == pytest.approx(evaluation.figures["spearman"], abs=1e-4)
    assert scorer.card.count("### Drawn eyes") == 1
    assert "atlas evaluate IMAGES" in scorer.card
    assert scorer.sha256 == load_scorer("synthetic-alexnet").sha256
    # Read with the split that a table publishes, where none is published there is nothing to read.
    with pytest.raises(DatasetError, match="split"):
        evaluate_scorer(configuration.model_copy(update={"split": "test"}))


def test_what_the_scorer_learned_from_does_not_flatter_it(cohort: Path, tmp_path: Path) -> None:
    dataset, _ = read_dataset(cohort / "images", cohort / "grades.csv", scale=DIABETIC_RETINOPATHY)
    bundle = tmp_path / "own"
    shutil.copytree(models_folder() / "synthetic-alexnet", bundle)
    met = dataset.images[0]
    amend_bundle(bundle, learned=(met.image_id,))
    result = build_atlas(
        load_configuration(
            images=cohort / "images",
            grades=cohort / "grades.csv",
            scorer=str(bundle),
            lesion_net="none",
            store=tmp_path / "store",
            out=tmp_path / "site",
            clusters=2,
        )
    )
    of_the_patient = {image.image_id for image in dataset.images if image.patient == met.patient}
    assert len(of_the_patient) == 2, "both eyes of the patient count as met"
    table = rows(result.out / "tables" / "images.csv")
    assert {row["image_id"] for row in table if row["unseen"] == "0"} == of_the_patient
    assert {row["unseen"] for row in table} == {"0", "1"}
    assert {row["out_of_fold"] for row in table} == {"0"}, "no head was fitted on this cohort"
    assert result.atlas.evaluation is not None
    assert result.atlas.evaluation.count == EYES - len(of_the_patient)
    assert any("learned from 2 of these 24" in note for note in result.atlas.provenance.notes)
    assert "learned from photographs of this patient" in (result.out / "images" / f"{met.image_id}.html").read_text()


def test_synthesize_and_read_back(tmp_path: Path) -> None:
    done = command("synthesize", "--count", 10, "--out", tmp_path / "eyes", "--size", 96)
    assert done.returncode == 0, done.stderr
    dataset, report = read_dataset(tmp_path / "eyes" / "images", tmp_path / "eyes" / "grades.csv", scale=DIABETIC_RETINOPATHY)
    assert {image.grade for image in dataset.images} == {0, 1, 2, 3, 4}
    assert not report.rows_without_file


@pytest.mark.photographs
def test_real_photographs_make_an_atlas(photographs: Path, squeezenet_weights: Path, tmp_path: Path) -> None:
    folder = photographs / "eyepacs-colour"
    result = build_atlas(
        load_configuration(
            images=folder / "images",
            grades=folder / "grades.csv",
            out=tmp_path / "site",
            store=tmp_path / "store",
            fit=True,
            trunk="squeezenet1_1",
            trunk_weights=str(squeezenet_weights),
            limit=10,
            clusters=2,
        )
    )
    assert len(result.atlas.dataset.images) == 10
    assert {image.grade for image in result.atlas.dataset.images} == {0, 1, 2, 3, 4}
    assert np.ptp(result.atlas.scores.severity) > 0.1
    assert result.atlas.patches is not None
    assert not result.report.unreadable
    first_page = (result.out / "index.html").read_text()
    assert "not for diagnosis" in first_page


@pytest.mark.parametrize(("name", "place"), [("out", "images/site"), ("store", "images/store"), ("out", "images"), ("out", ".")])
def test_an_atlas_never_lies_among_its_photographs_nor_they_in_it(cohort: Path, tmp_path: Path, name: str, place: str) -> None:
    shutil.copytree(cohort, tmp_path / "cohort")
    images = tmp_path / "cohort" / "images"
    settings = {"out": tmp_path / "site", "store": tmp_path / "store", name: tmp_path / "cohort" / place}
    before = sorted(path.name for path in images.iterdir())
    with pytest.raises(ConfigurationError, match="lies in the folder of the"):
        build_atlas(load_configuration(images=images, grades=tmp_path / "cohort" / "grades.csv", **settings))
    assert sorted(path.name for path in images.iterdir()) == before


def test_a_store_in_the_atlas_is_refused(tmp_path: Path) -> None:
    """The store would count as the user's own files, and move from atlas to atlas."""
    with pytest.raises(ConfigurationError, match=r"store = .* lies in the folder of the atlas"):
        build_atlas(load_configuration(out=tmp_path / "site", store=tmp_path / "site" / "store"))
    assert not (tmp_path / "site").exists()


def test_an_atlas_names_its_maker_first(built: BuildResult) -> None:
    run = json.loads((built.out / "run.json").read_text())
    assert list(run.items())[:2] == [("made_by", "lesion-atlas"), ("format", 1)]
    assert is_atlas(built.out)


@pytest.fixture(scope="module")
def small(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a build of few photographs whose results are all in the store."""
    folder = tmp_path_factory.mktemp("small")
    settings = {"images": cohort / "images", "scorer": "synthetic-alexnet", "lesion_net": "none", "store": folder / "store"}
    settings |= {"limit": 5, "workers": 1}
    build_atlas(load_configuration(out=folder / "site", **settings))
    return settings


def test_the_site_is_the_same_where_links_are_refused(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where a user without special rights may make no symbolic link."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(os, "symlink", refuse)
    build_atlas(load_configuration(out=tmp_path / "site", **small))
    assert contents(tmp_path / "site") == contents(small["store"].parent / "site")


def test_an_atlas_in_the_home_folder_keeps_its_numbers(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--out=~/site` reaches the program as it is; the last build's clusters must be found there, too."""
    monkeypatch.setenv("HOME", str(tmp_path))
    result = build_atlas(load_configuration(out=Path("~/site"), **small))
    assert result.out == tmp_path / "site"
    identities = tmp_path / "site" / "clusters.json"
    table = json.loads(identities.read_text())
    for one in table["clusters"]:
        one["number"] += 100
    identities.write_text(json.dumps(table))
    build_atlas(load_configuration(out=Path("~/site"), **small))
    assert {one["number"] for one in json.loads(identities.read_text())["clusters"]} == {
        one["number"] for one in table["clusters"]
    }


def test_a_second_build_is_refused_whatever_its_store(small: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "site"
    # As a build with the store `small["store"]`, in another process, holds it.
    script = """
import sys
from pathlib import Path
from atlas.pipeline.publication import Publication
with Publication(Path(sys.argv[1])) as folder:
    print("held", flush=True)
    sys.stdin.read()
    (folder / "index.html").write_text("mine")
"""
    with subprocess.Popen([sys.executable, "-c", script, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holding:
        assert holding.stdout is not None
        assert holding.stdout.readline() == b"held\n"
        done = command("build", small["images"], "--out", out, "--store", tmp_path / "another", "--limit", 2)
        assert done.returncode == 1
        assert "another build" in done.stderr
        holding.communicate()
    assert holding.returncode == 0
    assert (out / "index.html").read_text() == "mine"
    assert names_in(out) == ["files.txt", "index.html"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_disk_that_fills_up_while_the_site_is_written_leaves_the_old_atlas(small: dict[str, Any], tmp_path: Path) -> None:
    """A process that may write small files only, smaller than the style sheet; the store has everything already."""
    out = tmp_path / "site"
    shutil.copytree(small["store"].parent / "site", out)
    before = contents(out)
    script = """
import resource, signal, torchvision  # some versions write a file as they are loaded
from atlas.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
main()
"""
    flags = flags_of({name: value for name, value in small.items() if name != "images"})
    done = process("build", small["images"], "--out", out, *flags, script=script)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert str(tmp_path) in done.stderr
    assert "make room" in done.stderr
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site"]


def test_a_report_cannot_be_written_over_a_folder(small: dict[str, Any], tmp_path: Path) -> None:
    done = command("report", small["images"], "--out", tmp_path, "--store", small["store"])
    assert done.returncode == 1
    assert "is a folder" in done.stderr
