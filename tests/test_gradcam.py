"""Grad-CAM by hand equals autograd and captum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from asked import read_all
from captum.attr import LayerGradCam
from torch import nn

from atlas.errors import ConfigurationError
from atlas.explain import gradcam
from atlas.records import DIABETIC_RETINOPATHY
from atlas.scorers.readouts import Head


class TorchHead(nn.Module):
    """A trunk that changes nothing, then the head up to the logit."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.trunk = nn.Identity()
        hidden, channels, rows, columns = head.hidden_weight.shape
        self.first = nn.Linear(channels * rows * columns, hidden)
        self.second = nn.Linear(hidden, 1)
        self.double()
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor(head.hidden_weight).flatten(1))
            self.first.bias.copy_(torch.tensor(head.hidden_bias))
            self.second.weight.copy_(torch.tensor(head.output_weight)[None])
            self.second.bias.fill_(head.output_bias)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(self.trunk(values).flatten(1)).relu())[:, 0]


def make(output_bias: float = 0.3) -> tuple[np.ndarray, Head]:
    rng = np.random.default_rng(11)
    weight = rng.normal(0, 0.15, (8, 10, 5, 7)).astype(np.float32)
    head = Head(weight, rng.normal(size=8).astype(np.float32), rng.normal(size=8).astype(np.float32), output_bias)
    return rng.gamma(1.0, 1.0, (6, 10, 5, 7)).astype(np.float32), head


def logit_maps(values: np.ndarray, head: Head) -> np.ndarray:
    return np.stack([one.gradcam("dr") for one in read_all(values, head)])


def drops(values: np.ndarray, head: Head, window: int = 1) -> np.ndarray:
    return np.stack([gradcam.weights(one, "dr", DIABETIC_RETINOPATHY, window=window) for one in read_all(values, head)])


def test_maps_equal_captum() -> None:
    values, head = make()
    network = TorchHead(head)
    explained = LayerGradCam(network, network.trunk).attribute(
        torch.tensor(values, dtype=torch.float64, requires_grad=True), relu_attributions=False
    )
    ours = logit_maps(values, head)
    assert ours.dtype == np.float32
    assert ours.min() < -0.01 < 0.01 < ours.max()
    np.testing.assert_allclose(ours, explained[:, 0].detach().numpy(), atol=1e-5, rtol=0)


def test_maps_equal_autograd() -> None:
    values, head = make()
    tensor = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(TorchHead(head)(tensor).sum(), tensor)
    expected = (gradient.mean((2, 3), keepdim=True) * tensor).sum(1)
    np.testing.assert_allclose(logit_maps(values, head), expected.detach().numpy(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("window", [1, 2, 4])
def test_a_window_weighs_its_share_of_the_logit_where_the_sigmoid_is_steepest(window: int) -> None:
    values, head = make()
    maps = logit_maps(values, head)
    ours = drops(values, head, window)
    assert ours.shape == (6, 6 - window, 8 - window)
    for row, column in np.ndindex(ours.shape[1:]):
        share = maps[:, row : row + window, column : column + window].sum(axis=(1, 2))
        # The slope of span * sigmoid(x) at x = 0.
        np.testing.assert_allclose(ours[:, row, column], DIABETIC_RETINOPATHY.span / 4 * share, atol=1e-5, rtol=0)


def test_a_severe_eye_keeps_its_map() -> None:
    """One strong cell lifts the logit far up the sigmoid, where the tangent is next to nothing."""
    weight = np.ones((1, 1, 3, 3), np.float32)
    head = Head(weight, np.zeros(1, np.float32), np.ones(1, np.float32), -2.0)
    values = np.zeros((1, 1, 3, 3), np.float32)
    values[0, 0, 1, 1] = 12.0
    found = drops(values, head)
    tangent = 12.0 * DIABETIC_RETINOPATHY.span * np.exp(-10.0)
    assert tangent < 0.01
    assert found[0, 1, 1] == pytest.approx(12.0 * DIABETIC_RETINOPATHY.span / 4)
    assert np.count_nonzero(found) == 1


def test_a_resting_head_shows_nothing() -> None:
    values, head = make()
    resting = Head(head.hidden_weight, np.full(8, -1e4, np.float32), head.output_weight, head.output_bias)
    assert not logit_maps(values, resting).any()


@pytest.mark.parametrize("window", [0, 6])
def test_a_window_that_does_not_fit_is_refused(window: int) -> None:
    values, head = make()
    with pytest.raises(ConfigurationError, match=f"window = {window}.*5 x 7"):
        drops(values, head, window)
