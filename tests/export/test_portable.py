"""The portable form has the outputs of the network, and the operators that it promises."""

import pytest
import torch

from smallbignet import SmallBigError, create_model, list_models
from smallbignet.export.portable import portable

BLOCKS = ["full+avg", "full+unshared", "full+singlebn", "full+3d", "typical+semax", "smallbig_3x5x5", "full+vector"]
BLOCKS += ["full+after", "full+centred", "smallbig_Tx3x3+singlebn"]
NETWORKS = [(name, {"width": 8}) for name in list_models()]
NETWORKS += [("smallbig_r23", {"width": 8, "stages": [block] * 4}) for block in BLOCKS]
NETWORKS += [
    ("c2d_r23", {"width": 8, "head_window": 2}),
    ("timm/resnet18", {"stages": ["tsm", "full+after", "nonlocal", "full+se"]}),
    ("timm/mobilenetv3_small_050", {}),
]


@pytest.fixture(scope="module")
def random_model():
    """Makes a network in eval mode whose big views count, with statistics of some noise."""

    def make(name: str, **options):
        torch.manual_seed(0)
        model = create_model(name, 7, **options)
        for module in model.modules():
            if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
                torch.nn.init.uniform_(module.weight, -0.5, 1)
                torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
                torch.nn.init.uniform_(module.running_var, 0.5, 2)
        return model.eval()

    return make


@pytest.mark.parametrize(("name", "options"), NETWORKS, ids=lambda value: str(value)[:60])
@torch.inference_mode()
def test_every_network_has_the_same_logits_and_features(name, options, random_model):
    model = random_model(name, **options)
    clips = torch.randn(2, 3, 8, 40, 56)
    maps = model.forward_features(clips)
    logits, features = portable(model, 8)(clips)
    for ours, expected in ((logits, model.forward_head(maps)), (features, model.forward_head(maps, pre_logits=True))):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("name", ["smallbig_r23", "i3d_r23", "tsm_r50", "nonlocal_r23", "slowfast_r50"])
def test_no_operator_has_more_than_four_dimensions(name, random_model):
    """But the clips themselves, and what makes them frames."""
    program = torch.export.export(portable(random_model(name, width=8), 8), (torch.zeros(2, 3, 8, 64, 64),))
    operators = [node for node in program.graph.nodes if node.op == "call_function"]
    kinds = {str(node.target) for node in operators}
    assert not {kind for kind in kinds if "3d" in kind or "attention" in kind or "batch_norm" in kind}
    large = [str(node.target) for node in operators if getattr(node.meta["val"], "ndim", 0) > 4]
    assert set(large) <= {"aten.transpose.int", "aten.index.Tensor"}
    assert len(large) <= 3  # of SlowFast's two pathways


@torch.inference_mode()
def test_the_padding_of_tensorflow_is_that_of_multiples_of_32(random_model):
    model = random_model("timm/tf_efficientnet_lite0", stages=["2d"] * 4)
    clips = torch.randn(1, 3, 2, 96, 64)
    expected = model.double()(clips.double()).float()
    logits, _ = portable(model.float(), 2)(clips)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def test_slowfast_needs_a_multiple_of_alpha(random_model):
    with pytest.raises(SmallBigError, match="a multiple of 4 frames"):
        portable(random_model("slowfast_r50", width=8), 6)
