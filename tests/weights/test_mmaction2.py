"""mmaction2's checkpoints: the logits that mmaction2 computes with such weights, here computed without mmaction2."""

import re

import pytest
import torch

from smallbignet import SmallBigError
from smallbignet.weights.sources import adapt_checkpoint, find_checkpoint


def from_mmaction2(state, network, file=""):
    return adapt_checkpoint(state, find_checkpoint("mmaction2", network), file)


def theirs(state, shifted=False):
    """torchvision's keys under mmaction2's names."""

    def name(key):
        key = re.sub(r"downsample\.0", "downsample.conv", re.sub(r"downsample\.1", "downsample.bn", key))
        key = re.sub(r"\bbn(\d)\.", r"conv\1.bn.", re.sub(r"(conv\d)\.weight", r"\1.conv.weight", key))
        key = re.sub(r"(layer.*\.conv1\.conv)\.", r"\1.net.", key) if shifted else key
        return key.replace("fc.", "cls_head.fc_cls.") if key.startswith("fc.") else f"backbone.{key}"

    return {name(key): value for key, value in state.items()}


def test_the_layout_is_mmaction2s(frame_net):
    keys = theirs(frame_net.state_dict(), shifted=True).keys()
    assert keys >= {  # found in public logs and converters
        "backbone.conv1.conv.weight",
        "backbone.conv1.bn.running_mean",
        "backbone.layer1.0.downsample.conv.weight",
        "backbone.layer1.0.downsample.bn.num_batches_tracked",
        "backbone.layer2.0.conv1.conv.net.weight",
        "backbone.layer2.0.conv2.bn.weight",
        "cls_head.fc_cls.weight",
    }
    assert sum(".net." in key for key in keys) == 16


def test_tsn(frame_net, tsn):
    model, how = from_mmaction2(theirs(frame_net.state_dict()), "tsn_r50")
    assert how == {"name": "c2d_r50", "num_classes": 5, "stages": None, "head_window": None} and not model.training
    clip = torch.randn(2, 3, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(clip), tsn(clip), rtol=1e-4, atol=1e-4)


def test_tsm_as_version_1_saves_it(frame_net, tsm, tsn):
    normalisation = {"data_preprocessor.mean": torch.zeros(3, 1, 1), "data_preprocessor.std": torch.ones(3, 1, 1)}
    model, how = from_mmaction2(theirs(frame_net.state_dict(), shifted=True) | normalisation, "tsm_r50")
    assert how["name"] == "tsm_r50"
    clip = torch.randn(2, 3, 4, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(clip), tsm(clip), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(tsm(clip), tsn(clip), rtol=1e-2)


def test_slowonly_sees_the_frames_around_in_its_last_two_stages(frame_net, tsn):
    """Kernels whose middle frame alone isn't zero compute what the frames alone give."""
    state = {}
    for key, value in frame_net.state_dict().items():
        if value.dim() == 4:
            value = value.unsqueeze(2)
            if re.fullmatch(r"layer[34]\.\d+\.conv1\.weight", key):
                value = torch.cat([0 * value, value, 0 * value], dim=2)
        state[key] = value
    model, how = from_mmaction2(theirs(state), "slowonly_r50")
    assert how["name"] == "slowonly_r50"
    clip = torch.randn(1, 3, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(clip), tsn(clip), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "shifted", "change", "words"),
    [
        ("tsn_r50", False, lambda s: s.pop("backbone.layer2.0.conv1.bn.bias"), "1 missing: res3.0.unit1.bn.bias"),
        ("tsn_r50", False, lambda s: s.update(x=torch.zeros(1)), "1 unexpected: x"),
        ("tsn_r50", False, lambda s: s.update({"data_preprocessor.x": torch.zeros(1)}), "1 unexpected: data_preprocessor.x"),
        ("tsn_r50", True, lambda s: None, r"16 unexpected: backbone\.layer1\.0\.conv1\.conv\.net\.weight"),
        ("tsm_r50", False, lambda s: None, r"16 unexpected: backbone\.layer1\.0\.conv1\.conv\.weight"),
        ("slowonly_r50", False, lambda s: None, r"9 of another shape: res4\.0\.unit1\.conv\.weight \(256, 512, 1, 1, 1\)"),
        ("tin_r50", False, lambda s: None, "mmaction2 has tsn_r50, tsm_r50, slowonly_r50"),
    ],
)
def test_what_does_not_fit_is_named(frame_net, network, shifted, change, words):
    state = theirs(frame_net.state_dict(), shifted)
    change(state)
    with pytest.raises(SmallBigError, match=words) as caught:
        from_mmaction2(state, network, "theirs.pth")
    assert "\n" not in str(caught.value)
