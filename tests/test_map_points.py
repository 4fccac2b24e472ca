"""The arithmetic of the patch map, site_templates/js/map-points.js, on its own: it needs a JavaScript engine and no page."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from javascript import evaluate

SIDE, MANY = 10_000, 3000
GRADES = [{"number": number, "name": name} for number, name in enumerate(("normal", "mild", "severe"))]


def columns() -> tuple[dict[str, Any], dict[str, Any]]:
    """Patches strewn over a map: what data/map.js and data/images.js hold of them."""
    random = np.random.default_rng(5)
    plates = 400
    data = {
        "extent": [SIDE, SIDE // 2],
        "x": random.integers(0, SIDE, MANY, endpoint=True).tolist(),
        "y": random.integers(0, SIDE // 2, MANY, endpoint=True).tolist(),
        "plate": np.sort(random.integers(0, plates - 1, MANY)).tolist(),  # the last plate has no patch
        "cell": (np.arange(MANY) % 7).tolist(),
        "cells": [f"{k:04d}w2" for k in range(7)],
        "drop": random.integers(-50, 4000, MANY).tolist(),
        "cluster": random.integers(0, 4, MANY).tolist(),
        "clusters": [{"number": number} for number in (1, 2, 3)],
    }
    images = {
        "id": [f"{k:03x}{k:013x}" for k in range(plates)],
        "grade": [None if k % 5 == 4 else k % 3 for k in range(plates)],
        "grades": GRADES,
        "name": [f"Ward {k}.jpg" for k in range(plates)],
    }
    return data, images


DATA, IMAGES = columns()
XY = np.stack([DATA["x"], DATA["y"]], axis=1)


def run(expression: str, argument: Any = None) -> Any:
    """What an expression of `points`, `view` (of a stage 1000 wide and 600 high) and `given` comes to."""
    program = f"""(([data, images, given]) => {{
      const points = page.AtlasPoints(data, images), view = page.AtlasView(data.extent).resize(1000, 600);
      return {expression};
    }})(given)"""
    return evaluate(["map-points"], program, [DATA, IMAGES, argument])


def test_a_lasso_holds_the_patches_that_lie_inside_it() -> None:
    random = np.random.default_rng(1)
    ropes = [random.integers(-200, SIDE // 2 + 200, (corners, 2)) for corners in (3, 4, 9, 40)]
    found = run("given.map((rope) => points.from(`lasso:${rope.join(',')}`).members)", [rope.ravel().tolist() for rope in ropes])
    for rope, members in zip(ropes, found, strict=True):
        # Filled by the rule that a crossing rope turns inside out, as on the page; what lies on the rope may go either way.
        sides = np.concatenate([np.roll(rope, -1, axis=0)[:, None], rope[:, None]], axis=1).astype(np.float64)
        along = sides[:, 0] - sides[:, 1]
        offset = XY[:, None] - sides[:, 1]
        share = np.clip((offset * along).sum(-1) / np.maximum(1e-9, (along**2).sum(-1)), 0, 1)
        far = np.hypot(*np.moveaxis(offset - share[..., None] * along, -1, 0)).min(axis=1) > 3
        canvas = np.zeros((SIDE // 2 + 401, SIDE + 401), np.uint8)
        cv2.fillPoly(canvas, [rope.astype(np.int32) + 200], 1)
        inside = canvas[XY[:, 1] + 200, XY[:, 0] + 200] > 0
        assert far.sum() > 0.9 * MANY
        assert set(np.flatnonzero(inside & far)) == set(np.array(members, int)) & set(np.flatnonzero(far))
        assert members


def test_a_box_and_the_nearest_are_those_of_a_search_through_all() -> None:
    boxes = [(1000, 700, 3000, 2500), (-50, -50, SIDE + 9, SIDE), (0, 0, 0, 0)]
    found = run("given.map((box) => points.from(`box:${box.join(',')}`).members)", boxes)
    for (left, top, right, bottom), members in zip(boxes, found, strict=True):
        x, y = XY.T
        inside = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
        assert sorted(members) == np.flatnonzero(inside).tolist()
    places = np.random.default_rng(2).integers(-100, SIDE, (200, 2))
    far = 120
    found = run("given.map(([x, y]) => points.nearest(x, y, 120))", places.tolist())
    away = np.hypot(*np.moveaxis(places[:, None] - XY[None], -1, 0))
    for place, row in zip(away, found, strict=True):
        assert (row == -1) is bool(place.min() > far)
        assert row == -1 or place[row] == place.min()
    within = (np.arange(MANY) % 2).tolist()
    odd = run("given[0].map(([x, y]) => points.nearest(x, y, 120, given[1]))", [places.tolist(), within])
    assert all(row == -1 or row % 2 for row in odd)
    assert any(row != one for row, one in zip(odd, found, strict=True))


def test_a_view_keeps_its_bounds_and_the_place_under_the_pointer() -> None:
    found = run(
        """(() => {
          const at = view.toMap(300, 200);
          view.zoomAt(5, 300, 200);
          const screen = view.toScreen(...at), scale = view.scale();
          view.show(points.bounds([3, 4]));
          const seen = [3, 4].map((i) => view.toScreen(points.x[i], points.y[i]));
          view.set({ x: -5, y: 1e9, zoom: 1e9 });
          const far = [view.x, view.y, view.zoom];
          return { screen, seen, far, whole: [view.isWhole(), view.whole().isWhole()], grown: scale / view.scale() };
        })()"""
    )
    assert found["screen"] == pytest.approx([300, 200])
    assert found["grown"] == pytest.approx(5)
    assert all(0 < x < 1000 and 0 < y < 600 for x, y in found["seen"])
    assert found["far"] == [0, SIDE // 2, 300]
    assert found["whole"] == [False, True]


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ("Cluster 3", "cluster:3"),
        ("c2", "cluster:2"),
        ("cluster 9", None),
        ("12", "plate:12"),
        ("plate #400", "plate:400"),
        ("401", None),
        (IMAGES["id"][20][:5].upper(), "plate:21"),
        (f"{IMAGES['id'][300]}-0003w2", "plate:301"),
        ("ward 33", "plate:34"),
        ("no", None),
        ("nobody", None),
    ],
)
def test_a_search_means_a_cluster_a_plate_or_nothing(words: str, key: str | None) -> None:
    assert run("points.sought(given)", words) == key


def test_a_search_ignores_the_case_of_translated_words() -> None:
    """German nouns begin with a capital."""
    kinds = [{"key": "haemorrhage", "letter": "H", "name": "Blutung", "plural": "Blutungen"}]
    program = """(([data, images, words]) => {
      const german = { cluster: "Cluster", plate: "Tafel" };
      page.gettext = (message) => german[message] ?? message;
      return words.map(page.AtlasPoints(data, images).sought);
    })(given)"""
    words = ["Tafel 12", "tafel 12", "Cluster 3", "Blutungen", "blutung"]
    found = evaluate(["map-points"], program, [DATA | {"kinds": kinds}, IMAGES, words])
    assert found == ["plate:12", "plate:12", "cluster:3", "kind:haemorrhage", "kind:haemorrhage"]


def test_keys_of_the_address_mean_patches_or_nothing() -> None:
    cluster, plate = np.array(DATA["cluster"]), np.array(DATA["plate"])
    grade = np.array([-1 if one is None else one for one in IMAGES["grade"]])[plate]
    wanted = {
        "cluster:2": cluster == 2,
        "grade:1": grade == 1,
        "grade:none": grade == -1,
        "plate:8": plate == 7,
        "plate:400": plate == 399,
    }
    found = run("given.map((key) => points.from(key).members)", list(wanted))
    assert found == [np.flatnonzero(rows).tolist() for rows in wanted.values()]
    assert found[-1] == []
    odd = [
        "",
        "cluster:4",
        "cluster",
        "grade:7",
        "plate:0",
        "plate:401",
        "box:1,2,3",
        "lasso:1,2,3,4",
        "lasso:1,2,3,4,5,x",
        "beauty:1",
    ]
    assert run("given.map((key) => points.from(key))", odd) == [None] * len(odd)


def test_photographs_count_once_and_those_without_a_grade_not() -> None:
    plates = list(range(0, 60))
    found = run("(() => { const { counts, graded } = points.graded(given); return [[...counts], graded]; })()", plates)
    grades = [IMAGES["grade"][plate] for plate in plates]
    assert found == [[[number, grades.count(number)] for number in range(3)], sum(one is not None for one in grades)]


@pytest.mark.parametrize("zoom", [1, 4, 40])
def test_pictures_do_not_cover_each_other_and_the_strongest_come_first(zoom: float) -> None:
    found = run("(() => { view.set({ zoom: given }); return points.tiles(view); })()", zoom)
    sides = {tile["side"] for tile in found}
    assert len(sides) == 1
    at = np.array([(tile["sx"], tile["sy"]) for tile in found])
    apart = np.abs(at[:, None] - at[None]).max(axis=-1) + 1e9 * np.eye(len(at))
    assert apart.min() >= sides.pop()
    drops = [DATA["drop"][tile["i"]] for tile in found]
    assert drops == sorted(drops, reverse=True)
    assert 0 < len(found) <= 400


def test_squares_are_wanted_where_they_are_seen_and_all_of_them_make_the_whole_map() -> None:
    """A tenth of the patches is loaded, the others lie in squares; with all of them loaded nothing differs but the order."""
    side = 1000
    rows = np.arange(MANY)
    square = np.where(rows % 10 == 0, -1, XY[:, 1] // side * 100 + XY[:, 0] // side)

    def part(own: np.ndarray) -> dict[str, Any]:
        names = ("x", "y", "plate", "cell", "drop", "cluster")
        return {name: np.array(DATA[name])[own].tolist() for name in names} | {"cells": DATA["cells"]}

    names = {f"{number:04d}": np.flatnonzero(square == number) for number in np.unique(square[square >= 0])}
    counts = {name: len(own) for name, own in names.items()}
    facts = {"total": MANY, "squares": {"side": side, "most": 400, "counts": counts}}
    first = {"extent": DATA["extent"], "clusters": DATA["clusters"], **part(np.flatnonzero(square == -1)), **facts}
    program = """(([data, images, squares]) => {
      const points = page.AtlasPoints(data, images), view = page.AtlasView(data.extent).resize(1000, 600);
      const before = points.total, whole = points.unloaded(view);
      view.set({ x: 2500, y: 2500, zoom: 8 });
      const [left, top] = view.toMap(0, 0), [right, bottom] = view.toMap(1000, 600);
      const near = points.unloaded(view);
      points.add(Object.fromEntries(near.map((name) => [name, squares[name]])));
      const between = [points.total, points.unloaded(view)];
      points.add(squares);
      points.add(squares);
      const lasso = points.from("box:1000,700,3000,2500").members.map(points.id).sort();
      return { before, whole, near, seen: [left, top, right, bottom], between, after: points.total,
               ids: Array.from({ length: points.total }, (_, i) => points.id(i)).sort(), lasso,
               drops: Array.from(points.byDrop, (i) => points.drop[i]) };
    })(given)"""
    found = evaluate(["map-points"], program, [first, IMAGES, {name: part(own) for name, own in names.items()}])
    assert (found["before"], found["after"]) == (MANY // 10, MANY)
    assert found["whole"] == [], "all in sight is more than may be loaded at a time"
    left, top, right, bottom = found["seen"]
    seen = {
        name
        for name in names
        if int(name[:2]) * side <= bottom
        and int(name[:2]) * side + side > top
        and int(name[2:]) * side <= right
        and int(name[2:]) * side + side > left
    }
    assert set(found["near"]) == seen
    assert 0 < sum(counts[name] for name in seen) <= 400
    assert found["between"] == [MANY // 10 + sum(counts[name] for name in seen), []]
    all_ids = run("Array.from({ length: points.total }, (_, i) => points.id(i)).sort()")
    assert found["ids"] == all_ids
    assert found["lasso"] == sorted(run("points.from('box:1000,700,3000,2500').members.map(points.id)"))
    assert found["drops"] == sorted(DATA["drop"], reverse=True)
