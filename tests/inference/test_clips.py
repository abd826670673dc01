"""The one road from a path to views: the right pixels, a bounded memory, and the same scores whoever asks."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from smallbignet import VideoClassifier, load_config, load_model, open_video, save_model
from smallbignet.commands.evaluate import evaluate
from smallbignet.data.loader import make_loader
from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import ClipSpec, Views
from smallbignet.data.source import read_annotations
from smallbignet.data.synthetic import write_video
from smallbignet.data.transforms import InputSpec
from smallbignet.inference import clips as road
from smallbignet.inference.clips import CLIPS_AT_ONCE, ClipReader, Unreadable, VideoClips, ahead, covering_views

CLIP, SIZES = ClipSpec("dense", 4, 2), InputSpec(16, (18, 24), 16)


def draw(seed: int, num_frames: int = 12, height: int = 24, width: int = 40) -> np.ndarray:
    """Random blocks, another pattern in each frame."""
    blocks = np.random.default_rng(seed).integers(0, 256, (num_frames, height // 8, width // 8, 3), dtype=np.uint8)
    return blocks.repeat(8, 1).repeat(8, 2)


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[str]:
    """Three videos, the second unreadable."""
    folder = tmp_path_factory.mktemp("videos")
    for i in (0, 2):
        write_video(folder / f"{i}.mp4", draw(i))
    (folder / "1.mp4").write_bytes(b"this is no video " * 100)
    return [str(folder / f"{i}.mp4") for i in range(3)]


def test_views_come_clip_by_clip_and_crop_by_crop(paths, monkeypatch):
    reads = []

    def count(self, path):
        video = open_video(path)
        each = video.each
        monkeypatch.setattr(video, "each", lambda indices: (reads.append(read[0]) or read for read in each(indices)))
        return video

    monkeypatch.setattr(VideoOptions, "open", count)
    sizes = InputSpec(16, (24, 24), 24)  # the videos' own height: nothing is scaled
    [item] = ClipReader(CLIP, sizes, Views(3, 3)).read(paths[2])
    # 12 frames, 4x2 clips: from 0, 2 and 4, which share frames; 40 columns, crops of 24: from 0, 8 and 16
    assert reads == [0, 2, 4, 6, 8, 10]  # each frame once, forwards
    with open_video(paths[2]) as video:
        frames = video.frames(range(12)).permute(0, 2, 3, 1)
    expected = [frames[start : start + 8 : 2, :, left : left + 24] for start in (0, 2, 4) for left in (0, 8, 16)]
    assert torch.equal(item.clips, torch.stack(expected))
    assert item.clips.is_contiguous(), "colours side by side"
    assert (item.path, item.is_last) == (paths[2], True)


def test_a_frame_folder_gives_the_clips_of_its_frames(tmp_path):
    frames = draw(0)
    for i, frame in enumerate(frames, 1):
        Image.fromarray(frame).save(tmp_path / f"{i:03d}.png")
    options = VideoOptions(filename_tmpl="{:03d}.png")
    [item] = ClipReader(CLIP, InputSpec(24, (24, 24), 24), Views(1, 1), options=options).read(str(tmp_path))
    assert torch.equal(item.clips[0], torch.from_numpy(frames[2:10:2, :, 8:32]))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_video_that_can_not_be_read_has_its_reason_in_its_place(paths, workers):
    reader = ClipReader(CLIP, SIZES, Views(2, 1))
    (first, bad, last), (again,) = make_loader(reader.read_batch, [paths, paths[1:2]], workers)
    assert [type(item) for item in (first, bad, last)] == [VideoClips, Unreadable, VideoClips]
    assert [item.path for item in (first, bad, last)] == paths
    assert first.clips.shape == last.clips.shape == (2, 4, 16, 16, 3)
    assert "FFmpeg can't open it" in bad.reason and again == bad


def test_a_long_video_comes_in_portions(tmp_path):
    write_video(tmp_path / "long.mp4", draw(0, num_frames=200))
    reader = ClipReader(ClipSpec("dense", 4, 1), SIZES, Views(2, 3), covering=True)
    items = list(reader.read(str(tmp_path / "long.mp4")))
    assert [len(item.clips) for item in items] == [3 * CLIPS_AT_ONCE] * 3 + [3 * 2]  # 200 frames / 4
    assert [item.is_last for item in items] == [False, False, False, True]


def test_a_video_damaged_in_its_middle_is_unreadable_as_a_whole(run, paths, monkeypatch):
    """What was scored of it so far must not count for the next video."""
    monkeypatch.setattr(road, "CLIPS_AT_ONCE", 1)
    classifier = VideoClassifier(run)
    reader = classifier.reader("3x1")
    whole = list(reader.read(paths[0]))
    broken = [*whole[:2], Unreadable(paths[0], "damaged")]
    alone = list(classifier.score_videos([whole]))
    results = list(classifier.score_videos([[item] for item in [*broken, *whole]]))
    assert results[0] == Unreadable(paths[0], "damaged")
    assert torch.allclose(results[1].scores, alone[0].scores, atol=1e-6) and len(results) == 2


@pytest.mark.parametrize(("num_frames", "views"), [(10, "2x1"), (128, "2x1"), (129, "3x1"), (6400, "100x1")])
def test_a_long_video_is_covered_without_gaps(num_frames, views):
    assert str(covering_views(num_frames, ClipSpec("dense", 8, 8), Views(2, 1))) == views


def test_the_next_is_made_while_one_is_used():
    made = []

    def items():
        for i in range(4):
            made.append(i)
            yield i
        raise ValueError("no more")

    taken = ahead(items())
    assert next(taken) == 0
    for _ in range(100):  # the thread's next item
        time.sleep(0.01)
        if len(made) > 1:
            break
    assert made == [0, 1]
    with pytest.raises(ValueError, match="no more"):
        list(taken)


@pytest.mark.parametrize("views", ["1x1", "2x3"])
@pytest.mark.parametrize("clip", [ClipSpec("dense", 4, 1), ClipSpec("uniform", 4)], ids=["dense", "uniform"])
def test_predict_and_evaluate_give_a_video_the_same_scores(run, clips, tmp_path, views, clip, monkeypatch):
    """The same clips, bit for bit; scores as far as a network gives a clip the same in batches of other sizes."""
    save_model(load_model(run), replace(load_config(run), clip=clip), tmp_path / "model")
    shown: list[torch.Tensor] = []
    scores = VideoClassifier.scores
    monkeypatch.setattr(VideoClassifier, "scores", lambda self, clips: shown.append(clips) or scores(self, clips))
    result = evaluate(str(tmp_path / "model"), str(clips), views=views, workers=0, device="cpu")
    evaluated, shown[:] = torch.cat(shown), []
    answers = list(VideoClassifier(tmp_path / "model", device="cpu").predict_all(result.videos, top=6, views=views))
    assert torch.equal(torch.cat(shown), evaluated)
    assert len(answers) == len(read_annotations(clips / "val")) == 6
    for answer, expected in zip(answers, result.scores, strict=True):
        predicted = {prediction.label: prediction.score for prediction in answer.predictions}
        np.testing.assert_allclose([predicted[name] for name in result.classes], expected, rtol=1e-6)
