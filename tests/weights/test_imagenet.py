"""2-D ImageNet weights in a video network."""

import sys

import pytest
import torch
import torchvision

from smallbignet import SmallBigError, create_model
from smallbignet.weights.imagenet import inflate_image_weights, load_imagenet, timm_state, torchvision_weights


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet50(weights=None).eval()


def still(image, frames=3):
    return image[:, :, None].expand(-1, -1, frames, -1, -1)


@pytest.mark.parametrize("name", ["c2d_r50", "smallbig_r50"])
def test_a_still_clip_is_answered_as_the_image(resnet, name):
    model = create_model(name, 1000).eval()
    inflate_image_weights(model, resnet.state_dict(), "resnet50")
    model.fc.load_state_dict(resnet.fc.state_dict())
    image = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(still(image)), resnet(image), rtol=1e-4, atol=1e-4)


def test_r101_takes_the_weights_of_resnet101(monkeypatch):
    resnet101 = torchvision.models.resnet101(weights=None).eval()
    asked = []
    monkeypatch.setattr(
        torchvision.models.WeightsEnum, "get_state_dict", lambda tag, **_: asked.append(tag) or resnet101.state_dict()
    )
    model = create_model("smallbig_r101", 1000).eval()
    load_imagenet(model, 101)
    model.fc.load_state_dict(resnet101.fc.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected, answer = resnet101(image), model(still(image))
    assert asked == [torchvision.models.ResNet101_Weights.IMAGENET1K_V1]
    assert (answer - expected).norm() / expected.norm() < 1e-4


def test_r23_takes_the_first_blocks_of_r50(resnet):
    model = create_model("smallbig_r23", 5)
    inflate_image_weights(model, resnet.state_dict(), "resnet50")
    for ours, theirs in ((model.res2, resnet.layer1), (model.res3, resnet.layer2), (model.res4, resnet.layer3)):
        assert all(torch.equal(a.unit2.conv.weight[:, :, 0], b.conv2.weight) for a, b in zip(ours, theirs, strict=False))
    assert len(model.res4) == 3


@pytest.mark.parametrize("name", ["i3d_r50", "slowonly_r50"])
def test_inside_a_still_clip_an_inflated_network_computes_what_the_image_network_does(resnet, name):
    model = create_model(name, 5).eval()
    inflate_image_weights(model, resnet.state_dict(), "resnet50")
    image = torch.randn(1, 3, 32, 32)
    trunk = torch.nn.Sequential(*list(resnet.children())[:-2])
    with torch.inference_mode():
        features = model.forward_features(still(image, 35))  # 16 blocks reach 16 frames each way
        torch.testing.assert_close(features[:, :, 17], trunk(image), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("weights", "entry"),
    [("imagenet", "ResNet50_Weights.IMAGENET1K_V1"), ("imagenet_v2", "ResNet50_Weights.IMAGENET1K_V2")],
)
def test_torchvisions_entries(weights, entry):
    assert str(torchvision_weights("resnet50", weights)) == entry
    assert str(torchvision_weights("resnet101", weights)) == entry.replace("50", "101")


@pytest.fixture
def timm_without_downloads(monkeypatch):
    timm = pytest.importorskip("timm")
    build, built = timm.create_model, []

    def create(name, pretrained=False):
        assert pretrained
        built.append(build(name.split(".")[0]).eval())
        return built[-1]

    monkeypatch.setattr(timm, "create_model", create)
    return built


def test_timms_weights(timm_without_downloads):
    model = create_model("c2d_r50", 1000).eval()
    load_imagenet(model, 50, "timm/resnet50.a1h_in1k")
    (theirs,) = timm_without_downloads
    model.fc.load_state_dict(theirs.fc.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(still(image)), theirs(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("depth", "weights", "words"),
    [
        (50, "timm/resnet50d.a1_in1k", "not resnet50d, whose stem or blocks differ: give timm/resnet50"),
        (23, "timm/resnet101.a1h_in1k", "timm's resnet50, not resnet101"),
        (101, "timm/resnet50.a1h_in1k", "timm's resnet101, not resnet50"),
        (50, "timm/resnet50.a1h", r"resnet50\.a1h_in1k"),
        (50, "timm/resnet50", r"resnet50\.a1_in1k"),
        (50, "imagenet21k", "image weights are imagenet, imagenet_v2 or timm/TAG"),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_any_download(timm_without_downloads, depth, weights, words):
    with pytest.raises(SmallBigError, match=words) as caught:
        load_imagenet(create_model("c2d_r23", 5, width=8), depth, weights)
    assert "\n" not in str(caught.value)
    assert not timm_without_downloads


def test_without_timm_the_installation_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SmallBigError, match=r"pip install 'smallbignet\[timm\]'"):
        timm_state("resnet50", "timm/resnet50.a1h_in1k")


def test_a_deep_stem_is_named():
    timm = pytest.importorskip("timm")
    with pytest.raises(SmallBigError, match=r"missing: stem\.conv\.weight, .* unexpected: conv1\.0\.weight") as caught:
        inflate_image_weights(create_model("c2d_r50"), timm.create_model("resnet50d").state_dict(), "resnet50d")
    assert "\n" not in str(caught.value)


def test_another_network_is_refused():
    with pytest.raises(SmallBigError, match="missing"):
        inflate_image_weights(create_model("c2d_r50"), torchvision.models.resnet18(weights=None).state_dict(), "resnet18")
