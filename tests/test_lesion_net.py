"""Lesion nets: boxes on the grid, what teaches them, what they find, their bundles, and how they are measured."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torchvision.models import squeezenet1_1

from atlas.cohort.boxes import read_boxes
from atlas.cohort.lesions import KINDS, LESIONS, coarsely, kind_of
from atlas.drawn.cohort import write_cohort
from atlas.drawn.paint import draw_eye
from atlas.errors import DatasetError, ScorerError, TrainingError
from atlas.lesionnets.bundle import load_lesion_net, save_lesion_net
from atlas.lesionnets.fundus import FundusLesionNet, falls, is_blue, is_grey, marked, named, spots, together, width_of
from atlas.lesionnets.grid import cells_in, with_ring
from atlas.lesionnets.landmarks import DISC_DIAMETER
from atlas.lesionnets.networks import GRID, SIDE, LesionModule, views
from atlas.patterns.patches import lesion_patches, only
from atlas.photographs.frames import touched
from atlas.photographs.retina import find_retina
from atlas.records import Dataset, Frame, GradedImage, LesionBox, Mark
from atlas.resources import DEFAULT_LESION_NET
from atlas.training.lesions import Pupil, Shown, loss_of, show, train_lesion_net
from atlas.trust.found import SQUARE, Found, compare, squares, summarise_found

NAMED = ("microaneurysm", "haemorrhage", "hard_exudate")


def blank(kinds: int = len(NAMED)) -> Shown:
    nothing = np.zeros((kinds, GRID, GRID), np.float32)
    return Shown(np.zeros((SIDE, SIDE, 3), np.uint8), np.ones((SIDE, SIDE), np.bool_), nothing, nothing, {}, False)


def net(**changes: object) -> FundusLesionNet:
    torch.manual_seed(3)
    module = LesionModule(len(NAMED)).eval()
    thresholds = dict.fromkeys(marked(NAMED), 0.5)
    return replace(FundusLesionNet("try", NAMED, module, thresholds, "0" * 64, "# try\n"), **changes)  # type: ignore[arg-type]


def test_kinds_of_lesion_are_told_apart_by_letter_and_by_colour() -> None:
    assert len({kind.letter for kind in KINDS.values()}) == len({kind.colour for kind in KINDS.values()}) == len(KINDS)
    assert {kind_of(name) for name in LESIONS} == set(KINDS) - {"red_lesion"}
    assert kind_of("Hard Exudates") == kind_of("EX") == "hard_exudate"
    assert kind_of("optic disc") == "optic_disc"
    assert kind_of("freckle") is None
    assert [coarsely(kind) for kind in NAMED] == ["red_lesion", "red_lesion", "hard_exudate"]


def test_a_box_holds_the_cells_whose_middle_it_holds() -> None:
    frame = Frame(100, 50, 4 * GRID)  # four pixels to a cell
    rows, columns = cells_in(LesionBox("hard_exudate", 100, 58, 108, 70), frame)
    assert (rows, columns) == (slice(0, 2), slice(2, 5))
    rows, columns = cells_in(LesionBox("hard_exudate", 121, 71, 121.5, 71.5), frame)  # holds no middle
    assert (rows, columns) == (slice(5, 6), slice(5, 6))
    rows, columns = cells_in(LesionBox("hard_exudate", -500, -500, -400, 5000), frame)
    assert rows.stop == rows.start
    assert with_ring((slice(10, 12), slice(0, 40))) == (slice(9, 13), slice(0, 47))


def test_a_box_touches_the_cells_that_it_shares_a_pixel_with() -> None:
    frame = Frame(10, 20, 40)
    alone = touched(frame, (4, 4), (10, 20, 20, 30))
    assert np.argwhere(alone).tolist() == [[0, 0]]
    both = touched(frame, (4, 4), (15, 29, 16, 31))
    assert np.argwhere(both).tolist() == [[0, 0], [0, 1]]
    assert not touched(frame, (4, 4), (0, 0, 10, 20)).any()


def dataset(tmp_path: Path, *names: str) -> Dataset:
    return Dataset(tuple(GradedImage(f"{k:016x}", tmp_path / name, 0) for k, name in enumerate(names)))


def table(tmp_path: Path, *rows: str, header: str = "image,lesion,x,y,width,height") -> Path:
    file = tmp_path / "boxes.csv"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


def test_a_table_of_boxes_is_read_and_rows_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    images = dataset(tmp_path, "a.jpg", "b.png", "one/c.jpg", "two/c.jpg")
    file = table(
        tmp_path,
        "a,hard_exudate,10,20,5,4",
        "a.jpg,Haemorrhages,1.5,2.5,3,3",
        "b,optic disc,0,0,9,9",
        "b,freckle,0,0,9,9",
        "b,MA,0,zero,9,9",
        "b,MA,0,0,-9,9",
        "c,MA,0,0,9,9",
        "elsewhere,MA,0,0,9,9",
    )
    found = read_boxes(file, images)
    assert found.boxed == {
        images.image_ids[0]: (LesionBox("hard_exudate", 20, 10, 24, 15), LesionBox("haemorrhage", 2.5, 1.5, 5.5, 4.5))
    }
    assert found.landmarks == {images.image_ids[1]: (LesionBox("optic_disc", 0, 0, 9, 9),)}
    assert [line.partition(":")[0] for line in found.faults] == [f"{file}, row {row}" for row in (5, 6, 7, 8)]
    assert "freckle" in found.faults[0]
    assert "zero" in found.faults[1]
    assert "any of 2" in found.faults[3]


def test_decimal_commas_are_read(tmp_path: Path) -> None:
    file = table(tmp_path, "a;MA;1,5;2,5;3,0;4", header="image;lesion;x;y;width;height")
    images = dataset(tmp_path, "a.jpg")
    assert read_boxes(file, images).boxed == {images.image_ids[0]: (LesionBox("microaneurysm", 2.5, 1.5, 6.5, 4.5),)}


def test_a_table_without_a_column_or_of_other_photographs_is_refused(tmp_path: Path) -> None:
    images = dataset(tmp_path, "a.jpg")
    with pytest.raises(DatasetError, match="no column `height`"):
        read_boxes(table(tmp_path, "a,MA,1,2,3", header="image,lesion,x,y,width"), images)
    with pytest.raises(DatasetError, match="none of its rows"):
        read_boxes(table(tmp_path, "z,MA,1,2,3,4"), images)


def test_views_do_not_change_with_the_light() -> None:
    drawn = draw_eye(5, 3, size=SIDE)
    _frame, mask = find_retina(drawn.pixels)
    plate = torch.from_numpy(drawn.pixels[:SIDE, :SIDE]).permute(2, 0, 1)[None].float() / 255
    retina = torch.from_numpy(mask[:SIDE, :SIDE])[None, None].float()
    own, darker = views(plate, retina), views(0.8 * plate, retina)
    assert own.shape == (1, 6, SIDE, SIDE)
    assert not own[(1 - retina).bool().expand_as(own)].any()
    assert torch.allclose(own[:, :3], darker[:, :3], atol=1e-3)
    assert float((own[:, 3:] - darker[:, 3:]).abs().mean()) < 0.1 * float(own[:, 3:].abs().mean())


def test_cells_look_down_on_their_own_pixels_to_within_a_cell() -> None:
    module = LesionModule(1).eval()
    seen = torch.zeros(1, 6, 256, 256, requires_grad=True)
    with torch.no_grad():
        seen += 0.01 * torch.randn(seen.shape, generator=torch.Generator().manual_seed(0))
    maps = module.features(seen)
    assert maps.shape[-2:] == (32, 32)
    (gradient,) = torch.autograd.grad(maps[0, :, 10, 20].sum(), seen)
    weight = gradient.abs().sum((0, 1)).numpy()
    rows, columns = (np.average(np.arange(256) + 0.5, weights=weight.sum(axis)) for axis in (1, 0))
    assert rows == pytest.approx(10.5 * 8, abs=8)
    assert columns == pytest.approx(20.5 * 8, abs=8)


def test_a_red_box_is_met_by_either_red_kind_and_by_one_place_of_it() -> None:
    owners = np.zeros((GRID, GRID), np.int16)
    owners[40:50, 40:50] = 1
    shown = replace(blank(), owners={"red_lesion": owners})
    low, high = -6.0, 4.0

    def loss(kind: int | None, cells: tuple[slice, slice]) -> float:
        logits = torch.full((len(NAMED), GRID, GRID), low)
        if kind is not None:
            logits[(kind, *cells)] = high
        return float(loss_of(logits, shown, NAMED))

    one, whole = (slice(44, 46), slice(44, 46)), (slice(40, 50), slice(40, 50))
    nothing = loss(None, one)
    assert loss(0, one) < nothing / 5
    assert loss(1, one) < nothing / 5
    assert loss(2, whole) == pytest.approx(nothing)
    assert loss(0, whole) < loss(0, one)


def test_places_of_a_healthy_eye_must_stay_low_and_an_ill_eye_must_hold_something() -> None:
    healthy = replace(blank(), healthy=np.ones((len(NAMED), GRID, GRID), np.float32))
    quiet, loud = torch.full((len(NAMED), GRID, GRID), -6.0), torch.full((len(NAMED), GRID, GRID), -2.0)
    assert float(loss_of(quiet, healthy, NAMED)) < float(loss_of(loud, healthy, NAMED))
    ill = replace(blank(), some=True)
    spotted = quiet.clone()
    spotted[2, 30, 30:34] = 5.0
    assert float(loss_of(spotted, ill, NAMED)) < float(loss_of(quiet, ill, NAMED))
    assert float(loss_of(quiet, blank(), NAMED)) == 0


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight drawn eyes with a table of boxes round the parts of their masks."""
    folder = tmp_path_factory.mktemp("drawn")
    write_cohort(8, folder, seed=11, size=320, confusers=True)
    return folder


def pupils(folder: Path) -> list[Pupil]:
    with (folder / "grades.csv").open(encoding="utf-8", newline="") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    known = [kind.replace("_", "-") for kind in NAMED]
    return [
        Pupil(
            folder / "images" / f"{name}.jpg",
            masks={f.stem.replace("-", "_"): f for f in sorted((folder / "masks" / name).glob("*.png")) if f.stem in known},
            elsewhere=dict.fromkeys(NAMED, 1.0),
        )
        for name in names
    ]


def test_labels_follow_their_photograph_when_it_is_turned_and_zoomed(drawn: Path) -> None:
    pupil = next(one for one in pupils(drawn) if "haemorrhage" in one.masks)
    row = NAMED.index("haemorrhage")
    still = show(pupil, NAMED)
    assert (still.lesion[row] > 0).any()
    assert not ((still.lesion > 0) & (still.healthy > 0)).any()
    for turn in range(4):
        shown = show(pupil, NAMED, np.random.default_rng(turn))
        marked_cells = shown.lesion[row] > 0
        cells = shown.plate.reshape(GRID, 8, GRID, 8, 3).mean(axis=(1, 3))
        near = cv2.dilate(marked_cells.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        around = near & (shown.healthy[row] > 0)
        assert cells[marked_cells][:, 1].mean() < cells[around][:, 1].mean() - 3  # blood is darker in green


def test_training_lowers_the_loss_goes_on_where_it_stopped_and_refuses_another_checkpoint(drawn: Path, tmp_path: Path) -> None:
    own = pupils(drawn)[:2]
    start = dict(LesionModule(len(NAMED)).state_dict().items())
    seen: list[float] = []

    def judge(epoch: int, module: LesionModule) -> None:
        shown = show(own[0], NAMED)
        from atlas.training.lesions import as_input

        with torch.no_grad():
            seen.append(float(loss_of(module(as_input([shown]))[0], shown, NAMED)))

    file = tmp_path / "checkpoint.pt"
    common = {"start": start, "batch": 2, "learning_rate": 3e-4, "seed": 4}
    whole = train_lesion_net(own, NAMED, epochs=2, each_epoch=judge, checkpoint=file, **common)  # type: ignore[arg-type]
    before = LesionModule(len(NAMED))
    before.load_state_dict(start)
    judge(0, before.eval())
    assert seen[1] < seen[2]
    again = train_lesion_net(own, NAMED, epochs=2, checkpoint=file, **common)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))
    with pytest.raises(TrainingError, match="another training"):
        train_lesion_net(own, NAMED, epochs=3, checkpoint=file, **common)  # type: ignore[arg-type]
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="cannot be read as a checkpoint"):
        train_lesion_net(own, NAMED, epochs=2, checkpoint=file, **common)  # type: ignore[arg-type]


def test_what_generic_weights_leave_open_is_drawn_by_the_seed(drawn: Path) -> None:
    generic = {f"features.{name}": tensor for name, tensor in squeezenet1_1(weights=None).features.state_dict().items()}

    def first(seed: int) -> list[torch.Tensor]:
        return list(train_lesion_net(pupils(drawn), NAMED, start=generic, epochs=0, seed=seed).state_dict().values())

    one, again, other = first(1), first(1), first(2)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_training_without_photographs_or_of_an_unknown_kind_is_refused(drawn: Path) -> None:
    with pytest.raises(TrainingError, match="no photograph"):
        train_lesion_net([], NAMED, start={})
    with pytest.raises(TrainingError, match="freckle"):
        train_lesion_net(pupils(drawn), ("freckle",), start={})


def test_spots_are_parted_and_bounded() -> None:
    maps = np.zeros((len(NAMED), GRID, GRID), np.float32)
    maps[1, 10:13, 20:22] = 0.9
    maps[0, 40, 40] = 0.8
    maps[0, 60, 60:62], maps[1, 60, 60:62] = 0.5, 0.5
    maps[2, 90:95, 5] = 0.7
    maps[2, 95, 6] = 0.7  # touches by a corner
    found = {(one.kind, one.top, one.left, one.height, one.width) for one in spots(NAMED, maps, net().thresholds)}
    assert found == {
        ("red_lesion", 10, 20, 3, 2),
        ("red_lesion", 40, 40, 1, 1),
        ("red_lesion", 60, 60, 1, 2),
        ("hard_exudate", 90, 5, 6, 2),
    }
    assert together(NAMED, maps, "red_lesion")[60, 60] == pytest.approx(0.75)
    assert marked(NAMED) == ("red_lesion", "hard_exudate")
    assert {one.kind for one in spots(NAMED, maps, {"hard_exudate": 0.5})} == {"hard_exudate"}, "no threshold, no mark"
    (only,) = spots(("haemorrhage",), maps[1:2], {"red_lesion": 0.6})
    assert only.kind == "haemorrhage", "a net that knows one kind of red lesion"


def test_a_kind_without_a_threshold_is_learned_but_not_marked(tmp_path: Path) -> None:
    save_lesion_net(tmp_path / "net", net(thresholds={"hard_exudate": 1e-9}, training={"from_drawn_eyes": ["microaneurysm"]}))
    some = load_lesion_net(tmp_path / "net")
    eye = draw_eye(8, 2, size=400)
    found, every = (
        one.find(eye.pixels, *find_retina(eye.pixels)) for one in (some, net(thresholds=dict.fromkeys(marked(NAMED), 1e-9)))
    )
    assert some.marked == ("hard_exudate",)
    assert some.from_drawn_eyes == ()
    assert {mark.kind for mark in found.lesions} == set(found.strongest) == {"hard_exudate"}
    assert found.maps.shape == every.maps.shape, "its map is there"
    assert found.descriptors.shape[1] == every.descriptors.shape[1], "and patches are described by it, too"
    with pytest.raises(ScorerError, match="no other kind"):
        save_and_load(tmp_path / "odd", net(thresholds={"haemorrhage": 0.5}))


def save_and_load(folder: Path, lesion_net: FundusLesionNet) -> FundusLesionNet:
    save_lesion_net(folder, lesion_net)
    return load_lesion_net(folder)


def test_a_bundle_comes_back_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    save_lesion_net(tmp_path / "a", net())
    loaded = load_lesion_net(tmp_path / "a")
    assert (loaded.name, loaded.kinds, loaded.thresholds, loaded.card) == ("try", NAMED, net().thresholds, "# try\n")
    save_lesion_net(tmp_path / "b", loaded)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    drawn_eye = draw_eye(8, 2, size=400)
    frame, mask = find_retina(drawn_eye.pixels)
    again = load_lesion_net(tmp_path / "b")
    assert np.array_equal(loaded.maps(drawn_eye.pixels, frame, mask), again.maps(drawn_eye.pixels, frame, mask))
    save_lesion_net(tmp_path / "b", replace(loaded, thresholds={**loaded.thresholds, "hard_exudate": 0.6}))
    assert load_lesion_net(tmp_path / "b").sha256 != loaded.sha256
    save_lesion_net(tmp_path / "b", replace(loaded, card="other words"))
    assert load_lesion_net(tmp_path / "b").sha256 == loaded.sha256

    weights = tmp_path / "a" / "network.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ScorerError, match="damaged"):
        load_lesion_net(tmp_path / "a")
    with pytest.raises(ScorerError, match="neither a shipped lesion net"):
        load_lesion_net("nobody")
    manifest = tmp_path / "b" / "lesionnet.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "kinds": ["freckle"]}))
    with pytest.raises(ScorerError, match="freckle"):
        load_lesion_net(tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "holiday.txt").write_text("keep me")
    with pytest.raises(ScorerError, match="not a lesion net"):
        save_lesion_net(tmp_path / "c", net())


def exudate_everywhere(sure: float = 2.0) -> FundusLesionNet:
    """A net that takes every place for exudate, with this logit."""
    module = LesionModule(len(NAMED)).eval()
    with torch.no_grad():
        module.kinds.weight.zero_()
        assert module.kinds.bias is not None
        module.kinds.bias.copy_(torch.tensor([-9.0, -9.0, sure]))
    return net(module=module)


def test_what_is_found_lies_on_the_retina_in_source_pixels_and_says_what_is_too_small() -> None:
    everywhere = exudate_everywhere()
    drawn_eye = draw_eye(8, 0, size=400)
    frame, mask = find_retina(drawn_eye.pixels)
    found = everywhere.find(drawn_eye.pixels, frame, mask, factor=4)
    (mark,) = found.lesions
    assert mark.kind == "hard_exudate"
    assert found.descriptors.shape == (1, 2 * 96 + len(NAMED))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    bounds = 4 * np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
    assert np.abs(np.array(mark.box) - bounds).max() <= 4 * frame.side / GRID * 2
    assert found.too_small == frozenset()
    assert everywhere.find(drawn_eye.pixels, frame, mask).too_small == {"microaneurysm"}


@pytest.mark.parametrize("place", [(0.6, 0.35), (0.3, 0.55)])
def test_of_places_that_are_equally_likely_the_palest_is_the_strongest(place: tuple[float, float]) -> None:
    certain = exudate_everywhere(sure=12.0)
    drawn_eye = draw_eye(8, 0, size=SIDE)
    frame, mask = find_retina(drawn_eye.pixels)
    row, column = (int(start + share * frame.side) for start, share in zip((frame.top, frame.left), place, strict=True))
    cv2.circle(drawn_eye.pixels, (column, row), 5, (255, 250, 200), -1)
    probability, y, x = certain.find(drawn_eye.pixels, frame, mask).strongest["hard_exudate"]
    assert probability > 0.999
    assert abs(y - row) < 5
    assert abs(x - column) < 5


def test_nothing_is_marked_where_it_is_too_dark_to_tell() -> None:
    everywhere = exudate_everywhere()
    drawn_eye = draw_eye(8, 0, size=400)
    frame, mask = find_retina(drawn_eye.pixels)
    dim = np.minimum(drawn_eye.pixels, 40).astype(np.uint8)
    assert len(everywhere.find(drawn_eye.pixels, frame, mask).lesions) == 1
    found = everywhere.find(dim, frame, mask)
    assert found.lesions == ()
    assert found.descriptors.shape == (0, 2 * 96 + len(NAMED))
    assert found.maps.max() > 0.8, "the net's own opinion stands"


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize(("red", "grey"), [(0.0, False), (0.1, False), (0.3, False), (0.42, True), (0.5, True)])
def test_a_dark_dot_is_blood_if_it_is_darkest_in_green_and_dust_if_it_is_grey(red: float, grey: bool, power: float) -> None:
    dot = np.zeros((GRID, GRID), np.bool_)
    dot[60:63, 70:72] = True
    row, column = np.mgrid[:SIDE, :SIDE] + 0.5
    near = np.exp(-((row - 61.5 * SIDE / GRID) ** 2 + (column - 71 * SIDE / GRID) ** 2) / 60)[..., None]
    plate = np.array([190.0, 110.0, 60.0]) * np.exp(-near * power * np.array([red, 0.5, 0.5]))
    (spot,) = spots(("haemorrhage",), np.where(dot, 0.9, 0.0).astype(np.float32)[None], {"red_lesion": 0.5})
    assert is_grey(*falls(plate.round().astype(np.uint8), spot)) == grey


@pytest.mark.parametrize(
    ("light", "blue"), [((0, 10, 40), True), ((20, 30, 50), True), ((60, 60, 60), False), ((50, 60, 30), False)]
)
def test_a_pale_dot_that_is_paler_in_blue_than_in_green_is_a_reflex(light: tuple[int, int, int], blue: bool) -> None:
    plate = np.full((SIDE, SIDE, 3), (180, 100, 60), np.uint8)
    cv2.circle(plate, (564, 492), 14, tuple(np.add((180, 100, 60), light).tolist()), -1)
    likely = np.zeros((1, GRID, GRID), np.float32)
    likely[0, 60:63, 69:72] = 0.9
    (spot,) = spots(("cotton_wool_spot",), likely, {"cotton_wool_spot": 0.5})
    assert is_blue(*falls(plate, spot)) == blue


def test_the_edge_of_the_field_is_grey() -> None:
    plate = np.full((SIDE, SIDE, 3), (180, 100, 60), np.uint8)
    plate[700:] = 0
    edge = np.zeros((1, GRID, GRID), np.float32)
    edge[0, 86:88, 40:44] = 0.9
    (spot,) = spots(("haemorrhage",), edge, {"red_lesion": 0.5})
    assert is_grey(*falls(plate, spot))


def _blots(*dots: tuple[float, float, float]) -> tuple[float, str]:
    """Return the width and the name of dots of blood, each a row, a column and a width, that are one spot."""
    plate, blood = np.full((SIDE, SIDE, 3), (190, 110, 60), np.uint8), np.zeros((SIDE, SIDE, 1), np.uint8)
    for row, column, width in dots:
        for picture, colour in ((plate, (170, 60, 40)), (blood, (255,))):
            cv2.circle(picture, (round(16 * column), round(16 * row)), round(8 * width), colour, -1, cv2.LINE_AA, 4)
    cells = cv2.dilate(cv2.resize(blood, (GRID, GRID), interpolation=cv2.INTER_AREA), np.ones((3, 3), np.uint8))
    likely = np.where(cells > 0, 0.9, 0.0).astype(np.float32)[None]
    (spot,) = spots(("red_lesion",), likely, {"red_lesion": 0.5})
    fall, own = falls(plate, spot)
    width = width_of(fall[..., 1], own)
    return width, named(width)


@pytest.mark.parametrize("at", [(500.0, 500.0), (503.4, 498.7), (20.0, 700.0)])
@pytest.mark.parametrize(
    ("share", "name"),
    [
        (1 / 20, "microaneurysm"),
        (1 / 13, "microaneurysm"),
        (1 / 11, "red_lesion"),
        (1 / 8, "haemorrhage"),
        (1 / 3, "haemorrhage"),
    ],
)
def test_a_red_lesion_is_named_by_its_width(share: float, name: str, at: tuple[float, float]) -> None:
    width, called = _blots((*at, share * DISC_DIAMETER))
    assert width == pytest.approx(share * DISC_DIAMETER, abs=2.0)
    assert called == name
    assert named(width, {"microaneurysm"}) == ("red_lesion" if name == "microaneurysm" else name), "too small to show"


def test_several_red_lesions_in_one_spot_are_named_by_the_largest() -> None:
    dots = [(500.0, 500.0, 8.0), (500.0, 516.0, 8.0)]
    assert _blots(*dots)[1] == "microaneurysm"
    assert _blots(*dots, (500.0, 550.0, 24.0))[1] == "haemorrhage"


def test_the_shipped_net_marks_dots_of_blood_and_not_the_same_dots_of_dust() -> None:
    shipped = load_lesion_net(DEFAULT_LESION_NET)
    drawn_eye = draw_eye(8, 0, size=900)
    frame, mask = find_retina(drawn_eye.pixels)
    row, column = np.mgrid[: drawn_eye.pixels.shape[0], : drawn_eye.pixels.shape[1]]
    row, column = row - frame.top - frame.side / 2, column - frame.left - frame.side / 2
    dots = {"microaneurysm": (180, 60, 4.5), "red_lesion": (-200, -40, 6.2), "haemorrhage": (200, -120, 11.0)}
    dark = sum(np.exp(-((row - down) ** 2 + (column - across) ** 2) / wide**2) for down, across, wide in dots.values())[..., None]
    found = {}
    for name, absorbed in (("blood", (0.15, 0.8, 0.8)), ("dust", (0.8, 0.8, 0.8))):
        painted = (drawn_eye.pixels * np.exp(-dark * np.array(absorbed))).astype(np.uint8)
        found[name] = shipped.find(painted, frame, mask)
    assert sorted(mark.kind for mark in found["blood"].lesions) == sorted(dots), "each named by its width"
    assert found["dust"].lesions == ()
    seen = together(shipped.kinds, found["dust"].maps, "red_lesion").max()
    assert seen > shipped.thresholds["red_lesion"], "the net alone would have marked the dust"


def test_a_place_is_described_as_a_lesion_that_fills_it() -> None:
    drawn_eye = draw_eye(8, 3, size=900)
    frame, mask = find_retina(drawn_eye.pixels)
    sure = net(thresholds=dict.fromkeys(marked(NAMED), 0.0))  # one lesion of a kind, the frame from edge to edge
    found = sure.find(drawn_eye.pixels, frame, mask)
    box = [frame.top, frame.left, frame.top + frame.side, frame.left + frame.side]
    described = sure.describe(drawn_eye.pixels, frame, mask, np.array([box, [450, 450, 460, 470]]))
    np.testing.assert_allclose(described[0], found.descriptors[0], atol=1e-6)
    assert described.shape == (2, found.descriptors.shape[1])
    assert np.abs(described[1] - described[0]).max() > 0.01


def test_lesions_become_patches_that_are_centred_on_them() -> None:
    frame = Frame(0, 0, 1280)
    marks = [Mark("hard_exudate", (100, 200, 140, 260), 0.9), Mark("haemorrhage", (600, 600, 610, 610), 0.8)]
    marks += [Mark("microaneurysm", (20 * k, 900, 20 * k + 10, 910), 0.5) for k in range(30)]
    described = np.arange(len(marks), dtype=np.float32)[:, None]
    falls = np.linspace(1, 0, len(marks)).astype(np.float32)
    made = lesion_patches({"a" * 16: marks}, {"a" * 16: falls}, {"a" * 16: described}, {"a" * 16: frame}, (13, 13), threshold=0.8)
    assert len(made.patch_ids) == len(set(made.patch_ids)) == 16
    assert made.kinds[:2] == ("hard_exudate", "haemorrhage")
    top, left, bottom, right = made.boxes[0].tolist()
    assert ((top + bottom) / 2, (left + right) / 2) == (120, 230)
    assert bottom - top == right - left == 96  # 1.6 times its longer side
    assert made.boxes[1][2] - made.boxes[1][0] == round(0.06 * 1280)
    assert made.cells[0].tolist() == [12 * 13 // 128, 23 * 13 // 128, 1]
    assert made.descriptors.ravel().tolist() == list(range(16))
    assert made.drop.tolist() == falls[:16].tolist()
    kept = only(made, np.array([1, 4]))
    assert kept.kinds == ("haemorrhage", "microaneurysm")


def test_a_perfect_map_hits_and_a_blind_one_does_as_chance() -> None:
    retina = np.ones((GRID, GRID), np.bool_)
    lesion = np.zeros((GRID, GRID), np.bool_)
    lesion[20:30, 20:30] = True
    perfect = np.where(lesion, 0.9, 0.1).astype(np.float32)
    found = compare(perfect, perfect > 0.5, 1, [lesion], retina, hit=True)
    assert found == Found(pytest.approx(0.9), 1.0, pytest.approx(100 / GRID**2), 1, 1, 1)
    missed = compare(1 - perfect, perfect > 2, 0, [lesion], retina, hit=False)
    assert (missed.hit, missed.touched) == (0.0, 0)
    free = compare(perfect, perfect > 0.5, 1, [], retina, hit=False)
    assert np.isnan(free.hit)
    rows = [{"hard_exudate": one} for one in (found, found, replace(free, strongest=0.2))]
    entry = summarise_found(rows, ["p", "q", "r"], [False, None, True], name="try")
    told = entry["kinds"]["hard_exudate"]
    assert (told["auc"][0], told["hit"][0], told["touched"][0], told["false_marks"][0]) == (1, 1, 1, 1)
    assert (told["with_lesion"], told["lesions"], entry["free"]) == (2, 2, 1)
    scores, shows = squares(perfect, [lesion], retina)
    assert shows.any()
    assert scores[shows].min() > scores[~shows].max()
    assert len(squares(perfect, [], retina)[0]) == ((GRID - SQUARE) // 5 + 1) ** 2
