"""The unit, the blocks and the network against the paper's equations and properties."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from smallbignet import BlockSpec, create_model, list_models
from smallbignet.models.pooling import pool_views
from smallbignet.models.smallbig import ExtraUnit, SmallBigUnit
from smallbignet.models.zoo import SLOWFAST

WINDOWS = [(3, 1, 1), (3, 3, 3), (3, 5, 5), (3, 7, 7), (None, 3, 3)]
SYMMETRIC = ["c2d_r23", "smallbig_r23", "nonlocal_r23"]  # no 3x1x1 convolution
ORDERED = ["i3d_r23", "slowonly_r50", "tsm_r50", "smallbig_slowonly_r50", "slowfast_r50"]


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random normalisations, so that no branch is switched off."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            for tensor, low, high in (
                (module.weight, 0.2, 0.6),
                (module.bias, -0.1, 0.1),
                (module.running_mean, -0.1, 0.1),
                (module.running_var, 0.5, 1.5),
            ):
                tensor.data.uniform_(low, high, generator=generator)
    return model


def max_by_loop(x: torch.Tensor, window: tuple) -> torch.Tensor:
    """The maximum over the tube around each position, written out from the text under Eq. 2."""
    n, c, frames, height, width = x.shape
    t, h, w = window
    rt, rh, rw = (t // 2 if t else frames), h // 2, w // 2
    y = torch.empty_like(x)
    for k, i, j in itertools.product(range(frames), range(height), range(width)):
        tube = x[:, :, max(k - rt, 0) : k + rt + 1, max(i - rh, 0) : i + rh + 1, max(j - rw, 0) : j + rw + 1]
        y[:, :, k, i, j] = tube.reshape(n, c, -1).amax(-1)
    return y


def normalise(x: torch.Tensor, bn: nn.BatchNorm3d) -> torch.Tensor:
    scale, shift = (v.view(1, -1, 1, 1, 1) for v in (bn.weight, bn.bias))
    mean, var = (v.view(1, -1, 1, 1, 1) for v in (bn.running_mean, bn.running_var))
    return (x - mean) / torch.sqrt(var + bn.eps) * scale + shift


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_the_unit_is_equation_2(window):
    torch.manual_seed(0)
    unit = randomise(SmallBigUnit(5, 7, (1, 1, 1), 1, window, BlockSpec())).eval()
    x = torch.randn(2, 5, 4, 6, 5)
    psi = unit.conv.weight.view(7, 5)  # shared by both views
    small = torch.einsum("oc,ncthw->nothw", psi, x)
    big = torch.einsum("oc,ncthw->nothw", psi, max_by_loop(x, window))
    expected = normalise(small, unit.bn) + normalise(big, unit.bn_big)
    torch.testing.assert_close(unit(x), expected.expand_as(unit(x)), rtol=1e-5, atol=1e-5)


def test_average_pooling_leaves_the_padding_out():
    x = torch.ones(1, 2, 3, 4, 4)
    assert pool_views(x, (3, 3, 3), "avg")[1].unique().tolist() == [1.0]


def test_single_bn_computes_one_convolution_of_the_sum():
    torch.manual_seed(0)
    unit = randomise(SmallBigUnit(4, 6, (1, 3, 3), 2, (3, 3, 3), BlockSpec(single_bn=True))).eval()
    x = torch.randn(1, 4, 3, 8, 8)
    calls = []
    unit.conv.register_forward_hook(lambda *_: calls.append(1))
    two = normalise(unit.conv(x) + unit.conv(max_by_loop(x, (3, 3, 3))), unit.bn)
    calls.clear()
    torch.testing.assert_close(unit(x), two, rtol=1e-5, atol=1e-5)
    assert len(calls) == 1


def strongest_vector(x: torch.Tensor) -> torch.Tensor:
    """The feature vector with the largest norm, (C,), of those of a tube (C, ...)."""
    vectors = x.flatten(1).unbind(1)
    return max(vectors, key=lambda vector: vector.norm().item())


def test_the_vector_of_a_view_is_one_positions():
    torch.manual_seed(0)
    x = torch.randn(1, 4, 3, 4, 5)
    big = pool_views(x, (3, 3, 1), "vector")[1]
    for k, i, j in itertools.product(range(3), range(4), range(5)):
        tube = x[0, :, max(k - 1, 0) : k + 2, max(i - 1, 0) : i + 2, j : j + 1]
        assert torch.equal(big[0, :, k, i, j], strongest_vector(tube))


@pytest.mark.parametrize("frames", [1, 4, 5])
def test_a_centred_view_has_t_frames_around_each_frame(frames):
    """In a long window of few frames the ends see less than the middle; without `centred` all frames see all."""
    unit = SmallBigUnit(2, 2, (1, 1, 1), 1, (None, 1, 1), BlockSpec(centred=True)).eval()
    nn.init.ones_(unit.bn_big.weight)
    x = torch.randn(1, 2, frames, 3, 3)
    radius = frames // 2
    tubes = [x[:, :, max(t - radius, 0) : t + radius + 1].amax(2) for t in range(frames)]
    expected = unit.bn(unit.conv(x)) + unit.bn_big(unit.conv(torch.stack(tubes, 2)))
    torch.testing.assert_close(unit(x), expected)


@pytest.mark.parametrize("pool", ["max", "avg", "vector"])
def test_the_extra_unit_is_figure_2f(pool):
    torch.manual_seed(0)
    unit = randomise(ExtraUnit(8, pool=pool)).eval()
    x = torch.randn(2, 8, 3, 4, 4)
    first, second = unit.conv1.weight.view(2, 8), unit.conv2.weight.view(8, 2)
    context = {"max": x.flatten(2).amax(-1), "avg": x.flatten(2).mean(-1), "vector": torch.stack([*map(strongest_vector, x)])}
    attention = torch.sigmoid(context[pool] @ first.T)  # (N, C/4)
    inside = torch.einsum("oc,ncthw->nothw", first, x) * attention[:, :, None, None, None]
    expected = x + normalise(torch.einsum("oc,ncthw->nothw", second, inside), unit.bn)
    torch.testing.assert_close(unit(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("block", "view", "extra"),
    [
        ("full", "max", "max"),
        ("full+avg", "avg", "avg"),
        ("full+avgviews", "avg", "max"),
        ("full+avgextra", "max", "avg"),
        ("full+vector", "vector", "vector"),
        ("typical+se", "max", "avg"),
        ("typical+semax", "max", "max"),
        ("typical+se+avg", "avg", "avg"),
        ("2d+avg+extra", None, "avg"),
    ],
)
def test_where_a_block_averages(block, view, extra):
    [made, *_] = create_model("c2d_r23", 2, stages=[block] * 4, width=8).res3
    assert made.extra.pool == extra
    assert {unit.pool for unit in (made.unit1, made.unit2, made.unit3) if unit.window} == ({view} if view else set())


def test_an_extra_unit_after_the_block_sees_what_the_block_returns():
    torch.manual_seed(0)
    [block, *_] = randomise(create_model("c2d_r23", 2, stages=["full+after"] * 4, width=8)).eval().res3
    x = torch.randn(1, 32, 2, 8, 8)
    assert block.extra.conv1.in_channels == 64
    y = block.unit3(block.unit2(block.unit1(x, relu=True), relu=True), shortcut=block.shortcut(x), relu=True)
    torch.testing.assert_close(block(x), block.extra(y))


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(
    ("stages", "parent"),
    [
        (["full"] * 4, "2d"),
        (["typical"] * 4, "2d"),
        (["full+avg"] * 4, "2d"),
        (["full+unshared"] * 4, "2d"),
        (["typical+se"] * 4, "2d"),
        (["nonlocal"] * 4, "2d"),
        (["full+after"] * 4, "2d"),
        (["full+vector"] * 4, "2d"),
        (["full+centred"] * 4, "2d"),
        (["2d", ["full", "2d"], ["2d", "typical+Tx5x5"], "full"], "2d"),
        (["3d+extra"] * 4, "3d"),
        (["full+3d"] * 4, "3d"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_with_its_parents_weights_a_network_computes_what_its_parent_does(stages, parent, training):
    torch.manual_seed(0)
    old = randomise(create_model("c2d_r23", 5, stages=[parent] * 4, width=8)).train(training)
    new = create_model("c2d_r23", 5, stages=stages, width=8).train(training)
    missing, unexpected = new.load_state_dict(old.state_dict(), strict=False)
    assert not unexpected and missing
    assert all(any(part in key for part in ("big", "extra", "nonlocal_after")) for key in missing)
    x = torch.randn(2, 3, 4, 48, 48)
    assert torch.equal(new(x), old(x))


@pytest.mark.parametrize("name", SYMMETRIC + ORDERED)
def test_only_networks_with_an_ordered_operation_see_the_direction_of_time(name):
    torch.manual_seed(0)
    model = randomise(create_model(name, 6, width=8)).eval()
    x = torch.randn(2, 3, 8, 64, 64)
    with torch.inference_mode():
        forward, backward = model(x), model(x.flip(2))
    change = ((forward - backward).norm() / forward.norm()).item()
    assert change < 1e-6 if name in SYMMETRIC else change > 1e-4


@pytest.mark.parametrize("block", ["full+avg", "full+vector", "full+centred", "full+after", "typical+semax", "smallbig_5x3x3"])
def test_other_readings_do_not_see_the_direction_of_time_either(block):
    torch.manual_seed(0)
    model = randomise(create_model("smallbig_r23", 6, stages=[block] * 4, width=8)).eval()
    x = torch.randn(1, 3, 8, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), model(x.flip(2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list_models())
def test_any_clip_length_and_size_and_every_parameter_learns(name):
    model = create_model(name, 3, width=8).train()
    randomise(model)
    for shape in ((1, 32, 32), (5, 40, 56)):
        frames, *size = shape
        logits = model(torch.randn(2, 3, frames * SLOWFAST.get(name, {}).get("alpha", 1), *size))
        assert logits.shape == (2, 3)
    F.cross_entropy(logits, torch.tensor([0, 2])).backward()
    without = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without


@pytest.mark.parametrize("name", ["smallbig_r23", "slowfast_r50"])
def test_gradient_checkpointing_changes_nothing_but_memory(name):
    results = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = randomise(create_model(name, 3, width=8)).train()
        model.set_grad_checkpointing(checkpointing)
        model(torch.randn(2, 3, 4, 32, 32)).square().sum().backward()
        results.append([p.grad for p in model.parameters()] + list(model.buffers()))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize(("name", "frames"), [("smallbig_r23", 4), ("slowfast_r50", 1)])
def test_timm_surface(name, frames):
    model = create_model(name, 10, width=8).eval()
    features = model.forward_features(torch.randn(1, 3, 4, 64, 64))
    assert features.shape == (1, model.num_features, frames, 2, 2)
    assert model.forward_head(features, pre_logits=True).shape == (1, model.num_features)
    model.reset_classifier(4)
    assert model.get_classifier().out_features == model.num_classes == 4
    model.reset_classifier(0)
    assert model(torch.randn(1, 3, 4, 64, 64)).shape == (1, model.num_features)
