"""The multi-view test: its numbers by hand, its files, and the same on two processes as on one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from smallbignet import SmallBigError, VideoClassifier, WorkError, open_video
from smallbignet.cli import explain, main
from smallbignet.commands.evaluate import evaluate, show
from smallbignet.data.frames import Unreadable
from smallbignet.data.sampling import Views, sample_test_clips
from smallbignet.inference.clips import read_views
from smallbignet.inference.evaluation import Evaluation, write_report
from smallbignet.inference.scores import save_scores
from smallbignet.weights.directory import ScoreSpec


@pytest.fixture(scope="module")
def result(run, clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    return evaluate(
        str(run), str(clips), views="2x3", scores=str(folder / "s.npz"), report=str(folder / "r"), workers=0
    ), folder


def test_scores_are_the_mean_softmax_over_all_views(result, run):
    evaluation, _ = result
    classifier = VideoClassifier(run)
    with open_video(evaluation.videos[3]) as video:
        indices = sample_test_clips(video.num_frames, classifier.config.clip, 2)
        clips = read_views(video, indices, classifier.config.input, Views(2, 3))
    assert clips.shape == (6, 4, 32, 32, 3)
    one_by_one = np.concatenate([classifier.scores(clip[None]).numpy() for clip in clips])
    powers = one_by_one.mean(0) ** (1 / classifier.config.scores.temperature)
    np.testing.assert_allclose(evaluation.scores[3], powers / powers.sum(), atol=1e-6)
    np.testing.assert_allclose(evaluation.scores.sum(1), 1, atol=1e-5)


def test_figures_by_hand():
    scores = np.array([[0.6, 0.3, 0.1], [0.4, 0.5, 0.1], [0.1, 0.7, 0.2], [0.3, 0.4, 0.3]], np.float32)
    evaluation = Evaluation(
        np.array(list("abcd")), np.array([0, 0, 0, 1]), scores, ["x", "y", "z"], [Unreadable("e", "why")], "1x1"
    )
    figures = evaluation.report()
    assert (figures["top1"], figures["top5"]) == (0.5, 1.0)
    assert figures["mean_class_accuracy"] == pytest.approx((1 / 3 + 1) / 2)  # of the classes that have videos
    assert figures["confusion"] == [[1, 2, 0], [0, 1, 0], [0, 0, 0]]
    assert figures["macro_f1"] == pytest.approx((2 / (2 + 2) + 2 / (2 + 2)) / 2)  # of x and y: nothing is z, or is called so
    assert figures["top1_interval"] == pytest.approx((0.15, 0.85), abs=1e-3)  # Wilson's, of 2 of 4
    assert figures["answered"] is None and figures["comparison"] is None
    assert evaluation.accuracy(2) == 0.75
    equal = Evaluation(np.array(["a"]), np.array([0]), np.full((1, 6), 1 / 6, np.float32), list("uvwxyz"), [], "1x1")
    assert equal.accuracy() == 1.0 and equal.confusion()[0, 0] == 1  # of equal scores, the first
    thirds = Evaluation(np.array(list("abc")), np.array([0, 1, 0]), scores[:3], ["x", "y", "z"], [], "1x1")
    assert thirds.accuracy() == 2 / 3  # in float64
    assert "top-5" not in show(thirds).columns[0].cells  # of 3 classes, it says nothing
    assert figures["videos"] == 4 and figures["unreadable"] == [{"path": "e", "reason": "why"}]


def test_answers_below_their_class_threshold_are_unknown():
    scores = np.array([[0.6, 0.4], [0.8, 0.2], [0.3, 0.7], [0.45, 0.55]], np.float32)
    labels = np.array([1, 0, 1, 1])
    for thresholds, share, precision in (([0.65], 0.5, 1.0), ([0.5, 0.6], 0.75, 2 / 3), ([1.0], 0.0, None)):
        spec = ScoreSpec(thresholds=thresholds)
        answered = Evaluation(np.array(list("abcd")), labels, scores, ["x", "y"], [], "1x1", spec).answered()
        assert answered == {"share": share, "precision": pytest.approx(precision) if precision else None}


def test_two_models_on_the_same_videos(result, run, clips, tmp_path, capsys):
    _, folder = result
    same = evaluate(str(run), str(clips), views="2x3", against=str(folder / "s.npz"), workers=0).comparison
    assert (same.top1, same.p_value) == (evaluate(str(run), str(clips), views="2x3", workers=0).accuracy(), 1.0)
    assert main(["evaluate", str(run), str(clips), "--against", str(run / "last"), "--workers", "0", "--json"]) == 0
    comparison = json.loads(capsys.readouterr().out)["comparison"]
    assert comparison["name"] == str(run / "last") and 0 < comparison["p_value"] <= 1
    half = tmp_path / "half.csv"
    half.write_text("path,label\n" + "".join(f"{path},{path.parent.name}\n" for path in sorted(clips.glob("val/*/*.mp4"))[:3]))
    with pytest.raises(SmallBigError, match="no scores of"):
        evaluate(str(run), str(half), views="2x3", against=str(folder / "s.npz"), workers=0)


def test_files(result):
    evaluation, folder = result
    page = (folder / "r" / "index.html").read_text()
    assert page.count("<video") == page.count("data:video/mp4") > 0
    with np.load(folder / "s.npz", allow_pickle=False) as kept:
        assert kept["videos"].tolist() == evaluation.videos.tolist()
        np.testing.assert_array_equal(kept["scores"], evaluation.scores)
    assert json.loads((folder / "r/report.json").read_text())["top1"] == evaluation.accuracy()
    assert (folder / "r/confusion.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "r/confusion.csv").read_text().splitlines()[0].startswith("label,colour")


def test_many_classes_still_make_a_picture(tmp_path):
    scores = np.eye(174, dtype=np.float32)
    names = [f"Moving something and something {i}" for i in range(174)]
    write_report(Evaluation(np.array(names), np.arange(174), scores, names, [], "1x1"), tmp_path)
    assert (tmp_path / "confusion.png").exists()


def test_two_processes_give_the_same_numbers_as_one(run, clips, tmp_path):
    videos = sorted(clips.glob("val/*/*.mp4"))
    copies = [Path(shutil.copy(video, tmp_path / f"{video.parent.name}.mp4")) for video in videos[:4]]
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"")
    rows = [f"{path},{path.parent.name}" for path in videos] + [f"{path},{path.stem}" for path in copies]
    rows.append(f"{bad},still")  # 11: one process has more
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    words = ["evaluate", str(run), str(tmp_path / "list.csv"), "--views", "4x1", "--json", "--device", "cpu", "--workers", "0"]
    one = [sys.executable, "-m", "smallbignet", *words]
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "smallbignet", *words]
    answers = []
    for command in (one, two):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    assert answers[0] == answers[1]
    assert answers[0]["videos"] == 10 and len(answers[0]["unreadable"]) == 1


def test_unknown_classes_and_no_readable_video(run, tmp_path):
    (tmp_path / "a.csv").write_text("path,label\nx.mp4,juggling\n")
    with pytest.raises(SmallBigError, match='"juggling"'):
        evaluate(str(run), str(tmp_path / "a.csv"), workers=0)
    (tmp_path / "b.csv").write_text("path,label\nx.mp4,still\n")
    with pytest.raises(SmallBigError, match=r"none of its 1 videos is on disk.*x\.mp4; root names"):
        evaluate(str(run), str(tmp_path / "b.csv"), workers=0)
    (tmp_path / "x.mp4").touch()
    with pytest.raises(WorkError, match=r"none of the 1 videos.*x\.mp4"):
        evaluate(str(run), str(tmp_path / "b.csv"), workers=0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_leaves_the_scores_file_as_it_was(result, tmp_path):
    file = tmp_path / "scores.npz"
    save_scores(result[0], str(file))
    before = file.read_bytes()
    (tmp_path / "scores.npz.new").symlink_to("/dev/full")
    with pytest.raises(OSError) as error:
        save_scores(result[0], str(file))
    assert explain(error.value).endswith(f"({file})")
    assert file.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["scores.npz"]
