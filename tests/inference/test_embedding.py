"""Feature vectors are the network's own, by a hook or by running its parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from smallbignet import WorkError, create_model, load_config, load_model
from smallbignet.data.sampling import ClipSpec
from smallbignet.data.transforms import to_input
from smallbignet.inference.classifier import VideoClassifier
from smallbignet.inference.clips import Unreadable
from smallbignet.inference.embedding import Embedder, columns, stage_means
from smallbignet.models.smallbig import stem_pool


@pytest.fixture
def paths(clips) -> list[str]:
    return [str(path) for path in sorted(clips.glob("val/*/*.mp4"))[:3]]


def test_a_videos_vector_is_what_the_classifier_gets(run, paths):
    network, config = load_model(run), load_config(run)
    seen = []
    hook = network.fc.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    reader = VideoClassifier(network, config, device="cpu").reader("3x3")
    expected = []
    with torch.inference_mode():
        for item in reader.read_all(paths):
            network(to_input(item.clips, config.input))
            expected.append(seen.pop().mean(0))
    hook.remove()
    found = list(Embedder(network, config, device="cpu").embed(reader.read_all(paths)))
    assert [item.path for item in found] == paths
    torch.testing.assert_close(torch.cat([item.vectors for item in found]), torch.stack(expected), rtol=1e-4, atol=1e-5)
    assert found[0].vectors.shape == (1, network.num_features)


@pytest.mark.parametrize(("stage", "depth"), [("res2", 1), ("res3", 2), ("res4", 3)])
def test_an_earlier_stage_is_the_mean_of_its_output(stage, depth, run, paths):
    network, config = load_model(run), load_config(run)
    embedder = Embedder(network, config, stage, device="cpu")
    [item] = embedder.reader("1x3").read(paths[0])
    with torch.inference_mode():
        x = stem_pool(network.stem(to_input(item.clips, config.input), relu=True))
        for part in [network.res2, network.res3, network.res4][:depth]:
            x = part(x)
    torch.testing.assert_close(embedder.vectors(item.clips), x.mean((2, 3, 4)), rtol=1e-4, atol=1e-5)
    assert not any(block._forward_hooks for block in network.modules())


@pytest.mark.parametrize(
    ("stage", "channels"), [("res2", 4 * 16 + 4 * 2), ("res3", 8 * 16 + 8 * 2), ("res4", 16 * 16 + 16 * 2), ("res5", 32 * 18)]
)
def test_slowfast_gives_both_pathways(stage, channels):
    network = create_model("slowfast_r50", 5, width=16).eval()
    images = torch.rand(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        means = stage_means(network, stage, images)
        assert means.shape == (2, channels)
        if stage == "res5":  # the fast pathway's mean over its own frames
            expected = network.forward_head(network.forward_features(images), pre_logits=True)
            torch.testing.assert_close(means, expected, rtol=1e-4, atol=1e-5)


def test_a_network_of_timms(run, paths):
    pytest.importorskip("timm")
    network = create_model("timm/resnet18", 6, stages=["2d", "2d", "full", "full"]).eval()
    config = replace(load_config(run), clip=ClipSpec("dense", 2, 1))
    [item] = Embedder(network, config, device="cpu").reader("1x1").read(paths[0])
    last = Embedder(network, config, device="cpu").vectors(item.clips)
    with torch.inference_mode():
        features = network.forward_features(to_input(item.clips, config.input))
    torch.testing.assert_close(last, features.mean((2, 3, 4)), rtol=1e-4, atol=1e-4)
    assert Embedder(network, config, "res4", device="cpu").vectors(item.clips).shape == (1, 256)


def test_each_window_has_a_vector(run, paths):
    network, config = load_model(run), replace(load_config(run), clip=ClipSpec("dense", 4, 1))
    embedder = Embedder(network, config, device="cpu")
    reader = embedder.reader("1x3")
    found = list(embedder.embed(item for path in paths for item in reader.read_windows(path)))
    assert [len(item.windows) for item in found] == [3, 3, 3]  # 8 frames, windows of 4, half a window apart
    [clips] = reader.read_windows(paths[1])
    expected = embedder.vectors(clips.clips).view(3, 3, -1).mean(1)
    torch.testing.assert_close(found[1].vectors, expected)
    rows = columns(found)
    assert list(rows) == ["path", "vector", "first_frame", "last_frame", "start", "end"]
    assert rows["path"].tolist() == [path for path in paths for _ in range(3)]
    assert rows["first_frame"].tolist() == [0, 2, 4] * 3 and rows["last_frame"].tolist() == [3, 5, 7] * 3
    assert rows["start"].tolist() == pytest.approx([0, 2 / 16, 4 / 16] * 3)  # 16 frames per second
    assert rows["end"].tolist() == pytest.approx([4 / 16, 6 / 16, 8 / 16] * 3)


def test_a_damaged_video_has_no_vector_and_spoils_no_other(run, paths):
    embedder = Embedder(load_model(run), load_config(run), device="cpu")
    whole = list(embedder.reader("2x1").read(paths[0]))
    begun = replace(whole[0], path="damaged.mp4", is_last=False)
    damaged, found = embedder.embed(iter([begun, Unreadable("damaged.mp4", "why"), *whole]))
    assert damaged == Unreadable("damaged.mp4", "why")
    [alone] = embedder.embed(iter(whole))
    assert torch.equal(found.vectors, alone.vectors)


def test_features_that_are_no_numbers_are_an_error(run, paths):
    network = load_model(run)
    network.stem.bn.weight.data.fill_(float("nan"))
    embedder = Embedder(network, load_config(run), "res2", device="cpu")
    with pytest.raises(WorkError, match="the network returns NaN instead of features"):
        list(embedder.embed(embedder.reader("1x1").read_all(paths)))
