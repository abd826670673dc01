"""The clip that is explained is the one that `predict --views 1x1` scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from smallbignet import VideoClassifier, load_config, open_video
from smallbignet.data.sampling import ClipSpec
from smallbignet.data.transforms import to_input
from smallbignet.explain.clip import read_clip, shown_frames
from smallbignet.explain.explanation import Score, to_scores
from smallbignet.weights.directory import ScoreSpec
from smallbignet.weights.load import load_model


@pytest.mark.parametrize("sampling", [ClipSpec("uniform", 4), ClipSpec("dense", 4, 1)])
def test_pixels_numbers_and_times(run, clips, sampling):
    config = replace(load_config(run), clip=sampling)
    path = str(min(clips.glob("val/still/*.mp4")))
    clip = read_clip(path, config)
    with open_video(path) as video:
        assert np.array_equal(clip.times, video.times[clip.frames])
        frames = video.frames(clip.frames.tolist())  # of 32x32, as the network takes them
    assert torch.equal(clip.pixels, frames.permute(0, 2, 3, 1))
    assert clip.frames.tolist() == {"uniform": [1, 3, 5, 7], "dense": [2, 3, 4, 5]}[sampling.sampling]
    assert clip.caption(0) == f"frame {clip.frames[0]}, {clip.frames[0] / 16:.2f} s"  # 16 frames a second


@pytest.mark.parametrize("spec", [ScoreSpec(), ScoreSpec("softmax", 2.5), ScoreSpec("sigmoid")])
def test_the_scores_are_those_of_one_view(spec, run, clips):
    path = str(min(clips.glob("val/turning/*.mp4")))
    config = replace(load_config(run), scores=spec)
    network = load_model(run)
    logits = network(to_input(read_clip(path, config).pixels[None], config.input))
    scores = dict(zip(config.classes, to_scores(logits, spec)[0].tolist(), strict=True))
    for prediction in VideoClassifier(network, config, device="cpu").predict(path, views="1x1"):
        assert scores[prediction.label] == pytest.approx(prediction.score, abs=1e-5)
    assert Score(2, None, spec)(logits).item() == pytest.approx(scores[config.classes[2]])
    assert Score(2, 4, spec)(logits).item() == pytest.approx((logits[:, [2, 4]] / spec.temperature).softmax(1)[0, 0].item())


def test_frames_that_stand_for_parts_of_the_clip():
    assert shown_frames(8, 8) == list(range(8))
    assert shown_frames(32, 8) == [0, 4, 8, 13, 17, 22, 26, 31]  # SlowFast's slow pathway
    assert shown_frames(8, 1) == [0]
