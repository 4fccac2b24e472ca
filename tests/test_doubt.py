"""When a scorer says that it is not sure: the rule, the data behind it, and where readers see it."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_atlas import drawn_atlas

from atlas.agreement.doubt import USUAL, Looks, doubted, learn_doubt
from atlas.agreement.evaluation import evaluate
from atlas.errors import DatasetError
from atlas.records import DIABETIC_RETINOPATHY
from atlas.scorers.readouts import Head
from atlas.site.render import render_site
from atlas.site.tables import write_tables
from atlas.site.views import why_doubted


def looks(count: int = 200, seed: int = 0) -> Looks:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1, count).astype(np.float32)
    apart = random.normal(0, 0.3, count)
    members = np.stack([logits + 0.4 + apart, logits - 0.4 - apart], axis=1).astype(np.float32)
    mirrored = (logits + random.normal(0, 0.2, count)).astype(np.float32)
    colours = random.normal((120, 60, 30, 30, 20, 10), (15, 9, 6, 4, 3, 2), (count, 6)).astype(np.float32)
    return Looks(members, logits, mirrored, colours)


def test_the_share_beyond_each_limit_is_that_of_the_rule_of_what_it_was_measured_on() -> None:
    own = looks()
    rule = learn_doubt(own, DIABETIC_RETINOPATHY)
    np.testing.assert_allclose(rule.usual, [0.4, -0.4], atol=0.1)
    reasons = doubted(rule, own, DIABETIC_RETINOPATHY)
    for reason, share in USUAL.items():
        assert sum(reason in one for one in reasons) == pytest.approx((1 - share) * 200, abs=1)


def test_what_differs_is_named_and_nothing_else() -> None:
    rule = learn_doubt(looks(), DIABETIC_RETINOPATHY)
    middle = (120, 60, 30, 30, 20, 10)
    plain = Looks(*(np.array(one, np.float32) for one in ([[0.4, -0.4]], [0.0], [0.0], [middle])))
    assert doubted(rule, plain, DIABETIC_RETINOPATHY) == ((),)
    apart = replace(plain, members=np.array([[2.4, -2.4]], np.float32))
    assert doubted(rule, apart, DIABETIC_RETINOPATHY) == (("members",),)
    moved = replace(plain, mirrored=np.array([1.5], np.float32))
    assert doubted(rule, moved, DIABETIC_RETINOPATHY) == (("moves",),)
    green = replace(plain, colours=np.array([(60, 120, 30, 30, 20, 10)], np.float32))
    assert doubted(rule, green, DIABETIC_RETINOPATHY) == (("colours",),)
    assert why_doubted(("moves",)) == (
        "The scorer is not sure of this score because the score changes when the photograph is mirrored."
    )
    both = why_doubted(("members", "colours"))
    assert both.endswith("disagree about this photograph and the colours of this photograph are unlike those that it knows.")


def test_few_photographs_teach_no_rule() -> None:
    with pytest.raises(DatasetError, match="12 photographs are too few"):
        learn_doubt(looks(12), DIABETIC_RETINOPATHY)


def test_members_are_read_off_a_head_of_networks_side_by_side() -> None:
    random = np.random.default_rng(3)
    hidden = np.zeros((6, 5, 1, 1), np.float32)
    hidden[:4, :3] = random.normal(0, 1, (4, 3, 1, 1))
    hidden[4:, 3:] = random.normal(0, 1, (2, 2, 1, 1))
    output = random.normal(0, 1, 6).astype(np.float32)
    head = Head(hidden, np.zeros(6, np.float32), output, 0.25)
    z = random.normal(0, 1, 6)
    first, second = (2 * np.maximum(z[own], 0) @ output[own] + 0.25 for own in (slice(0, 4), slice(4, 6)))
    np.testing.assert_allclose(head.members(z), [first, second], rtol=1e-5)
    assert head.members(z).mean() == pytest.approx(float(head.logit(z)), rel=1e-5)
    alone = replace(head, hidden_weight=random.normal(0, 1, (6, 5, 1, 1)).astype(np.float32))
    assert alone.members(z).shape == (0,)


def test_the_evaluation_tells_whether_doubt_is_worth_something() -> None:
    grades = [0, 0, 0, 0, 2, 2, 2, 2]
    severity = [0.1, 0.2, 0.3, 3.0, 3.0, 3.1, 3.2, 0.2]  # the fourth and the last are wrong
    unsure = [False, False, True, True, False, False, False, True]
    found = evaluate(severity, grades, DIABETIC_RETINOPATHY, unsure=unsure).figures
    assert found["unsure"] == 3 / 8
    plain = evaluate(severity, grades, DIABETIC_RETINOPATHY).figures
    assert "unsure" not in plain
    assert found["wrong_sure"] <= found["wrong_unsure"]


@pytest.mark.browser
def test_readers_meet_the_doubt_on_report_finder_and_table(browser: Any, tmp_path: Path) -> None:
    atlas = drawn_atlas(tmp_path / "pictures", count=6)
    doubts = ((), ("moves",), (), ("members", "colours"), (), ())
    atlas = replace(atlas, scores=replace(atlas.scores, doubts=doubts))
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    write_tables(atlas, tmp_path / "tables")
    with (tmp_path / "tables" / "images.csv").open(encoding="utf-8", newline="") as file:
        told = {row["image_id"]: row["not_sure"] for row in csv.DictReader(file)}
    assert told == dict(zip(atlas.scores.image_ids, ("", "moves", "", "members colours", "", ""), strict=True))
    page = browser.new_page(offline=True)
    page.goto((tmp_path / "out" / "images" / f"{atlas.scores.image_ids[1]}.html").as_uri())
    assert "The scorer is not sure of this score" in page.locator(".unsure").inner_text()
    page.goto((tmp_path / "out" / "images" / f"{atlas.scores.image_ids[0]}.html").as_uri())
    assert page.locator(".unsure").count() == 0
    page.goto((tmp_path / "out" / "find.html").as_uri())
    page.locator("#found[data-ready]").wait_for()
    page.locator("input[name=unsure]").check()
    assert page.locator("#shown").inner_text() == "2 of 6 photographs"
    page.close()
