"""What `fuzz` found, each as a small case: damaged and forged files are refused by name, quickly, and in few words."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fuzz
import numpy as np
import pytest
import safetensors.numpy
import torch
from PIL import Image

from atlas import read_photograph
from atlas.bundles import sealed
from atlas.cohort.boxes import read_boxes
from atlas.cohort.dataset import read_dataset
from atlas.config import load_configuration
from atlas.curation.file import read_curation
from atlas.drawn.paint import draw_eye
from atlas.errors import AtlasError, ConfigurationError, DatasetError, ScorerError, UnreadableImageError
from atlas.lesionnets.bundle import load_lesion_net
from atlas.patterns.numbering import Identities, read_identities
from atlas.records import DIABETIC_RETINOPATHY
from atlas.resources import models_folder
from atlas.scorers.bundle import load_scorer
from atlas.scorers.weights import read_weights

SCORER = models_folder() / "synthetic-alexnet"
EVIDENCE = models_folder() / "evidence-squeezenet"
NET = models_folder() / "lesions-squeezenet"


def require_plain(error: AtlasError, name: str) -> None:
    """Check that a message names its file, can be read at a glance, and says what to do."""
    assert name in error.message
    assert error.remedy
    lines = str(error).splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) < 500


# Settings and an instructor's words --------------------------------------------------------------------------------------------

NUMBERS = "9" * 5000  # more digits than Python turns into a number

TOML = {
    "brackets in brackets": "clusters = " + "[" * 5000,
    "a number of 5,000 digits": f"clusters = {NUMBERS}",
    "a number of 5,000 digits to the base 16": f"pins = 0x{'f' * 5000}",
    "tables in tables": ".".join("a" * 2000) + " = 1",
    "lists in lists": "clusters = " + "[" * 40 + "]" * 40,
    "a key as long as a page": f"{'k' * 5000} = 1",
    "a value as long as a page": f'title = "{"A" * 5000}"\npins = "{"A" * 5000}"',
    "300 faults": "".join("[[lessons]]\n" for _ in range(300)),
    "no text": "title = '\udcff'",
    "more than anyone writes": "# " + "x" * 11_000_000,
}


@pytest.mark.parametrize("content", TOML.values(), ids=TOML)
@pytest.mark.parametrize("read", [load_configuration, read_curation, lambda file: read_curation(file, names={"eye": "0" * 16})])
def test_settings_and_words_that_no_person_writes(tmp_path: Path, read: Callable[[Path], object], content: str) -> None:
    file = tmp_path / "words.toml"
    file.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ConfigurationError) as caught:
        read(file)
    require_plain(caught.value, "words.toml")


@pytest.mark.parametrize("number", ["1e999", "1" + "0" * 400, NUMBERS, "[" * 100_000])
@pytest.mark.parametrize("key", ["number", "centroid"])
def test_numbers_of_clusters_that_are_none_count_as_a_first_build(tmp_path: Path, key: str, number: str) -> None:
    values = {"number": "1", "patches": "[]", "centroid": "[1.0]", "whole": "true", "live": "true", key: number}
    cluster = ", ".join(f'"{name}": {value}' for name, value in values.items())
    (tmp_path / "clusters.json").write_text(f'{{"clusters": [{{{cluster}}}], "space": "x"}}')
    assert read_identities(tmp_path / "clusters.json") == Identities()


# Tables ------------------------------------------------------------------------------------------------------------------------


def test_a_table_of_boxes_shows_no_more_than_a_line_of_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"a")
    dataset, _ = read_dataset(tmp_path / "images", scale=DIABETIC_RETINOPATHY)
    table = tmp_path / "boxes.csv"
    table.write_text("image," + "x" * 50_000 + "\na,1\n")
    with pytest.raises(DatasetError) as caught:
        read_boxes(table, dataset)
    require_plain(caught.value, "boxes.csv")
    table.write_text(f"image,lesion,x,y,width,height\na,{'k' * 50_000},1,1,1,1\na,MA,{'1' * 50_000},1,1,1\n")
    assert all(len(line) < 1000 for line in read_boxes(table, dataset).faults)


# Bundles -----------------------------------------------------------------------------------------------------------------------


def forged(tmp_path: Path, bundle: Path, manifest: dict[str, Any] | bytes, files: dict[str, bytes] | None = None) -> Path:
    """Copy a bundle with some facts and files changed, and all hashes right."""
    own = "lesionnet.json" if (bundle / "lesionnet.json").exists() else "scorer.json"
    shutil.copytree(bundle, tmp_path / "forged")
    facts = json.loads((bundle / own).read_text(encoding="utf-8"))
    for name, content in (files or {}).items():
        (tmp_path / "forged" / name).write_bytes(content)
        facts["files"][name] = hashlib.sha256(content).hexdigest()
    del facts["sha256"]
    told = manifest if isinstance(manifest, bytes) else json.dumps(sealed(facts | manifest)).encode()
    (tmp_path / "forged" / own).write_bytes(told)
    return tmp_path / "forged"


FACTS: dict[str, dict[str, Any] | bytes] = {
    "a kind that is a list": {"kind": []},
    "a kind that is a table": {"kind": {}},
    "a giant": {"size": 2**40},
    "a scale of too many grades": {"scale": {"lowest": 0, "names": ["x"] * 10**4, "referable": None, "disease": "x"}},
    "cuts of another scale": {"reading": {"cuts": [1.0], "threshold": 1.0}},
    "cuts that are no numbers": {"reading": {"cuts": [float("nan")] * 4, "threshold": 1.0}},
    "peaks of another scale": {"reading": {"cuts": [0.5, 1.5, 2.5, 3.5], "threshold": 1.0, "peaks": [1.0]}},
    "a ragged doubt": {
        "doubt": {
            "usual": [],
            "members": 0.1,
            "moves": 0.1,
            "colours": [0.0] * 6,
            "precision": [[0.0] * 6] * 5 + [[0.0]],
            "unlike": 1.0,
        }
    },
    "brackets in brackets": b"[" * 100_000,
    "a file outside": {"files": {"../card.md": "0" * 64}},
}


@pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS)
def test_forged_descriptions(tmp_path: Path, facts: dict[str, Any] | bytes) -> None:
    with pytest.raises(ScorerError) as caught:
        load_scorer(forged(tmp_path, SCORER, facts))
    require_plain(caught.value, "forged")


def tensors(**arrays: np.ndarray) -> bytes:
    return safetensors.numpy.save(arrays)


FILES: dict[str, dict[str, bytes]] = {
    "a card that is no text": {"card.md": b"\xff\xfe\x00"},
    "photographs that have no number": {"learned.safetensors": tensors(image_ids=np.array([np.nan]))},
    "photographs in rows and columns": {"learned.safetensors": tensors(image_ids=np.zeros((2, 2), np.uint64))},
    "scores of other photographs": {
        "test.safetensors": tensors(
            severity=np.zeros(3, np.float32), grades=np.zeros(2, np.int64), patients=np.zeros(3, np.int64)
        )
    },
    "scores that are no numbers": {
        "test.safetensors": tensors(
            severity=np.full(2, np.nan, np.float32), grades=np.zeros(2, np.int64), patients=np.zeros(2, np.int64)
        )
    },
    "a head of nothing": {"head.safetensors": tensors()},
    "a head in a type that is not read": {
        "head.safetensors": b"\x40\0\0\0\0\0\0\0"
        + b'{"hidden_weight":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}} '[:64]
        + b"\0"
    },
    "measurements in brackets": {"evaluations.json": b"[" * 100_000},
}


@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_forged_files_of_a_bundle(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(ScorerError) as caught:
        load_scorer(forged(tmp_path, SCORER, {}, files))
    require_plain(caught.value, "forged")


def test_an_evidence_scorer_of_a_thousand_million_kinds_takes_no_memory(tmp_path: Path) -> None:
    with pytest.raises(ScorerError, match="kinds"):
        load_scorer(forged(tmp_path, EVIDENCE, {"kinds": 10**9}))


@pytest.mark.parametrize("name", ["forged", "../forged", "/tmp", ".", "clinics-and-evidence"])
def test_members_that_never_end_or_lie_elsewhere(tmp_path: Path, name: str) -> None:
    members = [{"name": name, "sha256": "0" * 64}] * 2
    with pytest.raises(ScorerError) as caught:
        load_scorer(forged(tmp_path, models_folder() / "clinics-and-evidence", {"members": members}))
    require_plain(caught.value, "forged")


def test_a_lesion_net_is_read_from_files_alone(tmp_path: Path) -> None:
    folder = forged(tmp_path, NET, {}, {"card.md": b"\xff\xfe\x00"})
    with pytest.raises(ScorerError) as caught:
        load_lesion_net(folder)
    require_plain(caught.value, "forged")
    (folder / "network.safetensors").unlink()
    os.mkfifo(folder / "network.safetensors")  # reading it would never end
    with pytest.raises(ScorerError, match=r"network\.safetensors: missing"):
        load_lesion_net(folder)


@pytest.mark.parametrize("new", [True, False])
def test_damaged_weights_are_refused_whatever_breaks(tmp_path: Path, new: bool) -> None:
    told = io.BytesIO()
    torch.save({"a.weight": torch.ones(2, 3), "a.bias": torch.ones(2)}, told, _use_new_zipfile_serialization=new)
    content = told.getvalue()
    refused = 0
    for place in range(0, len(content), 5):
        (tmp_path / "w.pth").write_bytes(content[:place] + b"q" + content[place + 1 :])
        try:
            read_weights(tmp_path / "w.pth")
        except ScorerError as error:
            refused += 1
            require_plain(error, "w.pth")
    assert refused > 5


# Photographs -------------------------------------------------------------------------------------------------------------------


def jpeg(**settings: Any) -> bytes:
    told = io.BytesIO()
    Image.fromarray(draw_eye(3, 3, size=160).pixels).save(told, "JPEG", **settings)
    return told.getvalue()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "zeros in the middle": lambda whole: whole[: len(whole) // 2] + bytes(500) + whole[len(whole) // 2 + 500 :],
    "a part is missing": lambda whole: whole[: len(whole) // 2] + whole[len(whole) // 2 + 300 :],
    "half of it, with an end mark": lambda whole: whole[: len(whole) // 2] + b"\xff\xd9",
    "two pictures mixed": lambda whole: whole[: len(whole) // 2] + whole[len(whole) // 4 :],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=str)
def test_a_jpeg_with_damaged_pixels_is_refused_in_silence(
    tmp_path: Path, settings: dict[str, Any], damage: Callable[[bytes], bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "eye.jpg").write_bytes(damage(jpeg(**settings)))
    with pytest.raises(UnreadableImageError, match=r"eye\.jpg: is damaged") as caught:
        read_photograph(tmp_path / "eye.jpg")
    assert caught.value.remedy
    assert capfd.readouterr() == ("", "")


def test_a_header_cannot_make_a_decoder_set_memory_aside(tmp_path: Path) -> None:
    told = io.BytesIO()
    Image.fromarray(draw_eye(3, 3, size=96).pixels).save(told, "JPEG2000")
    whole = told.getvalue()
    box = whole.index(b"jp2h") - 4
    (tmp_path / "eye.jp2").write_bytes(whole[:box] + b"\xff\xff\xff\xff" + whole[box + 4 :])
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableImageError, match=r"eye\.jp2"):
            read_photograph(tmp_path / "eye.jp2")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_jpeg_that_a_camera_padded_is_read(tmp_path: Path) -> None:
    whole = jpeg()
    (tmp_path / "eye.jpg").write_bytes(whole)
    pixels = read_photograph(tmp_path / "eye.jpg")
    for padding in (1, 16):
        (tmp_path / "eye.jpg").write_bytes(whole[:-2] + bytes(padding) + whole[-2:])
        assert np.array_equal(read_photograph(tmp_path / "eye.jpg"), pixels)
    (tmp_path / "eye.jpg").write_bytes(whole[:-2] + bytes(900) + whole[-2:])
    with pytest.raises(UnreadableImageError, match="is damaged"):
        read_photograph(tmp_path / "eye.jpg")


# The fuzzer --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(fuzz.READERS))
def test_the_fuzzer_makes_the_same_files_again_and_each_differs_from_what_is_valid(name: str) -> None:
    count = len(fuzz.READERS[name].seeds())
    valid = [fuzz.make(name, 0, number) for number in range(count)]
    damaged = [fuzz.make(name, 0, number) for number in range(count, count + 8)]
    assert damaged == [fuzz.make(name, 0, number) for number in range(count, count + 8)]
    assert all(case not in valid for case in damaged)
    assert damaged != [fuzz.make(name, 1, number) for number in range(count, count + 8)]


@pytest.mark.parametrize("name", ["picture", "table", "words", "notes", "weights"])
def test_the_fuzzer_finds_nothing_in_valid_files_and_whatever_is_raised_besides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / name / "case"
    for number in range(len(fuzz.READERS[name].seeds())):
        fuzz.lay_out(fuzz.make(name, 0, number), folder)
        assert fuzz.fault_of(name, folder) == ""
    file = next(folder.iterdir()).name
    for error, found in (
        (DatasetError(f"{file}: is bad", "replace it"), ""),
        (DatasetError(f"{file}: is bad"), "no remedy"),
        (DatasetError("it is bad", "replace it"), "AssertionError"),
        (DatasetError(f"{file}: is bad" * 1000, "replace it"), "characters"),
        (ValueError("bad"), "ValueError"),
        (MemoryError(), "MemoryError"),
    ):

        def read(folder: Path, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(fuzz, "READERS", {name: replace(fuzz.READERS[name], read=read)})
        told = fuzz.fault_of(name, folder)
        assert found in told if found else told == ""
