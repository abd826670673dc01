"""SlowFast's two pathways, and that its networks go through the same commands as SmallBig's."""

import pytest
import torch

from smallbignet import SmallBigError, VideoClassifier, create_model
from smallbignet.commands.evaluate import evaluate
from smallbignet.commands.train import train
from smallbignet.models.slowfast import slow_frames


@pytest.mark.parametrize(("clip_len", "alpha"), [(32, 4), (32, 8), (64, 4), (4, 4), (8, 4), (16, 4), (160, 8)])
def test_the_slow_pathways_frames_are_pytorchvideos(clip_len, alpha):
    assert slow_frames(clip_len, alpha) == torch.linspace(0, clip_len - 1, clip_len // alpha).long().tolist()


def test_other_clips_are_refused():
    with pytest.raises(SmallBigError, match=r"multiple of 4 frames \(clip_len 6\)"):
        create_model("slowfast_r50", 5, width=8)(torch.zeros(1, 3, 6, 32, 32))


@pytest.mark.parametrize(("name", "temporal"), [("slowfast_r101", 23), ("slowfast_16x8_r101", 6)])
def test_temporal_convolutions_of_res4(name, temporal):
    model = create_model(name, 5, width=8)
    for pathway in (model.slow, model.fast):
        extents = [block.unit1.conv.kernel_size[0] for block in pathway.res4]
        assert extents == [3] * temporal + [1] * (23 - temporal)


@pytest.mark.parametrize(("lateral", "frames"), [(True, range(8)), (False, [0, 7])])
def test_the_slow_pathway_sees_all_frames_through_the_lateral_connections_alone(lateral, frames):
    torch.manual_seed(0)
    model = create_model("slowfast_r50", 5, width=8).eval()
    for connection in model.laterals:
        connection.bn.weight.data.fill_(lateral)
    x = torch.randn(1, 3, 8, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.forward_features(x)[:, : 8 * 32].sum(), x)
    assert [t for t in range(8) if gradient[:, :, t].any()] == list(frames)


def test_it_trains_evaluates_and_predicts_like_the_others(tiny, clips):
    config = tiny("--model.name", "slowfast_r50", "--optim.epochs", "1")
    report = train(config)
    assert evaluate(report.directory, str(clips / "val"), views="1x1").accuracy() == report.last_top1
    assert len(VideoClassifier(report.directory).predict(min(clips.glob("val/still/*.mp4")), top=3)) == 3
