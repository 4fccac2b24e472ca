"""Occlusion by cell sums equals occlusion the slow way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation

from atlas.errors import ConfigurationError
from atlas.explain import gradcam, occlusion
from atlas.records import DIABETIC_RETINOPATHY, CellSums, FeatureMaps, Scale
from atlas.scorers.readouts import Head

SCALES = [DIABETIC_RETINOPATHY, Scale(1, ("none", "some", "much"), None, "another")]
SHAPES = [(6, 6), (5, 7)]


def make(shape: tuple[int, int], images: int = 4, channels: int = 10, hidden: int = 8) -> tuple[FeatureMaps, CellSums, Head]:
    rng = np.random.default_rng(7)
    weight = rng.normal(0, 0.15, (hidden, channels, *shape)).astype(np.float32)
    head = Head(weight, rng.normal(size=hidden).astype(np.float32), rng.normal(size=hidden).astype(np.float32), 0.3)
    values = rng.gamma(1.0, 1.0, (images, channels, *shape)).astype(np.float32)
    ids = tuple(f"{i:016x}" for i in range(images))
    cells = np.einsum("kchw,nchw->nhwk", weight, values).reshape(images, -1, hidden)
    return FeatureMaps(ids, values, 32.0), CellSums(ids, cells, head.hidden_bias, shape), head


def severity_slowly(head: Head, scale: Scale, values: torch.Tensor) -> torch.Tensor:
    z = torch.tensor(head.hidden_bias, dtype=torch.float64) + torch.einsum(
        "kchw,nchw->nk", torch.tensor(head.hidden_weight, dtype=torch.float64), values.double()
    )
    logit = z.relu() @ torch.tensor(head.output_weight, dtype=torch.float64) + head.output_bias
    return scale.lowest + scale.span * logit.sigmoid()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("shape", SHAPES)
def test_drops_equal_captum(shape: tuple[int, int], scale: Scale) -> None:
    features, sums, head = make(shape)
    cell = torch.arange(shape[0] * shape[1]).reshape(1, 1, *shape)
    ablation = FeatureAblation(lambda values: severity_slowly(head, scale, values))
    expected = ablation.attribute(torch.tensor(features.values, dtype=torch.float64), baselines=0, feature_mask=cell)
    ours = occlusion.drops(sums, head, scale)
    assert ours.dtype == np.float32
    assert np.ptp(ours) > 0.01
    np.testing.assert_allclose(ours, expected[:, 0].numpy(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("window", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_window_equals_zeroing_its_cells(shape: tuple[int, int], window: int) -> None:
    features, sums, head = make(shape)
    values = torch.tensor(features.values)
    whole = severity_slowly(head, DIABETIC_RETINOPATHY, values)
    ours = occlusion.drops(sums, head, DIABETIC_RETINOPATHY, window=window)
    assert ours.shape == (4, shape[0] - window + 1, shape[1] - window + 1)
    for row, column in np.ndindex(ours.shape[1:]):
        zeroed = values.clone()
        zeroed[:, :, row : row + window, column : column + window] = 0
        expected = whole - severity_slowly(head, DIABETIC_RETINOPATHY, zeroed)
        np.testing.assert_allclose(ours[:, row, column], expected.numpy(), atol=1e-5, rtol=0)


def test_any_mask_equals_zeroing_its_cells() -> None:
    features, sums, head = make((6, 6))
    masks = np.random.default_rng(1).random((5, 6, 6)) < 0.4
    ours = occlusion.severity_without(sums, head, DIABETIC_RETINOPATHY, masks)
    assert ours.shape == (4, 5)
    for k, mask in enumerate(masks):
        expected = severity_slowly(head, DIABETIC_RETINOPATHY, torch.tensor(np.where(mask, 0, features.values)))
        np.testing.assert_allclose(ours[:, k], expected.numpy(), atol=1e-5, rtol=0)
        np.testing.assert_allclose(occlusion.severity_without(sums, head, DIABETIC_RETINOPATHY, mask), ours[:, k], rtol=1e-6)


def test_no_mask_leaves_the_severity_and_a_full_mask_the_bias_alone() -> None:
    features, sums, head = make((5, 7))
    nothing, everything = np.zeros((5, 7), np.bool_), np.ones((5, 7), np.bool_)
    whole = severity_slowly(head, DIABETIC_RETINOPATHY, torch.tensor(features.values)).numpy()
    np.testing.assert_allclose(occlusion.severity_without(sums, head, DIABETIC_RETINOPATHY, nothing), whole, atol=1e-5)
    bias_alone = head.severity(head.hidden_bias, DIABETIC_RETINOPATHY)
    assert (occlusion.severity_without(sums, head, DIABETIC_RETINOPATHY, everything) == bias_alone).all()


def test_global_average_pooling_makes_occlusion_and_gradcam_one() -> None:
    """With one weight per channel and no hidden unit ever at rest the logit is linear and alike everywhere."""
    features, _, head = make((6, 6))
    weight = np.broadcast_to(head.hidden_weight[:, :, :1, :1], head.hidden_weight.shape) / 36
    pooled = Head(weight, np.full(8, 100.0, np.float32), head.output_weight, -100 * float(head.output_weight.sum()))
    without = np.array(
        [
            [
                pooled.logit(pooled.hidden_bias + np.einsum("kchw,chw->k", weight, np.where(cell, 0, image)))
                for cell in np.eye(36, dtype=np.bool_).reshape(36, 6, 6)
            ]
            for image in features.values.astype(np.float64)
        ]
    )
    z = pooled.hidden_bias + np.einsum("kchw,nchw->nk", weight, features.values.astype(np.float64))
    drops = (pooled.logit(z)[:, None] - without).reshape(-1, 6, 6)
    sums = CellSums(
        features.image_ids, np.einsum("kchw,nchw->nhwk", weight, features.values).reshape(4, 36, 8), pooled.hidden_bias, (6, 6)
    )
    maps = gradcam.logit_maps(features, sums, pooled)
    assert np.ptp(maps) > 0.01
    np.testing.assert_allclose(drops, maps, atol=2e-5, rtol=0)  # the logits are differences of numbers near 100
    ours = occlusion.drops(sums, pooled, DIABETIC_RETINOPATHY, window=2)
    np.testing.assert_allclose(ours, gradcam.drops(features, sums, pooled, DIABETIC_RETINOPATHY, window=2), atol=1e-4, rtol=0)


def test_a_cell_that_adds_nothing_drops_nothing() -> None:
    _, sums, head = make((6, 6))
    values = sums.values.copy()
    values[:, 8] = 0
    drops = occlusion.drops(CellSums(sums.image_ids, values, sums.bias, sums.shape), head, DIABETIC_RETINOPATHY)
    assert (drops[:, 1, 2] == 0).all()
    assert np.count_nonzero(drops) == drops.size - len(drops)


def test_an_image_alone_gives_the_same_drops_as_in_a_batch() -> None:
    _, sums, head = make((6, 6))
    whole = occlusion.drops(sums, head, DIABETIC_RETINOPATHY, window=2)
    for i, image_id in enumerate(sums.image_ids):
        alone = CellSums((image_id,), sums.values[i : i + 1], sums.bias, sums.shape)
        np.testing.assert_allclose(occlusion.drops(alone, head, DIABETIC_RETINOPATHY, window=2)[0], whole[i], atol=1e-6, rtol=0)


@pytest.mark.parametrize("window", [0, -1, 6])
def test_a_window_that_does_not_fit_is_refused(window: int) -> None:
    _, sums, head = make((5, 7))
    with pytest.raises(ConfigurationError, match=f"window = {window}.*5 x 7"):
        occlusion.drops(sums, head, DIABETIC_RETINOPATHY, window=window)


def test_a_mask_of_another_shape_is_refused() -> None:
    _, sums, head = make((5, 7))
    with pytest.raises(ValueError, match="expected"):
        occlusion.severity_without(sums, head, DIABETIC_RETINOPATHY, np.zeros((7, 5), np.bool_))
