"""Layers that see single frames compute each frame of overlapping windows once, and the scores stay the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from film import CLASSES, colour_classifier, write_film
from smallbignet import VideoClassifier
from smallbignet.data.sampling import ClipSpec
from smallbignet.data.transforms import InputSpec
from smallbignet.inference import shared
from smallbignet.inference.fuse import fuse
from smallbignet.inference.shared import WindowScorer, mixes_frames, split_at_first_temporal
from smallbignet.models.zoo import BLOCKS
from smallbignet.weights.directory import ModelConfig

CLIP, SIZES = ClipSpec("dense", 8, 2), InputSpec(32, (32, 32), 32)
OTHERS = ["2d+extra", "2d+se+after", "smallbig_1x3x3", "smallbig_1x3x3_3x1x1", "smallbig_Tx1x1", "full+vector", "typical+avg"]
TEMPORAL = {"3d", "typical", "full", "nonlocal", "tsm", *OTHERS} - {"smallbig_1x3x3"}


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> str:
    """200 frames in random colours: 24 windows of 16 frames, most of them 8 frames apart."""
    rng = np.random.default_rng(0)
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", rng.choice([*CLASSES, "grey"], 200).tolist())


def make_classifier(network, clip: ClipSpec = CLIP) -> VideoClassifier:
    config = ModelConfig({"name": "c2d_r23", "num_classes": 7}, list("abcdefg"), clip, SIZES, "1x1")
    return VideoClassifier(network, config, device="cpu")


def check(classifier: VideoClassifier, path: str, views: str = "1x1", **lengths: float) -> tuple[int, int]:
    """Compares the logits with those of windows alone; returns how many pictures the layers got, and how many there are."""
    classifier.to_scores = lambda logits: logits
    scorer = WindowScorer(classifier)
    computed = []
    scorer.before.register_forward_pre_hook(lambda module, args: computed.append(args[0].shape[1]))
    items = list(classifier.reader(views).read_windows(path, **lengths))
    found = torch.cat([scorer.scores(item) for item in items])
    alone = torch.cat([classifier.scores(item.clips) for item in items])
    assert (found - alone).norm() <= 1e-5 * alone.norm()
    frames = {number for item in items for number in item.frames.flat}
    return sum(computed), len(frames) * classifier.reader(views).views.num_crops


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("c2d_r23", 1 + 1 + 2 + 3 + 1),
        ("i3d_r23", 1),
        ("slowonly_r50", 1 + 3 + 4),
        ("nonlocal_r23", 1 + 1),
        ("tsm_r50", 1),
        ("smallbig_r23", 1 + 1),
        ("smallbig_r101", 1 + 3),
        ("smallbig_slowonly_r50", 1 + 3),
    ],
)
def test_layers_before_the_first_temporal_one_compute_each_frame_once(name, layers, random_network, film):
    classifier = make_classifier(random_network(name, width=8))
    assert len(split_at_first_temporal(classifier.network)[0]) == layers
    computed, distinct = check(classifier, film)
    assert computed == distinct


@pytest.mark.parametrize("views", ["1x3", "2x1", "3x3"])
def test_crops_and_clips_of_a_window_are_told_apart(views, random_network, film):
    computed, distinct = check(make_classifier(random_network("smallbig_r23", width=8)), film, views)
    assert computed == distinct


@pytest.mark.parametrize("lengths", [{"stride": 0.04}, {"stride": 0.12}, {"window": 2.0}, {"window": 20.0}], ids=str)
@pytest.mark.parametrize("clip", [CLIP, ClipSpec("uniform", 4)], ids=["dense", "uniform"])
def test_any_windows_have_the_same_scores(clip, lengths, random_network, film):
    computed, distinct = check(make_classifier(random_network("smallbig_r23", width=8), clip), film, **lengths)
    assert computed == distinct


def test_little_is_kept_and_nothing_of_another_video(random_network, film, monkeypatch):
    classifier = make_classifier(random_network("c2d_r23", width=8))
    scorer = WindowScorer(classifier)
    for item in classifier.reader("1x1").read_windows(film):
        scorer.scores(item)
        assert len(scorer.kept) <= 8  # frames of one window
    [short] = list(classifier.reader("1x1").read_windows(film, window=20.0))  # other frames with the same numbers
    assert torch.equal(scorer.scores(short), WindowScorer(classifier).scores(short))
    frame = next(iter(scorer.kept.values()))
    monkeypatch.setattr(shared, "MOST_BYTES", 3 * frame.nbytes)
    computed, distinct = check(classifier, film)
    assert computed > distinct


def test_a_network_without_such_layers_scores_windows_alone(random_network, film):
    scorer = WindowScorer(make_classifier(random_network("slowfast_r50", width=16)))
    assert len(scorer.before) == 0
    [item] = scorer.classifier.reader("1x1").read_windows(film, window=20.0)
    assert torch.equal(scorer.scores(item), scorer.classifier.scores(item.clips))
    assert len(WindowScorer(colour_classifier(CLIP)).before) == 0  # its network is no fused one, as int8 and exported ones


@pytest.mark.parametrize("block", [*BLOCKS, *OTHERS])
def test_a_layer_mixes_frames_where_its_output_needs_other_frames(block, random_network):
    layer = fuse(random_network("smallbig_r23", stages=[block] * 4, width=16)).layers[1]
    clip = torch.randn(1, 4, 8, 8, 16)
    together = layer(clip.clone())
    alone = torch.cat([layer(frame.clone()) for frame in clip.split(1, dim=1)], 1)
    is_same = torch.allclose(together, alone, rtol=1e-4, atol=1e-4)
    assert mixes_frames(layer) == (not is_same) == (block in TEMPORAL)


@pytest.mark.parametrize(
    ("stages", "layers"), [(["2d", "2d", "tsm", "full"], 1 + 1 + 1), (["full"] * 4, 1), (["2d"] * 4, None)], ids=str
)
def test_timms_networks(stages, layers, random_network, film):
    pytest.importorskip("timm")
    classifier = make_classifier(random_network("timm/resnet10t", stages=stages))
    all_layers = len(classifier.network.layers)
    assert len(split_at_first_temporal(classifier.network)[0]) == (layers or all_layers)
    computed, distinct = check(classifier, film)
    assert computed == distinct
