"""Folders of DICOM files: which are photographs, how tables name them, and what of their headers is used and never shown."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from dicom_files import SECONDARY_CAPTURE, write_dicom
from PIL import Image
from pydicom import uid
from typer.testing import CliRunner

from atlas import build_atlas, load_configuration, read_dataset, read_photograph
from atlas.cli import app
from atlas.cohort.boxes import read_boxes
from atlas.cohort.dataset import read_files
from atlas.cohort.files import image_id
from atlas.cohort.masks import find_masks
from atlas.drawn.paint import draw_eye
from atlas.errors import DatasetError
from atlas.pipeline.store import Store
from atlas.records import DIABETIC_RETINOPATHY, IMAGE, Dataset, DatasetReport, GradedImage, Scale

EYES = [draw_eye(seed, seed % 5, size=96).pixels for seed in range(4)]


def read(images: Path, table: str | None = None, **more: object) -> tuple[Dataset, DatasetReport]:
    grades = None
    if table is not None:
        grades = images.parent / "grades.csv"
        grades.write_text(table, encoding="utf-8", newline="\n")
    return read_dataset(images, grades, scale=DIABETIC_RETINOPATHY, **more)  # type: ignore[arg-type]


def by_name(dataset: Dataset) -> dict[str, GradedImage]:
    return {image.path.name: image for image in dataset.images}


# Files -------------------------------------------------------------------------------------------------------------------------


def test_dicom_files_are_known_by_their_content_and_others_are_named(tmp_path: Path) -> None:
    images = tmp_path / "images"
    for place, name in enumerate(("IM0001", "1.2.840.113619.2.5", "scan.IMA", "eye.dcm")):
        write_dicom(images / name, EYES[place])
    (images / "README").write_text("a note")
    (images / "core.9").write_bytes(b"\0" * 500)
    write_dicom(images / "DICOMDIR", EYES[0], kind=uid.MediaStorageDirectoryStorage)
    dataset, report = read(images)
    assert set(by_name(dataset)) == {"IM0001", "1.2.840.113619.2.5", "scan.IMA", "eye.dcm"}
    assert sorted(line.partition(":")[0] for line in report.other_files) == ["README", "core.9"]
    assert [line.partition(":")[0] for line in report.passed_over] == ["DICOMDIR"]
    for name, image in by_name(dataset).items():
        assert image.image_id == image_id(images / name)


def test_other_modalities_are_left_out_by_name_and_their_rows_say_so(tmp_path: Path) -> None:
    images = tmp_path / "images"
    write_dicom(images / "eye.dcm", EYES[0])
    write_dicom(images / "ct.dcm", EYES[1], kind=uid.CTImageStorage, Modality="CT", SOPInstanceUID="1.2.3.4")
    write_dicom(images / "oct", EYES[2], kind=uid.OphthalmicTomographyImageStorage, Modality="OPT", SOPInstanceUID="1.2.3.5")
    (images / "broken.dcm").write_bytes((images / "eye.dcm").read_bytes()[:200])
    dataset, report = read(images, "image,level\neye,1\nct,2\n1.2.3.5,3\nbroken,4\n")
    assert set(by_name(dataset)) == {"eye.dcm"}
    ct, tomography = sorted(report.other_files)
    assert "modality CT, CT Image Storage" in ct
    assert "modality OPT, Ophthalmic Tomography Image Storage" in tomography
    (broken,) = report.unreadable
    assert broken.startswith("broken.dcm: ")
    rows = report.rows_without_file
    assert ["CT Image Storage" in rows[0], "Tomography" in rows[1], "cut short" in rows[2]] == [True] * 3


def test_nothing_but_other_modalities_is_an_error_that_names_them(tmp_path: Path) -> None:
    write_dicom(tmp_path / "ct", EYES[1], kind=uid.CTImageStorage, Modality="CT")
    with pytest.raises(DatasetError, match="modality CT, CT Image Storage"):
        read(tmp_path)
    with pytest.raises(DatasetError, match="modality CT, CT Image Storage"):
        read_files([tmp_path / "ct"], scale=DIABETIC_RETINOPATHY)


def test_burnt_in_writing_is_refused_unless_allowed(tmp_path: Path) -> None:
    images = tmp_path / "images"
    write_dicom(images / "plain.dcm", EYES[0], BurnedInAnnotation="NO")
    write_dicom(images / "written.dcm", EYES[1], BurnedInAnnotation="YES")
    table = "image,level\nplain,1\nwritten,2\n"
    dataset, report = read(images, table)
    assert set(by_name(dataset)) == {"plain.dcm"}
    assert [("written.dcm" in line, "Burned In" in line) for line in report.burnt_in] == [(True, True)]
    assert ["Burned In" in line for line in report.rows_without_file] == [True]
    dataset, report = read(images, table, allow_burnt_in=True)
    assert set(by_name(dataset)) == {"plain.dcm", "written.dcm"}
    assert report.burnt_in == ()
    with pytest.raises(DatasetError, match=r"written\.dcm") as caught:
        read_files([images / "written.dcm"], scale=DIABETIC_RETINOPATHY)
    assert "--allow-burnt-in" in (caught.value.remedy or "")
    assert len(read_files([images / "written.dcm"], scale=DIABETIC_RETINOPATHY, allow_burnt_in=True).images) == 1


# Tables ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["image", "SOPInstanceUID", "SOP Instance UID"])
def test_grades_are_joined_by_sop_instance_uid(tmp_path: Path, column: str) -> None:
    images = tmp_path / "images"
    for place in range(3):
        write_dicom(images / f"IM{place:04}", EYES[place], SOPInstanceUID=f"1.2.826.0.1.{place + 1}")
    dataset, report = read(images, f"{column},grade\n1.2.826.0.1.1,0\n1.2.826.0.1.2,3\nIM0002,4\n")
    assert {name: image.grade for name, image in by_name(dataset).items()} == {"IM0000": 0, "IM0001": 3, "IM0002": 4}
    assert sum("2 rows were matched by SOP Instance UID" in line for line in report.guesses) == 1


def test_two_files_of_one_uid_are_not_guessed_between(tmp_path: Path) -> None:
    images = tmp_path / "images"
    for place in range(2):
        write_dicom(images / f"{place}.dcm", EYES[place], SOPInstanceUID="1.2.3")
    write_dicom(images / "2.dcm", EYES[2])
    dataset, report = read(images, "image,level\n1.2.3,1\n2,2\n")
    assert set(by_name(dataset)) == {"2.dcm"}
    assert ["may be any of 0.dcm, 1.dcm" in line for line in report.rows_without_file] == [True]


def test_the_eye_and_the_patient_come_from_the_table_then_from_the_header_then_from_the_name(tmp_path: Path) -> None:
    images = tmp_path / "images"
    write_dicom(images / "7_left.dcm", EYES[0], ImageLaterality="R", PatientID="A")
    write_dicom(images / "8_left.dcm", EYES[1], PatientID="B")
    write_dicom(images / "9_left.dcm", EYES[2], ImageLaterality="L")
    write_dicom(images / "10_left.dcm", EYES[3], ImageLaterality="L", PatientID="A")
    dataset, report = read(images, "image,level,patient,eye\n7_left,0,,\n8_left,1,,\n9_left,2,Q,right\n10_left,3,,\n")
    told = {name: (image.patient, image.eye) for name, image in by_name(dataset).items()}
    assert told == {
        "7_left.dcm": ("A", "right"),
        "8_left.dcm": ("B", "left"),
        "9_left.dcm": ("Q", "right"),
        "10_left.dcm": ("A", "left"),
    }
    assert "DICOM headers told the eye of 2 and the patient of 3 photographs." in report.guesses
    assert sum("9_left.dcm" in line and "The table was followed" in line for line in report.guesses) == 1
    knees = Scale(subject=IMAGE)
    assert {image.eye for image in read_dataset(images, scale=knees)[0].images} == {None}


def test_one_patient_for_all_files_is_taken_for_anonymous(tmp_path: Path) -> None:
    for place in range(3):
        write_dicom(tmp_path / f"a{place}.dcm", EYES[place], PatientID="ANON")
    dataset, report = read(tmp_path)
    assert {image.patient for image in dataset.images} == {None}
    (told,) = (line for line in report.guesses if "name the same one" in line)
    assert "ANON" not in told
    assert "All 3 DICOM files" in told


# Frames ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    write_dicom(images / "a" / "film.dcm", EYES[:3], frames=True, SOPInstanceUID="1.2.3", ImageLaterality="L")
    write_dicom(images / "one.dcm", EYES[3])
    return images


@pytest.mark.parametrize("name", ["film", "film.dcm", "a/film.dcm", "FILM", "1.2.3"])
def test_the_name_of_a_file_means_all_its_frames(frames: Path, name: str) -> None:
    dataset, report = read(frames, f"image,level\n{name},2\none,1\n")
    found = by_name(dataset)
    assert {key: image.grade for key, image in found.items()} == {"film.1.dcm": 2, "film.2.dcm": 2, "film.3.dcm": 2, "one.dcm": 1}
    assert len({found[f"film.{number}.dcm"].patient for number in (1, 2, 3)} - {None}) == 1
    assert {image.eye for image in dataset.images} == {"left", None}
    assert len(set(dataset.image_ids)) == 4
    assert all(len(image.image_id) == 16 for image in dataset.images)
    for number in (1, 2, 3):
        image = found[f"film.{number}.dcm"]
        assert np.array_equal(read_photograph(image.path), EYES[number - 1])
        assert image_id(image.path) == image.image_id
    assert any("1 DICOM file holds 3 photographs" in line for line in report.guesses)


def test_each_frame_can_have_its_own_grade_mask_and_boxes(frames: Path, tmp_path: Path) -> None:
    dataset, report = read(frames, "image,level\nfilm.1,0\nfilm.3.dcm,4\none,1\n")
    found = by_name(dataset)
    assert {key: image.grade for key, image in found.items()} == {"film.1.dcm": 0, "film.3.dcm": 4, "one.dcm": 1}
    assert [line.partition(":")[0] for line in report.files_without_row] == ["a/film.2.dcm"]
    (tmp_path / "masks" / "a").mkdir(parents=True)
    Image.fromarray(np.zeros((96, 120), np.uint8)).save(tmp_path / "masks" / "a" / "film.3.png")
    assert set(find_masks(tmp_path / "masks", dataset, frames)) == {found["film.3.dcm"].image_id}
    table = tmp_path / "boxes.csv"
    table.write_text("image,lesion,x,y,width,height\nfilm.3,MA,1,1,5,5\n")
    assert set(read_boxes(table, dataset).boxed) == {found["film.3.dcm"].image_id}


def test_masks_and_boxes_find_files_whose_names_hold_dots(tmp_path: Path) -> None:
    image = write_dicom(tmp_path / "images" / "1.2.840.5", EYES[0])
    write_dicom(tmp_path / "images" / "1.2.840.6", EYES[1])
    dataset, _ = read(tmp_path / "images")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.zeros((96, 120), np.uint8)).save(tmp_path / "masks" / "1.2.840.5.png")
    assert set(find_masks(tmp_path / "masks", dataset, tmp_path / "images")) == {image_id(image)}
    table = tmp_path / "boxes.csv"
    table.write_text("image,lesion,x,y,width,height\n1.2.840.5,MA,1,1,5,5\n")
    assert set(read_boxes(table, dataset).boxed) == {image_id(image)}


def test_a_file_with_the_name_of_a_frame_is_not_mistaken_for_it(frames: Path) -> None:
    write_dicom(frames / "a" / "film.2.dcm", draw_eye(9, 1, size=96).pixels)
    dataset, report = read(frames)
    assert sorted(by_name(dataset)) == ["film.1.dcm", "film.2.dcm", "film.3.dcm", "one.dcm"]
    assert np.array_equal(read_photograph(frames / "a" / "film.2.dcm"), draw_eye(9, 1, size=96).pixels)
    assert ["film.2.dcm, which is another file" in line for line in report.unreadable] == [True]


def test_a_frame_can_be_named_alone_and_found_by_its_id(frames: Path, tmp_path: Path) -> None:
    film = frames / "a" / "film.dcm"
    assert len(read_files([film], scale=DIABETIC_RETINOPATHY).images) == 3
    (second,) = read_files([frames / "a" / "film.2.dcm"], scale=DIABETIC_RETINOPATHY).images
    assert second.eye == "left"
    assert second.image_id in read(frames)[0].image_ids
    store = Store(tmp_path / "store")
    store.keep_files_key(tmp_path / "out", [(second.image_id, second.path)])
    assert store.find_file(second.image_id) == second.path


def test_the_same_files_give_the_same_dataset(frames: Path) -> None:
    first, second = (read(frames) for _ in range(2))
    assert first == second


# The atlas ---------------------------------------------------------------------------------------------------------------------

MARK = "ZQXVMARK"

DATE = "18970203"

KEPT = {"SpecificCharacterSet", "SOPClassUID", "Modality", "PhotometricInterpretation", "BurnedInAnnotation", "ImageLaterality"}

TEXTS = {"AE": 16, "AS": 0, "CS": 16, "LO": 64, "LT": 900, "PN": 60, "SH": 16, "ST": 900, "UC": 900, "UT": 900, "UR": 900}


def stuff(file: Path, number: int) -> int:
    """Put a mark into every element of DICOM that holds words, dates or numbers in text; return how many elements that are."""
    data = pydicom.dcmread(file)
    count = 0
    for tag, (kind, many, _, retired, keyword) in pydicom.datadict.DicomDictionary.items():
        if not keyword or keyword in KEPT or retired or tag >> 16 in (0, 2) or tag >> 16 == 0xFFFE:
            continue
        if TEXTS.get(kind):
            value: object = f"{MARK}{number}".upper()
        elif kind == "UI":
            value = f"1.2.826.4242424242.{number}.{count}"
        elif kind in ("DA", "DT"):
            value = DATE
        elif kind == "TM":
            value = "042424"
        else:
            continue
        setattr(data, keyword, [value, value] if many.startswith("2") and kind != "LT" else value)
        count += 1
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.SourceApplicationEntityTitle = MARK
    block = data.private_block(0x0099, MARK, create=True)
    block.add_new(1, "LO", MARK)
    data.preamble = (MARK.encode() * 20)[:128]
    data.save_as(file)
    return count


def test_nothing_of_a_header_reaches_the_pages_or_tables(tmp_path: Path) -> None:
    rows = [("image", "level")]
    for place in range(10):
        name = f"IM{place:04}"
        pixels = draw_eye(place, place % 5, size=128).pixels
        film = place == 9
        file = write_dicom(
            tmp_path / "images" / name,
            [pixels, np.ascontiguousarray(pixels[:, ::-1] // 2)] if film else pixels,
            frames=film,
            syntax=("explicit", "jpeg-lossless", "rle", "jpeg-baseline")[place % 4],
            ImageLaterality="L" if place % 2 else "R",
            BurnedInAnnotation="YES" if place == 8 else "NO",
        )
        assert stuff(file, place) > 1500
        assert MARK.encode() in file.read_bytes()
        rows.append((name, str(place % 5)))
    write_dicom(tmp_path / "images" / "ct", EYES[0], kind=SECONDARY_CAPTURE, Modality="CT", PatientName=MARK)
    with (tmp_path / "grades.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    out = tmp_path / "atlas"
    flags = ["--scorer", "synthetic-alexnet", "--lesion-net", "none", "--patches", "occlusion", "--workers", "1"]
    command = ["build", str(tmp_path / "images"), "--grades", str(tmp_path / "grades.csv"), "--out", str(out), *flags]
    done = CliRunner().invoke(app, [*command, "--store", str(tmp_path / "store"), "--clusters", "3"])
    assert done.exit_code == 0, done.output
    private = tmp_path / "store" / "private"  # what `atlas publish` looks for, kept for this user alone
    assert [MARK.encode() in file.read_bytes() for file in private.iterdir()] == [True]
    files = [file for file in [*out.rglob("*"), *(tmp_path / "store").rglob("*")] if file.is_file() and file.parent != private]
    assert len(files) > 100
    listed = tmp_path / "atlas.rejected.csv"
    for file in [*files, listed]:
        content = file.read_bytes()
        for secret in (MARK, MARK.lower(), DATE, "1897-02-03", "4242424242"):
            assert secret.encode() not in content, (file, secret)
    assert MARK not in done.output.upper()
    assert "DICOM headers told the eye of 10 and the patient of 10 photographs." in done.output
    assert "1 photograph has burnt-in writing:" in done.output
    assert "modality CT" in listed.read_text(encoding="utf-8")
    with (out / "tables" / "images.csv").open(newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == 10
    assert {row["eye"] for row in table} == {"left", "right"}
    assert not any(name in (out / "index.html").read_text(encoding="utf-8") for name, _ in rows[1:])


def test_the_same_files_give_the_same_atlas_whatever_they_are_called(tmp_path: Path) -> None:
    files = [write_dicom(tmp_path / "drawn" / f"{n}", draw_eye(n, n % 5, size=128).pixels, syntax="rle") for n in range(8)]
    sites = []
    for name in ("a", "b"):
        images = tmp_path / name
        images.mkdir()
        for number, file in enumerate(random.Random(name).sample(files, len(files))):
            (images / (f"{number}.dcm" if name == "a" else f"1.2.{number}")).write_bytes(file.read_bytes())
        settings = {"scorer": "synthetic-alexnet", "lesion_net": "none", "patches": "occlusion", "clusters": 3, "workers": 1}
        site, store = tmp_path / f"site-{name}", tmp_path / f"store-{name}"
        build_atlas(load_configuration(images=images, out=site, store=store, **settings))
        sites.append({path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()})
    assert sites[0] == sites[1]


def test_writing_at_the_border_is_left_out_unless_it_is_allowed(tmp_path: Path) -> None:
    """Many files do not say that their pixels name the patient; a photograph that is no DICOM file is only said to have text."""
    eyes = [draw_eye(seed, seed, size=512).pixels for seed in range(4)]
    written = eyes[0].copy()
    height = written.shape[0]
    cv2.putText(written, "PATIENT 123", (4, height - 12), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
    (tmp_path / "images").mkdir()
    write_dicom(tmp_path / "images" / "named.dcm", written)
    Image.fromarray(written).save(tmp_path / "images" / "named.png")
    for number, eye in enumerate(eyes[1:]):
        write_dicom(tmp_path / "images" / f"{number}.dcm", eye)

    def left_out(**settings: Any) -> tuple[str, ...]:
        configuration = load_configuration(
            images=tmp_path / "images",
            out=tmp_path / "site",
            store=tmp_path / "store",
            scorer="synthetic-alexnet",
            lesion_net="none",
            patches="occlusion",
            clusters=2,
            workers=1,
            **settings,
        )
        return tuple(Path(line.what).name for line in build_atlas(configuration).report.burnt_in)  # type: ignore[attr-defined]

    assert left_out() == ("named.dcm",)
    assert left_out(allow_burnt_in=True) == ()
