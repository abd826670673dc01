"""Score fusion: by hand, whatever the order of the videos; and what is refused."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
import torch

from smallbignet import SmallBigError
from smallbignet.cli import main
from smallbignet.commands.ensemble import ensemble
from smallbignet.inference import scores as scores_file
from smallbignet.inference.evaluation import Evaluation
from smallbignet.inference.scores import load_scores, save_scores

VIDEOS, LABELS, CLASSES = ["v/a.mp4", "v/b.mp4", "v/c.mp4"], [0, 1, 2], ["x", "y", "z"]
ONE = [[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.6, 0.3]]  # a right
TWO = [[0.4, 0.5, 0.1], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3]]  # b right


@pytest.fixture
def write(tmp_path):
    """Writes a scores file; answers its name."""

    def save(name, scores, videos=VIDEOS, labels=LABELS, classes=CLASSES) -> str:
        file = str(tmp_path / name)
        save_scores(Evaluation(np.array(videos), np.array(labels), np.array(scores, np.float32), classes, [], "1x1"), file)
        return file

    return save


@pytest.mark.parametrize(
    ("weights", "shares", "top1"), [("", (0.5, 0.5), 2 / 3), ("9,1", (0.9, 0.1), 1 / 3), ("0,2", (0, 1), 1 / 3)]
)
def test_the_mean_by_hand_whatever_the_order(write, tmp_path, weights, shares, top1):
    shuffled = [2, 0, 1]
    two = write("2.npz", *([values[i] for i in shuffled] for values in (TWO, VIDEOS, LABELS)))
    fused = ensemble([write("1.npz", ONE), two], weights=weights, scores=str(tmp_path / "both.npz"))
    np.testing.assert_allclose(fused.result.scores, shares[0] * np.array(ONE) + shares[1] * np.array(TWO), atol=1e-6)
    figures = fused.report()
    assert figures["top1"] == pytest.approx(top1)
    assert [member["top1"] for member in figures["members"]] == pytest.approx([1 / 3, 1 / 3])
    assert [member["weight"] for member in figures["members"]] == pytest.approx(shares)
    with np.load(tmp_path / "both.npz", allow_pickle=False) as kept:
        assert kept["videos"].tolist() == VIDEOS and kept["classes"].tolist() == CLASSES
        np.testing.assert_array_equal(kept["scores"], fused.result.scores)


def test_a_list_that_names_a_video_twice(write):
    videos, labels = ["a", "a", "b"], [0, 1, 2]
    one, two = write("1.npz", ONE, videos, labels), write("2.npz", TWO[::-1], videos[::-1], labels[::-1])
    np.testing.assert_allclose(ensemble([one, two]).result.scores, (np.array(ONE) + np.array(TWO)) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"videos": ["v/a.mp4", "v/d.mp4", "v/c.mp4"]}, r"no scores of v/b\.mp4, which .*1\.npz has \(.*2\.npz\)"),
        ({"scores": TWO[:2], "videos": VIDEOS[:2], "labels": LABELS[:2]}, r"no scores of v/c\.mp4, which .*1\.npz has \("),
        (
            {"scores": [*TWO, TWO[0]], "videos": [*VIDEOS, "e"], "labels": [0, 1, 2, 0]},
            r"no scores of e, which .*2\.npz has \(.*1\.npz",
        ),
        (
            {"videos": ["w/a.mp4", "w/b.mp4", "w/c.mp4"]},
            r"no scores of v/a\.mp4, .*same in other folders: evaluate both on one list",
        ),
        ({"labels": [0, 2, 2]}, r'label of v/b\.mp4 is "z", in .*1\.npz it is "y"'),
        ({"classes": ["x", "z", "y"]}, r'its class 1 is "z", in .*1\.npz it is "y"'),
        ({"scores": np.full((3, 4), 0.25), "classes": list("xyzw")}, r"4 classes, and .*1\.npz has 3"),
    ],
)
def test_scores_of_other_videos_labels_or_classes_are_refused(write, other, message):
    with pytest.raises(SmallBigError, match=message) as refusal:
        ensemble([write("1.npz", ONE), write("2.npz", **{"scores": TWO, **other})])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("weights", ["1", "1,2,3", "1,-1", "0,0", "a,b", "1,nan", "1,inf", "1e308,1e308", ","])
def test_weights_that_make_no_sense(write, weights):
    with pytest.raises(SmallBigError, match="weights are 2 numbers"):
        ensemble([write("1.npz", ONE), write("2.npz", TWO)], weights=weights)


def test_files_that_hold_no_scores(write, tmp_path):
    one = write("1.npz", ONE)
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    np.savez(tmp_path / "objects.npz", videos=np.array([{}], object), labels=[0], scores=[[1]], classes=["x"])
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "text.npz").write_text(json.dumps([]))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "1.npz").read_bytes()[:300])
    (tmp_path / "empty.npz").touch()
    for name in ("other.npz", "objects.npz", "array.npy", "text.npz", "cut.npz", "empty.npz"):
        with pytest.raises(SmallBigError, match=rf"no scores file.*{name}"):
            ensemble([one, str(tmp_path / name)])
    with pytest.raises(SmallBigError, match=r"no such file.*gone\.npz"):
        ensemble([one, str(tmp_path / "gone.npz")])
    with pytest.raises(SmallBigError, match="don't fit"):
        ensemble([one, write("odd.npz", ONE, labels=[0, 1, 3])])
    with pytest.raises(SmallBigError, match="at least two scores files"):
        ensemble([one])
    before = (tmp_path / "1.npz").read_bytes()
    with pytest.raises(SmallBigError, match="not one of those"):
        ensemble([one, one], scores=one)
    assert (tmp_path / "1.npz").read_bytes() == before


def with_first(score: float, row: list[float]) -> list[list[float]]:
    return [[score, *row], *ONE[1:]]


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (with_first(float("nan"), [0.5, 0.5]), "the scores of v/a.mp4 are NaN or infinity"),
        ([*ONE[:2], [float("inf"), 0, 0]], "the scores of v/c.mp4 are NaN or infinity"),
        (
            np.log(ONE),
            "the scores of v/a.mp4 are no probabilities that sum to 1; only softmax scores can be averaged, not logits",
        ),
        (with_first(2.0, [-1.0, 0.0]), "the scores of v/a.mp4 are no probabilities"),
        ([*ONE[:1], [0.9, 0.9, 0.9], ONE[2]], "the scores of v/b.mp4 are no probabilities"),
        (np.zeros((3, 3)), "the scores of v/a.mp4 are no probabilities"),
        (np.full((3, 3), 1e30), "the scores of v/a.mp4 are no probabilities"),
    ],
)
def test_scores_that_are_no_probabilities_are_refused(write, scores, words, capsys):
    files = [write("1.npz", ONE), write("2.npz", scores)]
    assert main(["ensemble", *files, "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"smallbig: error: {words}") and err.count("\n") == 1 and "2.npz" in err


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_softmax_of_any_precision_is_read(tmp_path, write, dtype):
    """400 classes in bfloat16, whose sum is off by up to 0.4 %, and in half precision."""
    logits = torch.randn(3, 400, generator=torch.Generator().manual_seed(0))
    scores = logits.bfloat16().softmax(1).float().numpy().astype(dtype)
    file = tmp_path / "half.npz"
    np.savez(
        file, videos=np.array(VIDEOS), labels=np.array(LABELS, np.uint8), scores=scores, classes=list(map(str, range(400)))
    )
    assert load_scores(str(file)).scores.dtype == np.float32


@pytest.mark.parametrize(
    "arrays",
    [
        {"scores": np.array(ONE, complex)},
        {"scores": np.array(ONE).astype(str)},
        {"scores": np.array(ONE) > 0.5},
        {"scores": np.array(ONE).ravel()},
        {"labels": np.array([0.0, 1.0, 2.0])},
        {"labels": np.array([0, 1, -1])},
        {"labels": np.array(0)},
        {"videos": np.array([1, 2, 3])},
        {"videos": np.array([VIDEOS])},
        {"classes": np.array([0, 1, 2])},
        {"videos": np.array([], str), "labels": np.array([], int), "scores": np.zeros((0, 3))},
    ],
    ids=range(11),
)
def test_arrays_of_other_kinds_are_refused(tmp_path, arrays):
    right = {"videos": np.array(VIDEOS), "labels": np.array(LABELS), "scores": np.array(ONE), "classes": np.array(CLASSES)}
    np.savez(tmp_path / "a.npz", **(right | arrays))
    with pytest.raises(SmallBigError, match=r"must be lists of texts|don't fit each other"):
        load_scores(str(tmp_path / "a.npz"))


def test_files_that_lie_about_their_size(write, tmp_path, monkeypatch):
    """Arrays that are larger than is read, which a compressed file doesn't show; and a header that promises a petabyte."""
    with monkeypatch.context() as patch:
        patch.setattr(scores_file, "MOST_BYTES", 500)
        with pytest.raises(SmallBigError, match=r"its arrays take \d{3} bytes, and 500 are read at most"):
            load_scores(write("1.npz", ONE))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**24, 2**24)})
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive:
        for name in ("videos", "labels", "scores", "classes"):
            archive.writestr(f"{name}.npy", header.getvalue())
    with pytest.raises(SmallBigError, match="no scores file"):
        load_scores(str(tmp_path / "lie.npz"))


@pytest.mark.parametrize("target", ["", "fused.npy", "1.npz/fused.npz", "folder.npz"])
def test_where_the_scores_go_is_checked_first(write, tmp_path, target):
    (tmp_path / "folder.npz").mkdir()
    files = [write("1.npz", ONE), write("2.npz", TWO)]
    if not target:
        assert ensemble(files, scores=target).result.scores.shape == (3, 3)
        return
    with pytest.raises(SmallBigError, match=r"scores must be a file that ends in \.npz and can be written, not "):
        ensemble(files, scores=str(tmp_path / target))
