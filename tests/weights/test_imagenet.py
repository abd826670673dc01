"""2-D ImageNet weights in a video network."""

import pytest
import torch
import torchvision

from smallbignet import SmallBigError, create_model
from smallbignet.weights.imagenet import inflate_image_weights


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet50(weights=None).eval()


@pytest.mark.parametrize("name", ["c2d_r50", "smallbig_r50"])
def test_a_still_clip_is_answered_as_the_image(resnet, name):
    model = create_model(name, 1000).eval()
    inflate_image_weights(model, resnet.state_dict(), "resnet50")
    model.fc.load_state_dict(resnet.fc.state_dict())
    image = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(image[:, :, None].expand(-1, -1, 3, -1, -1)), resnet(image), rtol=1e-4, atol=1e-4)


def test_r23_takes_the_first_blocks_of_r50(resnet):
    model = create_model("smallbig_r23", 5)
    inflate_image_weights(model, resnet.state_dict(), "resnet50")
    assert torch.equal(model.res4[2].unit2.conv.weight[:, :, 0], resnet.layer3[2].conv2.weight)


def test_a_temporal_kernel_sums_to_the_image_kernel(resnet):
    model = create_model("i3d_r50", 5)
    inflate_image_weights(model, resnet.state_dict(), "resnet50")
    torch.testing.assert_close(model.res3[0].unit1.conv.weight.sum(2), resnet.layer2[0].conv1.weight[:, :])


def test_another_network_is_refused():
    with pytest.raises(SmallBigError, match="missing"):
        inflate_image_weights(create_model("c2d_r50"), torchvision.models.resnet18(weights=None).state_dict(), "resnet18")
