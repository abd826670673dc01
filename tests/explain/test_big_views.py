"""Where maxima came from, against a loop over every position of every tube."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import make, make_clip
from torch.nn.functional import max_pool3d

from smallbignet.explain.big_views import BigView, big_views, find_layers, look, same_place
from smallbignet.explain.record import record
from smallbignet.models.smallbig import BlockSpec, ExtraUnit, SmallBigUnit


def unit(window, pool="max", centred=False):
    return SmallBigUnit(6, 4, (1, 1, 1), 1, window, BlockSpec(pool=pool, centred=centred))


def ties(seed: int = 0) -> torch.Tensor:
    """(1, 6, 4, 5, 3) of few different values, so that most maxima are there several times; the last channel is constant."""
    x = torch.randint(0, 3, (1, 6, 4, 5, 3), generator=torch.Generator().manual_seed(seed)).float()
    x[:, 5] = 0
    return x


def origin_by_loop(x: np.ndarray, tube) -> tuple[int, bool]:
    """The first position of the maximum in a tube, counted through the map, and whether the tube has other values."""
    best, found, lowest = -np.inf, -1, np.inf
    for t in range(*tube[0]):
        for h in range(*tube[1]):
            for w in range(*tube[2]):
                lowest = min(lowest, x[t, h, w])
                if x[t, h, w] > best:
                    best, found = x[t, h, w], (t * x.shape[1] + h) * x.shape[2] + w
    return found, best > lowest


@pytest.mark.parametrize(
    ("module", "kind", "tube_of"),
    [
        (unit((3, 3, 3)), "local", lambda t, h, w: ((t - 1, t + 2), (h - 1, h + 2), (w - 1, w + 2))),
        (unit((1, 5, 5)), "local", lambda t, h, w: ((t, t + 1), (h - 2, h + 3), (w - 2, w + 3))),
        (unit((None, 3, 3)), "frames", lambda t, h, w: ((0, 4), (h - 1, h + 2), (w - 1, w + 2))),
        (unit((None, 1, 1), centred=True), "frames", lambda t, h, w: ((t - 2, t + 3), (h, h + 1), (w, w + 1))),
        (ExtraUnit(6), "clip", lambda t, h, w: ((0, 4), (0, 5), (0, 3))),
    ],
    ids=["3x3x3", "1x5x5", "Tx3x3", "Tx1x1 centred", "clip"],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_positions_are_those_of_a_loop(module, kind, tube_of, layout):
    x = ties()
    view = look("layer", kind, module, x.to(memory_format=layout))
    for t, h, w in np.ndindex(4, 5, 3):
        tube = tuple((max(a, 0), min(b, n)) for (a, b), n in zip(tube_of(t, h, w), (4, 5, 3), strict=True))
        expected = [origin_by_loop(channel.numpy(), tube) for channel in x[0]]
        column = view.column((t, h, w))
        assert [(int(a), bool(b)) for a, b in zip(view.origins[column], view.varied[column], strict=True)] == expected
        if not getattr(module, "centred", False):
            assert view.tube((t, h, w)) == tube
        kept = [position for position, varied in expected if varied]
        shares = view.shares((t, h, w))
        assert shares.shape == (4, 5, 3)
        assert np.allclose(shares.ravel() * len(kept), np.bincount(kept, minlength=60))
        assert view.left_out((t, h, w)) == pytest.approx(1 - len(kept) / 6)


def test_frames_and_key_frames():
    origins = np.array([0, 3, 3, 7, 11]).reshape(5, 1, 1, 1)  # in 4 frames of 1x3: frames 0, 1, 1, 2, 3
    view = BigView("layer", "clip", (4, 1, 3), (4, 1, 3), origins, np.array([1, 1, 1, 1, 0], bool).reshape(5, 1, 1, 1))
    assert view.by_frame((2, 0, 1)).tolist() == [0.25, 0.5, 0.25, 0]
    assert view.key_frames((2, 0, 1)) == [1, 0, 2]  # of equal shares, the first frame; none without a share
    assert view.left_out((0, 0, 0)) == pytest.approx(0.2)


def test_the_vector_pooling_takes_all_channels_from_one_position():
    x = ties()
    view = look("layer", "local", unit((3, 3, 3), "vector"), x)
    norms = x.square().sum(1)[0].numpy()
    for t, h, w in np.ndindex(4, 5, 3):
        assert view.origins[view.column((t, h, w))].tolist() == [origin_by_loop(norms, view.tube((t, h, w)))[0]]


@pytest.mark.parametrize(
    ("name", "arguments", "layers"),
    [
        ("smallbig_r23", {}, {"local": "res5.0.unit2", "frames": "res5.0.unit3", "clip": "res5.0.extra"}),
        ("smallbig_slowonly_r50", {}, {"clip": "res5.2.extra"}),
        (
            "slowfast_r50",
            {"stages": ["2d", "2d", "2d", "typical"]},
            {"local": "slow.res5.2.unit2", "frames": "slow.res5.2.unit3"},
        ),
        ("smallbig_r23", {"stages": ["2d", "2d", "2d", "full+avg"]}, {}),
        ("nonlocal_r23", {}, {}),
    ],
)
def test_the_last_layer_of_each_kind(name, arguments, layers):
    network = make(name, **arguments)
    assert {kind: layer for kind, (layer, _) in find_layers(network).items()} == layers
    assert [view.name for view in big_views(network, make_clip(16, 32))] == list(layers.values())


@pytest.mark.parametrize("name", ["smallbig_r23", "timm/resnet18"])
def test_maxima_at_the_origins_are_those_that_the_network_pools(name, monkeypatch):
    """The values at the recorded positions, against what the network's own pooling returned."""
    from smallbignet.models import smallbig

    pooled = []
    real = smallbig.pool_views

    def keep(x, window, pool):
        x, big = real(x, window, pool)
        pooled.append(big)
        return x, big

    network, clip = make(name), make_clip(4)
    layers = find_layers(network)
    views = {view.kind: view for view in big_views(network, clip)}
    monkeypatch.setattr(smallbig, "pool_views", keep)
    passed = record(network, clip, dict(layers.values()))
    for kind in ("local", "frames"):
        view = views[kind]
        x = passed[view.name].input[0].flatten(1)
        at_origins = x.gather(1, torch.from_numpy(view.origins).flatten(1)).reshape(view.origins.shape)
        assert any(big.shape[1:] == at_origins.shape and torch.equal(big[0], at_origins) for big in pooled)
    whole = views["clip"]
    x = passed[whole.name].input
    assert torch.equal(
        x[0].flatten(1).gather(1, torch.from_numpy(whole.origins).flatten(1))[:, 0], max_pool3d(x, x.shape[2:]).flatten()
    )


def test_places_in_maps_of_other_sizes():
    assert same_place((0, 0, 6), (8, 7, 7), (8, 14, 14)) == (0, 1, 13)
    assert same_place((3, 13, 0), (8, 14, 14), (8, 7, 7)) == (3, 6, 0)
    assert same_place((1, 0, 0), (2, 1, 1), (8, 3, 3)) == (6, 1, 1)
