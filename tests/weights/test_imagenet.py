"""2-D ImageNet weights in a video network."""

import sys

import pytest
import torch
import torchvision

from smallbignet import SmallBigError, create_model
from smallbignet.weights.imagenet import TORCHVISION, timm_state


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet50(weights=None).eval()


@pytest.fixture(scope="module")
def file(resnet, tmp_path_factory):
    """The file of an image network, as torchvision publishes it."""
    path = tmp_path_factory.mktemp("image") / "resnet50.pth"
    torch.save(resnet.state_dict(), path)
    return path


def still(image, frames=3):
    return image[:, :, None].expand(-1, -1, frames, -1, -1)


@pytest.mark.parametrize("name", ["c2d_r50", "smallbig_r50"])
def test_a_still_clip_gets_the_images_logits(resnet, file, name):
    model = create_model(name, 1000, weights=file).eval()
    model.fc.load_state_dict(resnet.fc.state_dict())
    image = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(still(image)), resnet(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("weights", "name", "entry"),
    [
        ("imagenet", "smallbig_r101", torchvision.models.ResNet101_Weights.IMAGENET1K_V1),
        ("imagenet_v2", "c2d_r101", torchvision.models.ResNet101_Weights.IMAGENET1K_V2),
        ("imagenet", "c2d_r50", torchvision.models.ResNet50_Weights.IMAGENET1K_V1),
        ("imagenet_v2", "smallbig_r23", torchvision.models.ResNet50_Weights.IMAGENET1K_V2),
    ],
)
def test_a_name_takes_torchvisions_network_of_that_depth(monkeypatch, weights, name, entry):
    resnet = torchvision.models.get_model("resnet101" if "101" in name else "resnet50", weights=None).eval()
    asked = []
    monkeypatch.setattr(
        torchvision.models.WeightsEnum, "get_state_dict", lambda tag, **_: asked.append(tag) or resnet.state_dict()
    )
    model = create_model(name, 1000, weights=weights).eval()
    assert asked == [entry]
    if name.endswith("23"):  # which has fewer blocks
        assert torch.equal(model.res4[2].unit2.conv.weight[:, :, 0], resnet.layer3[2].conv2.weight)
        return
    model.fc.load_state_dict(resnet.fc.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected, logits = resnet(image), model(still(image))
    assert (logits - expected).norm() / expected.norm() < 1e-4


def test_the_figures_are_torchvisions():
    from smallbignet.weights.published import CHECKPOINTS

    records = [record for record in CHECKPOINTS if record.source == "torchvision"]
    assert len(records) == len(TORCHVISION) == 4
    for record in records:
        figures = torchvision.models.get_weight(record.address).meta["_metrics"]["ImageNet-1K"]
        assert (record.top1, record.top5) == (figures["acc@1"], figures["acc@5"])


def test_r23_takes_the_first_blocks_of_r50(resnet, file):
    model = create_model("smallbig_r23", 5, weights=file)
    for ours, theirs in ((model.res2, resnet.layer1), (model.res3, resnet.layer2), (model.res4, resnet.layer3)):
        assert all(torch.equal(a.unit2.conv.weight[:, :, 0], b.conv2.weight) for a, b in zip(ours, theirs, strict=False))
    assert len(model.res4) == 3


def test_the_big_views_own_convolutions_start_as_the_images(resnet, file):
    model = create_model("smallbig_r50", 5, stages=["2d", "full+unshared", "full+unshared", "full+unshared"], weights=file)
    for ours, theirs in ((model.res3, resnet.layer2), (model.res4, resnet.layer3), (model.res5, resnet.layer4)):
        for block, image in zip(ours, theirs, strict=True):
            assert torch.equal(block.unit1.conv_big.weight[:, :, 0], image.conv1.weight)
            assert torch.equal(block.unit3.conv_big.weight[:, :, 0], image.conv3.weight)


@pytest.mark.parametrize("name", ["i3d_r50", "slowonly_r50"])
def test_inside_a_still_clip_an_inflated_network_computes_what_the_image_network_does(resnet, file, name):
    model = create_model(name, 5, weights=file).eval()
    image = torch.randn(1, 3, 32, 32)
    trunk = torch.nn.Sequential(*list(resnet.children())[:-2])
    with torch.inference_mode():
        features = model.forward_features(still(image, 35))  # 16 blocks reach 16 frames each way
        torch.testing.assert_close(features[:, :, 17], trunk(image), rtol=1e-3, atol=1e-4)


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
    model = create_model("c2d_r50", 1000, weights="timm/resnet50.a1h_in1k").eval()
    (theirs,) = timm_without_downloads
    model.fc.load_state_dict(theirs.fc.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(still(image)), theirs(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "weights", "words"),
    [
        ("c2d_r50", "timm/resnet50d.a1_in1k", "not resnet50d, whose stem or blocks differ: give timm/resnet50"),
        ("c2d_r23", "timm/resnet101.a1h_in1k", "timm's resnet50, not resnet101"),
        ("c2d_r101", "timm/resnet50.a1h_in1k", "timm's resnet101, not resnet50"),
        ("c2d_r50", "timm/resnet50.a1h", r"resnet50\.a1h_in1k"),
        ("c2d_r50", "timm/resnet50", r"resnet50\.a1_in1k"),
        ("c2d_r50", "imagenet21k", "did you mean imagenet"),
        ("slowfast_r50", "imagenet", "two pathways"),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_any_download(timm_without_downloads, name, weights, words):
    with pytest.raises(SmallBigError, match=words) as caught:
        create_model(name, 5, width=8, weights=weights)
    assert "\n" not in str(caught.value)
    assert not timm_without_downloads


def test_without_timm_the_installation_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SmallBigError, match=r"pip install 'smallbignet\[timm\]'"):
        timm_state("resnet50", "timm/resnet50.a1h_in1k")


def test_a_deep_stem_is_named(tmp_path):
    timm = pytest.importorskip("timm")
    torch.save(timm.create_model("resnet50d").state_dict(), tmp_path / "resnet50d.pth")
    with pytest.raises(SmallBigError, match=r"missing: stem\.conv\.weight, .* unexpected: conv1\.0\.weight") as caught:
        create_model("c2d_r50", weights=tmp_path / "resnet50d.pth")
    assert "\n" not in str(caught.value)


def test_another_network_is_refused(tmp_path):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(SmallBigError, match="missing"):
        create_model("c2d_r50", weights=tmp_path / "resnet18.pth")
