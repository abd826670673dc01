"""That UCF101's own lists give every video the class that its folder names."""

from __future__ import annotations

import pytest

from smallbignet.data.options import DataSource
from smallbignet.data.source import read_annotations
from smallbignet.data.split import DataSpec, read_split
from smallbignet.errors import SmallBigError

TRAIN = (
    "Archery/v_Archery_g08_c01.avi 3\nApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\n"
    "HandstandPushups/v_HandStandPushups_g08_c01.avi 2\n"
)
TEST = "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\nArchery/v_Archery_g01_c01.avi\n"
CLASSES = "1 ApplyEyeMakeup\n2 HandstandPushups\n3 Archery\n"
NAMES = ["ApplyEyeMakeup", "HandstandPushups", "Archery"]


@pytest.mark.parametrize("place", ["beside", "setting", "nowhere"])
def test_train_list(tmp_path, place):
    (tmp_path / "trainlist01.txt").write_text(TRAIN)
    (tmp_path / ("classInd.txt" if place == "beside" else "names.txt")).write_text(CLASSES)
    source = DataSource(root="UCF-101", classes=str(tmp_path / "names.txt") if place == "setting" else "")
    found = read_annotations(tmp_path / "trainlist01.txt", source)
    assert found.classes == NAMES and found.labels.tolist() == [2, 0, 1]
    assert found.paths[0] == "UCF-101/Archery/v_Archery_g08_c01.avi"


def test_test_list_has_no_labels(tmp_path):
    (tmp_path / "testlist01.txt").write_text(TEST)
    assert read_annotations(tmp_path / "testlist01.txt", classes=NAMES).labels.tolist() == [0, 2]
    (tmp_path / "classInd.txt").write_text(CLASSES)
    assert read_annotations(tmp_path / "testlist01.txt").classes == NAMES


def test_mmaction_counts_from_0(tmp_path):
    lines = TRAIN.splitlines()
    (tmp_path / "list.txt").write_text("".join(f"{line[:-1]}{int(line[-1]) - 1}\n" for line in lines))
    found = read_annotations(tmp_path / "list.txt")
    assert found.classes == ["0", "1", "2"] and found.labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Archery/v_Archery_g08_c02.avi 2", 'class "Archery" has the numbers 3 and 2'),
        ("Biking/v_Biking_g08_c02.avi 2", "two classes have the same number"),
    ],
)
@pytest.mark.parametrize("with_classes", [True, False])
def test_numbers_that_contradict(tmp_path, line, message, with_classes):
    (tmp_path / "trainlist01.txt").write_text(f"{TRAIN}{line}\n")
    if with_classes:
        (tmp_path / "classInd.txt").write_text(CLASSES)
        message = message if "Archery" in line else 'class "Biking" is not in classInd.txt'
    with pytest.raises(SmallBigError, match=message):
        read_annotations(tmp_path / "trainlist01.txt")


def test_both_lists_in_a_run(tmp_path):
    lists = {"trainlist01.txt": TRAIN, "testlist01.txt": TEST, "classInd.txt": CLASSES}
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    for line in (TRAIN + TEST).splitlines():
        video = tmp_path / "UCF-101" / line.split()[0]
        video.parent.mkdir(parents=True, exist_ok=True)
        video.touch()
    spec = DataSpec(str(tmp_path / "trainlist01.txt"), str(tmp_path / "testlist01.txt"), root=str(tmp_path / "UCF-101"))
    train, val = read_split(spec)
    assert train.classes == val.classes == NAMES
    assert (train.labels.tolist(), val.labels.tolist()) == ([2, 0, 1], [0, 2])
