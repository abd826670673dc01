"""A map of contributions is the logit, taken apart: each place as an explicit loop computes it, all of them as the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import clip_for, make, make_clip

from smallbignet import WorkError
from smallbignet.explain.contributions import Contributions, contributions
from smallbignet.models.zoo import SLOWFAST

NAMES = ["c2d_r23", "i3d_r23", "nonlocal_r23", "tsm_r50", "smallbig_r23", "smallbig_slowonly_r50", *list(SLOWFAST)[:2]]


@pytest.mark.parametrize("name", [*NAMES, "timm/resnet18"])
def test_the_sum_of_the_map_is_the_logit(name):
    network, clip = make(name), clip_for(name)
    logits = network(clip)[0]
    for label in range(5):
        found = contributions(network, clip, label)
        assert found.map.sum() + network.fc.bias[label].item() == pytest.approx(logits[label].item(), rel=1e-4)
        assert found.logit == logits[label].item()
        assert found.error < 1e-4


@pytest.mark.parametrize("name", ["smallbig_r23", "slowfast_r50"])
def test_every_place_is_the_product_of_weights_and_features(name):
    network, clip = make(name), clip_for(name)
    with torch.no_grad():
        features = network.forward_features(clip)[0].double()
    weights = network.fc.weight[3].double()
    _, frames, height, width = features.shape
    found = contributions(network, clip, 3)
    assert found.map.shape == (frames, height, width)
    for t, h, w in np.ndindex(found.map.shape):
        expected = (weights @ features[:, t, h, w]).item() / (frames * height * width)
        assert found.map[t, h, w] == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_the_pathways_of_slowfast_add_up():
    network, clip = make("slowfast_r50"), make_clip(16)
    found = contributions(network, clip, 1)
    assert list(found.parts) == ["slow", "fast"]
    with torch.no_grad():
        features = network.forward_features(clip).clone()
        features[:, 32 * 8 :] = 0  # the fast pathway's channels come last
        slow_alone = network.forward_head(features)[0, 1].item()
    assert found.parts["slow"].sum() + found.bias == pytest.approx(slow_alone, rel=1e-4)
    assert np.allclose(found.parts["slow"] + found.parts["fast"], found.map)


def test_the_difference_of_two_classes():
    network, clip = make("smallbig_r23"), make_clip(4)
    one, other, difference = (contributions(network, clip, *labels) for labels in ((2,), (4,), (2, 4)))
    assert np.allclose(difference.map, one.map - other.map, atol=1e-7)
    assert difference.logit == pytest.approx(one.logit - other.logit, rel=1e-5)


def test_a_head_with_a_window_counts_borders_less():
    """PyTorchVideo's head has the mean over all positions of a 7x7 window; here of a 1x3x3 one on a map of 1x4x4."""
    network, clip = make("c2d_r23", head_window=3), make_clip(2, 128)
    found = contributions(network, clip, 0)
    assert found.error < 1e-4
    with torch.no_grad():
        features = network.forward_features(clip)[0].double()
    times = torch.tensor([1, 2, 2, 1]).double()  # windows of 3 that hold each of 4 positions
    share = torch.outer(times, times) / (4 * 9) / 2  # of 4 windows with 9 positions each, in 2 frames
    expected = torch.einsum("c,cthw->thw", network.fc.weight[0].double(), features) * share
    assert np.allclose(found.map, expected.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_the_error_is_relative_to_what_was_added_up():
    parts = {"map": np.array([[[3.0, -2.0]]])}
    assert Contributions(parts, -1.0, 0.001).error == pytest.approx(0.001 / 5)  # of a logit near 0
    assert Contributions(parts, 100.0, 101.5).error == pytest.approx(0.5 / 101.5)


def test_weights_that_are_not_numbers():
    network = make("c2d_r23")
    network.fc.weight.data[0, 0] = float("nan")
    with pytest.raises(WorkError, match="nothing to explain"):
        contributions(network, make_clip(2, 32), 0)
