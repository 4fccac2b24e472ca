"""Hiding cells equals hiding them the slow way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from asked import of_sums, read_all
from captum.attr import FeatureAblation

from atlas.errors import ConfigurationError
from atlas.explain import gradcam, occlusion
from atlas.records import DIABETIC_RETINOPATHY, Scale
from atlas.scorers.readouts import Head

SCALES = [DIABETIC_RETINOPATHY, Scale(1, ("none", "some", "much"), None, "another")]
SHAPES = [(6, 6), (5, 7)]


def make(shape: tuple[int, int], images: int = 4, channels: int = 10, hidden: int = 8) -> tuple[np.ndarray, Head]:
    rng = np.random.default_rng(7)
    weight = rng.normal(0, 0.15, (hidden, channels, *shape)).astype(np.float32)
    head = Head(weight, rng.normal(size=hidden).astype(np.float32), rng.normal(size=hidden).astype(np.float32), 0.3)
    return rng.gamma(1.0, 1.0, (images, channels, *shape)).astype(np.float32), head


def drops(values: np.ndarray, head: Head, scale: Scale = DIABETIC_RETINOPATHY, window: int = 1) -> np.ndarray:
    (name,) = read_all(values[:1], head, scale)[0].severity
    return np.stack([occlusion.drops(one, name, window=window) for one in read_all(values, head, scale)])


def severity_slowly(head: Head, scale: Scale, values: torch.Tensor) -> torch.Tensor:
    z = torch.tensor(head.hidden_bias, dtype=torch.float64) + torch.einsum(
        "kchw,nchw->nk", torch.tensor(head.hidden_weight, dtype=torch.float64), values.double()
    )
    logit = z.relu() @ torch.tensor(head.output_weight, dtype=torch.float64) + head.output_bias
    return scale.lowest + scale.span * logit.sigmoid()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("shape", SHAPES)
def test_drops_equal_captum(shape: tuple[int, int], scale: Scale) -> None:
    values, head = make(shape)
    cell = torch.arange(shape[0] * shape[1]).reshape(1, 1, *shape)
    ablation = FeatureAblation(lambda values: severity_slowly(head, scale, values))
    expected = ablation.attribute(torch.tensor(values, dtype=torch.float64), baselines=0, feature_mask=cell)
    ours = drops(values, head, scale)
    assert ours.dtype == np.float32
    assert np.ptp(ours) > 0.01
    np.testing.assert_allclose(ours, expected[:, 0].numpy(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("window", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_window_equals_zeroing_its_cells(shape: tuple[int, int], window: int) -> None:
    values, head = make(shape)
    ours = drops(values, head, window=window)
    values = torch.tensor(values)
    whole = severity_slowly(head, DIABETIC_RETINOPATHY, values)
    assert ours.shape == (4, shape[0] - window + 1, shape[1] - window + 1)
    for row, column in np.ndindex(ours.shape[1:]):
        zeroed = values.clone()
        zeroed[:, :, row : row + window, column : column + window] = 0
        expected = whole - severity_slowly(head, DIABETIC_RETINOPATHY, zeroed)
        np.testing.assert_allclose(ours[:, row, column], expected.numpy(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("lift", [0.0, 30.0])
def test_a_window_weighs_the_same_however_severe_the_eye(scale: Scale, lift: float) -> None:
    values, head = make((5, 7))
    (name,) = read_all(values[:1], head, scale)[0].severity
    lifted = replace(head, output_bias=head.output_bias + lift)
    plain, severe = (
        np.stack([occlusion.weights(one, name, scale, window=2) for one in read_all(values, own, scale)])
        for own in (head, lifted)
    )
    np.testing.assert_allclose(severe, plain, atol=1e-4)
    assert np.abs(plain).max() > 0.01
    one = read_all(values, head, scale)[0]
    masks = occlusion.window_masks((5, 7), 2)
    fallen = one.logit(name) - one.logits_without(name, masks)
    np.testing.assert_allclose(plain[0].ravel(), scale.span / 4 * fallen, atol=1e-5)
    unit = (one.without(name, masks) - scale.lowest) / scale.span
    np.testing.assert_allclose(1 / (1 + np.exp(-one.logits_without(name, masks))), unit, atol=1e-5)


def test_any_mask_equals_zeroing_its_cells() -> None:
    values, head = make((6, 6))
    masks = np.random.default_rng(1).random((5, 6, 6)) < 0.4
    ours = np.stack([one.without("dr", masks) for one in read_all(values, head)])
    assert ours.shape == (4, 5)
    for k, mask in enumerate(masks):
        expected = severity_slowly(head, DIABETIC_RETINOPATHY, torch.tensor(np.where(mask, 0, values)))
        np.testing.assert_allclose(ours[:, k], expected.numpy(), atol=1e-5, rtol=0)


def test_no_mask_leaves_the_severity_and_a_full_mask_the_bias_alone() -> None:
    values, head = make((5, 7))
    masks = np.stack([np.zeros((5, 7), np.bool_), np.ones((5, 7), np.bool_)])
    nothing, everything = np.stack([one.without("dr", masks) for one in read_all(values, head)], axis=1)
    whole = severity_slowly(head, DIABETIC_RETINOPATHY, torch.tensor(values)).numpy()
    np.testing.assert_allclose(nothing, whole, atol=1e-5)
    np.testing.assert_allclose(nothing, [one.severity["dr"] for one in read_all(values, head)], atol=1e-6)
    np.testing.assert_allclose(everything, float(head.severity(head.hidden_bias, DIABETIC_RETINOPATHY)), atol=1e-6)


def test_global_average_pooling_makes_occlusion_and_gradcam_one() -> None:
    """With one weight per channel and no hidden unit ever at rest the logit is linear and alike everywhere."""
    values, head = make((6, 6))
    weight = np.broadcast_to(head.hidden_weight[:, :, :1, :1], head.hidden_weight.shape) / 36
    pooled = Head(weight, np.full(8, 100.0, np.float32), head.output_weight, -100 * float(head.output_weight.sum()))
    without = np.array(
        [
            [
                pooled.logit(pooled.hidden_bias + np.einsum("kchw,chw->k", weight, np.where(cell, 0, image)))
                for cell in np.eye(36, dtype=np.bool_).reshape(36, 6, 6)
            ]
            for image in values.astype(np.float64)
        ]
    )
    z = pooled.hidden_bias + np.einsum("kchw,nchw->nk", weight, values.astype(np.float64))
    fallen = (pooled.logit(z)[:, None] - without).reshape(-1, 6, 6)
    read = read_all(values, pooled)
    maps = np.stack([one.gradcam("dr") for one in read])
    assert np.ptp(maps) > 0.01
    np.testing.assert_allclose(fallen, maps, atol=2e-5, rtol=0)  # the logits are differences of numbers near 100
    by_gradient = np.stack([gradcam.weights(one, "dr", DIABETIC_RETINOPATHY, window=2) for one in read])
    by_hiding = np.stack([occlusion.weights(one, "dr", DIABETIC_RETINOPATHY, window=2) for one in read])
    np.testing.assert_allclose(by_hiding, by_gradient, atol=1e-4, rtol=0)


def test_a_cell_that_adds_nothing_drops_nothing() -> None:
    values, head = make((6, 6))
    cells = read_all(values, head)[0].sums.copy()
    cells[8] = 0
    fallen = occlusion.drops(of_sums(cells, head, (6, 6)), "dr")
    assert fallen[1, 2] == 0
    assert np.count_nonzero(fallen) == fallen.size - 1


@pytest.mark.parametrize("window", [0, -1, 6])
def test_a_window_that_does_not_fit_is_refused(window: int) -> None:
    values, head = make((5, 7))
    with pytest.raises(ConfigurationError, match=f"window = {window}.*5 x 7"):
        drops(values, head, window=window)


def test_a_mask_of_another_shape_is_refused() -> None:
    values, head = make((5, 7))
    with pytest.raises(ValueError, match="expected"):
        read_all(values, head)[0].without("dr", np.zeros((1, 7, 5), np.bool_))
