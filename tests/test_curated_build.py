"""A curation file beside a folder of photographs, through complete builds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from atlas import build_atlas, load_configuration, write_cohort
from atlas.cli import main
from atlas.errors import ConfigurationError


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_curation_beside_the_photographs_survives_rebuilds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cohort(10, tmp_path, seed=5, size=160)
    site, file = tmp_path / "site", tmp_path / "curation.toml"
    command = ["build", str(tmp_path / "images"), "--grades", str(tmp_path / "grades.csv"), "--out", str(site)]
    command += ["--store", str(tmp_path / "store"), "--scorer", "synthetic-alexnet", "--clusters", "3", "--drop-quantile", "0.8"]
    command += ["--drop-threshold", "0.95", "--workers", "1", "--lesion-net", "none"]

    def build() -> str:
        with pytest.raises(SystemExit) as end:
            main(command)
        assert end.value.code in (0, None)
        return capsys.readouterr().out

    assert "clusters.json" not in build()
    first = json.loads((site / "clusters.json").read_text())
    assert [one["number"] for one in first["clusters"]] == [1, 2, 3]
    patches = {row["patch_id"]: row["cluster"] for row in rows(site / "tables" / "patches.csv")}
    before = {path.name: path.read_bytes() for path in site.glob("*.json")}
    build()
    assert {path.name: path.read_bytes() for path in site.glob("*.json")} == before

    # Named, and without the photograph that gave the largest cluster one of its patches.
    gone, kept = (
        next(patch for patch, number in patches.items() if number == "1").split("-")[0],
        rows(site / "tables" / "images.csv"),
    )
    image = next(row["image_id"] for row in kept if row["image_id"] != gone)
    file.write_text(
        f'[images.{image}]\ntitle = "A title of its own"\n[clusters.2]\ntitle = "Rims"\n[clusters.44]\ntitle = "Gone"\n'
        f'[exclude]\nimages = ["{gone}"]\n[[lessons]]\ntitle = "One"\n[[lessons.stops]]\nimage = "{image}"\n'
    )
    told = build()
    assert "1 photograph" in told
    assert "clusters.44: no cluster of this build matches it. Its text is “Gone”." in told
    assert gone not in {row["image_id"] for row in rows(site / "tables" / "images.csv")}
    assert not list(site.rglob(f"*{gone}*"))
    assert "A title of its own" in (site / "images" / f"{image}.html").read_text("utf-8")
    assert (site / "lessons" / "one.html").is_file()
    # The patches that cluster 2 had, as far as they are still there, lie in the cluster that is called Rims.
    now = {row["patch_id"]: row["cluster"] for row in rows(site / "tables" / "patches.csv")}
    stayed = [now[patch] for patch, number in patches.items() if number == "2" and patch in now]
    named = [
        path
        for path in (site / "clusters").glob("*.html")
        if "Rims" in path.read_text("utf-8").split("<h1>")[1].split("</h1>")[0]
    ]
    assert [path.stem for path in named] == [f"{int(max(set(stayed), key=stayed.count)):02d}"]

    file.write_text("[images.nobody]\n")
    with pytest.raises(ConfigurationError, match=r"curation\.toml(?s:.*)images\.nobody"):
        build_atlas(load_configuration(images=tmp_path / "images", out=site, store=tmp_path / "store"))
