"""run.py gives the scores of `smallbig predict`, without PyTorch, torchvision and this package."""

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
import torch

from smallbignet import VideoClassifier, load_config, open_video
from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import ClipSpec, Views, find_places, sample_test_clips
from smallbignet.data.transforms import InputSpec, view_crops
from smallbignet.inference.clips import covering_views
from smallbignet.weights.directory import ScoreSpec, write_config

BLOCKED = ("torch", "torchvision", "smallbignet")
WITHOUT = f"import sys, runpy; sys.modules.update(dict.fromkeys({BLOCKED})); sys.argv = sys.argv[1:]; "
WITHOUT += "runpy.run_path(sys.argv[0], run_name='__main__')"

CLIPS = {
    "dense": ClipSpec("dense", 4, 2),
    "dense, long": ClipSpec("dense", 4, 9),
    "uniform": ClipSpec("uniform", 4),
    "uniform by time": ClipSpec("uniform", 4, by_time=True),
    "dense at a rate": ClipSpec("dense", 4, 2, fps=10),
}


def runner_of(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("runner_under_test", folder / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_config(exported: Path, folder: Path, **changes) -> Path:
    """A copy of an exported directory with another config."""
    shutil.copytree(exported, folder)
    write_config(replace(load_config(folder), **changes), folder)
    return folder


@pytest.fixture(scope="module")
def uneven(tmp_path_factory) -> Path:
    """A turned video of 40 frames of 90x70, the first half of which are shown for three times as long as the others."""
    file = tmp_path_factory.mktemp("uneven") / "uneven.mkv"
    rng = np.random.default_rng(0)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 90, 70, "yuv420p"
        times = np.cumsum([0, *[3] * 20, *[1] * 19])
        for time in times:
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (70, 90, 3), dtype=np.uint8), "rgb24")
            frame.pts = int(time)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_it_prints_the_scores_of_predict_without_torch(runtime, exported, clips, uneven):
    videos = [*map(str, sorted(clips.glob("val/*/*.mp4"))[:2]), str(uneven)]
    words = [sys.executable, "-c", WITHOUT, str(exported[runtime] / "run.py"), *videos]
    result = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    answers = VideoClassifier(exported[runtime]).predict_all(videos)
    expected = [(answer.path, each.label, each.score) for answer in answers for each in answer.predictions]
    assert [(path, label) for path, label, _ in rows] == [(path, label) for path, label, _ in expected]
    np.testing.assert_allclose([float(row[2]) for row in rows], [row[2] for row in expected], atol=2e-6)


@pytest.mark.parametrize("views", ["1x1", "2x3"])
@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_the_scores_are_those_of_predict_in_every_configuration(kind, clip, views, exported, uneven, clips, tmp_path):
    changes = {"clip": CLIPS[clip], "views": views, "scores": ScoreSpec(kind, temperature=1.7)}
    folder = with_config(exported["onnx"], tmp_path / "model", **changes)
    runner = runner_of(folder)
    classifier = VideoClassifier(folder)
    for video in (uneven, min(clips.glob("val/*/*.mp4"))):
        expected = {each.label: each.score for each in classifier.predict(video)}
        scores = dict(zip(classifier.config.classes, runner.score(runner.load_network(), video), strict=True))
        assert scores == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("clip", CLIPS)
def test_it_takes_the_same_frames(clip, exported, uneven, clips, tmp_path):
    runner = runner_of(with_config(exported["onnx"], tmp_path / "model", clip=CLIPS[clip]))
    for video in (uneven, min(clips.glob("val/*/*.mp4"))):
        with open_video(video) as opened:
            places = find_places(opened, CLIPS[clip], VideoOptions())
            for count in (1, 2, 3, 10):
                views = covering_views(places.count, places.spec, Views(count))
                expected = places.frames(sample_test_clips(places.count, places.spec, views.num_clips))
                np.testing.assert_array_equal(runner.choose_frames(*runner.read_times(video), count), expected)


@pytest.mark.parametrize(("height", "width"), [(48, 48), (20, 37), (97, 60), (240, 427), (50, 49), (1, 300)])
@pytest.mark.parametrize("num_crops", [1, 3])
def test_the_pixels_are_torchvisions(height, width, num_crops, exported, tmp_path):
    spec = InputSpec(size=40, train_short_side=(48, 48), short_side=48)
    runner = runner_of(with_config(exported["onnx"], tmp_path / "model", input=spec))
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    # Frames come with the colours of a pixel side by side.
    expected = view_crops(torch.from_numpy(image).permute(2, 0, 1)[None], spec, Views(1, num_crops))[:, 0]
    np.testing.assert_array_equal(runner.crops(image, num_crops), expected)
