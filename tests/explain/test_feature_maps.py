"""The maps of Section 6.3, against the network computed step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import clip_for, make, make_clip

from smallbignet.explain.feature_maps import channel_means, first_views, robust_scale
from smallbignet.models.smallbig import stem_pool


@pytest.mark.parametrize("name", ["smallbig_r23", "nonlocal_r23", "tsm_r50"])
@torch.no_grad()
def test_the_mean_of_the_last_block(name):
    network, clip = make(name), clip_for(name)
    x = network.res3(network.res2(stem_pool(network.stem(clip, relu=True))))
    found = channel_means(network, clip)
    assert found.shape == (4, 8, 8)
    assert np.allclose(found, x[0].mean(0).numpy(), atol=1e-5)


@pytest.mark.parametrize(("name", "frames"), [("slowfast_r50", 4), ("timm/resnet18", 4)])
def test_other_networks_have_the_same_stages(name, frames):
    network, clip = make(name), clip_for(name)
    sizes = [channel_means(network, clip, stage).shape for stage in ("res2", "res3", "res4", "res5")]
    assert sizes == [(frames, side, side) for side in (16, 8, 4, 2)]


@torch.no_grad()
def test_small_and_big_view_by_hand():
    network, clip = make("smallbig_r23"), make_clip(4)
    name, small, big = first_views(network, clip)
    assert name == "res3.0.unit1"
    block = network.res3[0]
    x = block.extra(network.res2(stem_pool(network.stem(clip, relu=True))))
    unit = block.unit1
    pooled = F.max_pool3d(x, 3, stride=1, padding=1)

    def normalise(y: torch.Tensor, bn: torch.nn.BatchNorm3d) -> torch.Tensor:
        shape = (1, -1, 1, 1, 1)
        scale = bn.weight / (bn.running_var + bn.eps).sqrt()
        return (y - bn.running_mean.view(shape)) * scale.view(shape) + bn.bias.view(shape)

    weight = unit.conv.weight
    assert np.allclose(small, normalise(F.conv3d(x, weight), unit.bn)[0].mean(0).numpy(), atol=1e-4)
    assert np.allclose(big, normalise(F.conv3d(pooled, weight), unit.bn_big)[0].mean(0).numpy(), atol=1e-4)


def test_a_view_of_all_frames_is_shown_in_each():
    name, small, big = first_views(make("smallbig_r23", stages=["smallbig_Tx3x3", "2d", "2d", "2d"]), make_clip(4))
    assert name == "res2.0.unit1"
    assert small.shape == big.shape == (4, 16, 16)
    assert (big == big[:1]).all() and not (small == small[:1]).all()


def test_no_big_view():
    assert first_views(make("nonlocal_r23"), make_clip(4)) is None


def test_one_scale_without_outliers():
    low, high = robust_scale([np.linspace(0, 1, 100), np.linspace(1, 2, 100), np.array([1e6])])
    assert (low, high) == pytest.approx((0.04, 1.96), abs=0.01)
    assert robust_scale([np.zeros(4)]) == (0, 1)  # a map of one value has a scale, too
