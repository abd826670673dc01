"""timm's image CNNs as video networks: they equal timm's own on still clips, and their units follow Eq. 2."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from smallbignet import SmallBigError, complexity, create_model
from smallbignet.models.smallbig import BlockSpec
from smallbignet.models.timm_cnn import Frames, FrameUnit
from smallbignet.models.timm_structure import find_structure
from smallbignet.models.zoo import build_model, list_models

timm = pytest.importorskip("timm")

FAMILIES = ["resnet10t", "regnety_002", "mobilenetv2_035", "mobilenetv3_small_050", "mobilenetv4_conv_small_035", "repvgg_a0"]
FULL = ["2d", "full", "full", "full"]


def image_network(name: str) -> nn.Module:
    """timm's network with normalisations far from where they start."""
    torch.manual_seed(0)
    image = timm.create_model(name, num_classes=7)
    for bn in (module for module in image.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(bn.weight, 0.5, 1.5)
        nn.init.uniform_(bn.bias, -0.2, 0.2)
        nn.init.uniform_(bn.running_mean, -0.2, 0.2)
        nn.init.uniform_(bn.running_var, 0.5, 2.0)
    return image.eval()


def video_network(image: nn.Module, name: str, stages: list) -> nn.Module:
    """Our network with the weights of timm's."""
    model = build_model(f"timm/{name}", 7, stages=stages).eval()
    loaded = model.load_state_dict({model.keys[key]: value for key, value in image.state_dict().items()}, strict=False)
    assert not loaded.unexpected_keys
    return model


def far(y: torch.Tensor, expected: torch.Tensor) -> float:
    return ((y - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("name", FAMILIES)
def test_it_starts_as_timms_network(name):
    """On a still clip with and without big views, and on a moving clip whether or not there are any."""
    image = image_network(name)
    plain = video_network(image, name, ["2d"] * 4)
    with torch.inference_mode():
        picture = torch.randn(2, 3, 64, 96)
        expected, clip = image(picture), picture[:, :, None].expand(-1, -1, 3, -1, -1)
        assert far(plain(clip), expected) < 1e-5
        moving = torch.randn(1, 3, 4, 64, 64)
        for stages in (FULL, ["nonlocal", "2d+se", "full+unshared", "full+avg"]):
            model = video_network(image, name, stages)
            assert far(model(clip), expected) < 1e-5
            assert far(model(moving), plain(moving)) < 1e-5


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("resnet18", [2, 2, 2, 2]),
        ("resnet50", [3, 4, 6, 3]),
        ("regnety_002", [1, 1, 4, 7]),
        ("mobilenetv2_100", [2, 3, 7, 4]),  # Table 2 of its paper, without the first block, at 1/2
        ("tf_efficientnet_lite0", [2, 2, 6, 5]),  # B0 has 1, 2, 2, 3, 3, 4, 1 blocks at 1/2, 1/4, 1/8, 1/16, 1/16, 1/32, 1/32
    ],
)
def test_stages_are_found_by_the_size_of_their_maps(name, blocks):
    assert [len(parts) for parts in find_structure(name).stages.values()] == blocks


def windows(block: nn.Module) -> dict[str, object]:
    return {name: unit.window for name, unit in block.module.named_modules() if isinstance(unit, FrameUnit)}


def test_the_three_views_are_those_of_the_first_the_middle_and_the_last_convolution():
    spec = BlockSpec(("1x3x3", "3x3x3", "Tx3x3"))
    first, middle, last = spec.windows
    basic = build_model("timm/resnet18", 7, stages=[spec] * 4).res3[0]
    assert windows(basic) == {"conv1": first, "conv2": last, "downsample.0": None}
    bottleneck = build_model("timm/resnet50", 7, stages=[spec] * 4).res3[0]
    assert windows(bottleneck) == {"conv1": first, "conv2": middle, "conv3": last, "downsample.0": None}
    v4 = build_model("timm/mobilenetv4_conv_small_035", 7, stages=[spec] * 4)
    inverted = {"dw_start.conv": first, "pw_exp.conv": None, "dw_mid.conv": middle, "pw_proj.conv": last}
    assert windows(v4.res4[0]) == inverted
    assert isinstance(v4.res2[0], Frames) and set(windows(v4.res2[0]).values()) == {None}  # a single convolution


@pytest.mark.parametrize(("window", "reach"), [("3x3x3", 1), ("Tx3x3", 9)])
def test_a_unit_is_equation_2(window, reach):
    """A depthwise convolution with TensorFlow's padding and a stride; the maximum is taken over every frame in reach."""
    from timm.layers.conv2d_same import Conv2dSame

    torch.manual_seed(0)
    conv, bn = Conv2dSame(6, 6, 3, stride=2, groups=6, bias=False), nn.BatchNorm2d(6, eps=1e-3)
    nn.init.uniform_(bn.weight, 0.5, 1.5)
    spec = BlockSpec((window, None, None))
    unit = FrameUnit(conv, bn, spec.windows[0], spec).eval()
    nn.init.uniform_(unit.bn_big.weight, 0.5, 1.5)
    unit.clip_len = 5
    x = torch.randn(2, 5, 6, 9, 8)
    y = unit(x.flatten(0, 1)).unflatten(0, (2, 5))
    for n in range(2):
        for t in range(5):
            near = x[n, max(t - reach, 0) : t + reach + 1].amax(0)
            big = F.max_pool2d(near[None], 3, stride=1, padding=1)
            expected = normalised(conv(x[n, t][None]), unit.bn.weight) + normalised(conv(big), unit.bn_big.weight)
            torch.testing.assert_close(y[n, t], expected[0])


def normalised(y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A batch normalisation with its first statistics: mean 0, variance 1, eps 0.001."""
    return y * (weight / 1.001**0.5)[:, None, None]


def test_shifted_channels_only_reach_the_first_convolution_of_a_block():
    """After `n` blocks the frames in the middle of a still clip don't notice; those at its ends do."""
    name = "resnet10t"
    image = image_network(name)
    plain, shifted = (video_network(image, name, [block] * 4) for block in ("2d", "tsm"))
    shifts = [
        unit
        for unit, module in shifted.named_modules()
        if isinstance(module, FrameUnit) and not isinstance(module.shift, nn.Identity)
    ]
    assert [unit.split(".")[-1] for unit in shifts] == ["conv1"] * 4
    clip = torch.randn(1, 3, 1, 64, 64).expand(-1, -1, 11, -1, -1)
    with torch.inference_mode():
        y, expected = shifted.forward_features(clip), plain.forward_features(clip)
    assert far(y[:, :, 4:7], expected[:, :, 4:7]) < 1e-5 < far(y[:, :, 0], expected[:, :, 0])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_trains_every_part_and_lowers_the_loss_as_its_gradient_says(name, checkpointing):
    torch.manual_seed(0)
    model = build_model(f"timm/{name}", 3, stages=FULL).double()
    model.set_grad_checkpointing(checkpointing)
    units = [module for module in model.modules() if isinstance(module, FrameUnit)]
    for unit in units:
        nn.init.ones_(unit.bn.weight)  # zero in the last unit of a ResNet's block, which would hide the units before it
    clips, labels = torch.randn(3, 3, 2, 64, 64, dtype=torch.float64), torch.arange(3)
    before = F.cross_entropy(model(clips), labels)
    before.backward()
    counts = {int(value) for key, value in model.named_buffers() if key.endswith("num_batches_tracked")}
    assert counts == {1}  # a block that is computed again doesn't count its statistics twice
    assert all(parameter.grad is not None for parameter in model.parameters())
    squared = sum(parameter.grad.square().sum() for parameter in model.parameters())
    rate = 1e-6 / squared.sqrt().item()
    torch.optim.SGD(model.parameters(), rate).step()
    after = F.cross_entropy(model(clips), labels)
    assert (before - after).item() == pytest.approx((rate * squared).item(), rel=0.05)
    big = [unit.bn_big for unit in units if unit.bn_big is not None]
    assert big and all(bn.weight.any() for bn in big)


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050"])
def test_gradients_are_those_of_timms_network(name):
    """Of the image network on the frames, in training mode: the statistics are over clips and frames."""
    image = image_network(name)
    model = video_network(image, name, ["2d"] * 4).double().train()
    image.double().train()
    clips = torch.randn(2, 3, 2, 64, 64, dtype=torch.float64)
    model(clips).square().sum().backward()
    image(clips.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, 2)).mean(1).square().sum().backward()
    ours = dict(model.named_parameters())
    for key, parameter in image.named_parameters():
        torch.testing.assert_close(ours[model.keys[key]].grad, parameter.grad, rtol=1e-6, atol=1e-10)
    torch.testing.assert_close(
        dict(model.named_buffers()), {**dict(model.named_buffers()), **{model.keys[k]: v for k, v in image.named_buffers()}}
    )


def test_the_cost_is_that_of_timms_network_once_a_frame():
    cost = complexity(lambda: build_model("timm/tf_efficientnet_lite0", 1000, stages=["2d"] * 4), 8, 224)
    image = timm.create_model("tf_efficientnet_lite0").eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        image(torch.zeros(1, 3, 224, 224))
    classifier = 1280 * 1000  # once a clip
    assert cost.macs == 8 * (counter.get_total_flops() // 2 - classifier) + classifier
    assert cost.params == sum(p.numel() for p in image.parameters()) == 4_652_008  # as timm's results tables say: 4.65 M
    typical = complexity(lambda: build_model("timm/tf_efficientnet_lite0", 1000, stages=["2d", "typical", "2d", "2d"]), 8, 224)
    assert typical.params - cost.params == 2 * (144 + 144 + 40 + 240 + 240 + 40)  # a normalisation for each big view of res3


def test_channels_last_changes_nothing_but_the_order_in_memory():
    model = build_model("timm/resnet10t", 7, stages=["2d", "full", "nonlocal", "2d"]).eval()
    clips = torch.randn(2, 3, 3, 64, 64)
    with torch.inference_mode():
        expected = model(clips)
        model.to(memory_format=torch.channels_last_3d)
        assert model.res2[0].module.conv1.conv.frame.weight.is_contiguous(memory_format=torch.channels_last)
        assert far(model(clips.contiguous(memory_format=torch.channels_last_3d)), expected) < 1e-5


def test_any_length_and_size():
    model = build_model("timm/tf_efficientnet_lite0", 7).eval()
    with torch.inference_mode():
        for shape in ((1, 3, 1, 32, 32), (2, 3, 5, 47, 65)):
            assert model(torch.randn(shape)).shape == (shape[0], 7)
    assert model.forward_features(torch.randn(1, 3, 2, 64, 96)).shape == (1, 1280, 2, 2, 3)


def test_patterns():
    assert list_models("timm/*lite0") == ["timm/efficientnet_lite0", "timm/tf_efficientnet_lite0"]
    assert list_models("timm/resnet18.a1_in1k") == ["timm/resnet18"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: create_model("timm/tf_efficientnet_lit0"), "did you mean tf_efficientnet_lite0"),
        (lambda: create_model("timm/hf-hub:timm/resnet18"), "is named timm/NAME"),
        (lambda: create_model("timm/vit_tiny_patch16_224"), "can't be made into a video network"),
        (lambda: create_model("timm/convnext_atto"), "no blocks of convolutions with batch normalisation"),
        (lambda: create_model("timm/vgg11_bn"), "no blocks of convolutions with batch normalisation"),
        (lambda: create_model("timm/resnet18", stages=["2d", "3d", "2d", "2d"]), "no convolutions over time"),
        (lambda: create_model("timm/resnet18", width=32), "widths of timm's networks are fixed"),
    ],
)
def test_what_does_not_work_is_said_in_one_line(call, words):
    with pytest.raises(SmallBigError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_without_timm_the_installation_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SmallBigError, match=r"pip install 'smallbignet\[timm\]'"):
        create_model("timm/resnet18")
