"""What can be timed, by name."""

import pytest

from smallbignet import SmallBigError, load_config
from smallbignet.timing.cases import INFERENCE, TRAINING, choose_networks, choose_variants, default_clip


def test_networks_by_name_pattern_and_directory(run):
    assert choose_networks("c2d_r2*, s3d") == ["c2d_r23", "s3d"]
    assert choose_networks(str(run)) == [str(run)]


@pytest.mark.parametrize(
    ("names", "words"),
    [("smallbig_r5", "did you mean smallbig_r50?"), ("resnet*", "matches this pattern"), ("s3", "did you mean s3d?")],
)
def test_an_unknown_network_is_an_error(names, words):
    with pytest.raises(SmallBigError) as caught:
        choose_networks(names)
    assert words in str(caught.value) and names in str(caught.value)


def test_the_clip_that_a_network_is_made_for(run):
    assert default_clip("slowfast_r50") == (32, 224) and default_clip("s3d") == (16, 224)
    assert default_clip(str(run)) == (load_config(run).clip.clip_len, 32)


def test_plain_comes_first_and_is_of_the_device():
    assert choose_variants("fused bf16, plain", "cpu", INFERENCE) == ["plain", "fused bf16"]
    assert choose_variants("fused bf16", "cuda:0", TRAINING) == ["plain bf16", "fused bf16"]
    assert choose_variants("", "cpu", TRAINING) == ["plain", *(name for name in TRAINING[1:] if "compiled" not in name)]
    assert not any("openvino" in name or name == "int8" for name in choose_variants("", "cuda", INFERENCE))
    with pytest.raises(SmallBigError, match="did you mean fused"):
        choose_variants("fussed", "cpu", INFERENCE)
