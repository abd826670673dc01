"""That a folder of frames is a video, whatever the field's name for its frames."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from smallbignet.data.integrity import check_video
from smallbignet.data.source import find_files
from smallbignet.data.video import open_video
from smallbignet.errors import SmallBigError, VideoError


def write_frames(folder: Path, name: str, numbers: range) -> None:
    for i in numbers:
        Image.new("RGB", (8, 6), (i * 50, 0, 255)).save(folder / name.format(i))


def test_reads_frames_by_number(tmp_path):
    write_frames(tmp_path, "{:03d}.png", range(1, 5))
    with open_video(tmp_path, filename_tmpl="{:03d}.png") as video:
        assert (video.num_frames, video.claimed_frames, video.width, video.height) == (4, 4, 8, 6)
        frames = video.frames([3, 0, 3])
        assert [number for number, _ in video.each([3, 0, 3])] == [0, 3]
        with pytest.raises(IndexError, match="no frame 4 in the 4"):
            video.each([0, 4])
    assert frames.shape == (3, 3, 6, 8)
    assert frames[:, :, 2, 2].tolist() == [[200, 0, 255], [50, 0, 255], [200, 0, 255]]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    "name",
    ["img_{:05d}.jpg", "{:05d}.jpg", "{:06d}.jpg", "frame_{:06d}.jpg", "image_{:05d}.jpg", "frame{:06d}.jpg", "{:04d}.png"],
)
def test_the_fields_names_are_found_out(tmp_path, name, first):
    write_frames(tmp_path, name, range(first, first + 3))
    write_frames(tmp_path, "flow_x_{:05d}.jpg", range(1, 6))  # optical flow often lies beside
    with open_video(tmp_path) as video:
        assert (video.num_frames, video.claimed_frames) == (3, 3)
        assert int(video.frames([0])[0, 0, 2, 2]) == pytest.approx(first * 50, abs=3)  # JPEG


# frames' names -> their numbers in the order in which they are read
@pytest.mark.parametrize(
    ("names", "order"),
    [
        ([f"{i}.jpg" for i in range(1, 12)], range(1, 12)),  # 10 after 9, not after 1
        ([f"img_{i}.png" for i in (8, 9, 10, 11)], [8, 9, 10, 11]),
        ([f"IMG_{i:04d}.JPG" for i in (1, 2)], [1, 2]),
        ([f"frame{i:03d}.webp" for i in (0, 1, 2)], [0, 1, 2]),
        ([f"frame-{i}.bmp" for i in (3, 4)], [3, 4]),
        ([f"image {i:02d}.tif" for i in (98, 99, 100)], [98, 99, 100]),  # more digits than the zeros make room for
        (["img_1.jpg", "IMG_2.JPG", "img_3.jpeg", "img_4.png"], [1, 2, 3, 4]),  # a part was converted
        ([f"{i:05d}.jpg" for i in (5, 10, 15, 20)], [5, 10, 15, 20]),  # every fifth frame was kept
        (["7.jpg"], [7]),
    ],
)
def test_frames_are_read_in_the_order_of_their_numbers(names, order, tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for name, number in zip(names, order, strict=True):
        Image.new("RGB", (8, 6), (2 * number, 0, 0)).save(folder / name)
    with open_video(folder) as video:
        assert (video.num_frames, video.claimed_frames, video.missing_frames()) == (len(names), len(names), "")
        reds = video.frames(range(len(names)))[:, 0, 2, 2].tolist()
    assert reds == pytest.approx([2 * number for number in order], abs=4)  # JPEG
    assert find_files([str(tmp_path)]) == [str(folder)] == find_files([str(folder)])
    assert check_video(str(folder)).status == "ok"


@pytest.mark.parametrize(
    ("numbers", "gaps"),
    [
        ([i for i in range(1, 101) if i != 5], "5"),
        ([i for i in range(1, 101) if i != 2], "2"),
        ([1, 3], "2"),
        ([3, 4, 9, 10, 12], "5 to 8, 11"),
        ([0, 2, 4, 6, 10], "1, 3, 5, 7 to 9"),  # every second, but not to the end
        ([0, 1, 10, 20, 30, 40, 50], "2 to 9, 11 to 19, 21 to 29, 31 to 39, 41 to 49"),
        ([*range(0, 12, 2), 13], "1, 3, 5, 7, 9, ..."),
        ([0, 1, 10**30], f"2 to {10**30 - 1}"),
    ],
)
def test_the_frames_around_a_gap_are_read_and_check_names_it(numbers, gaps, tmp_path):
    for i in numbers:
        Image.new("RGB", (8, 6), (2 * min(i, 99), 0, 0)).save(tmp_path / f"img_{i:05d}.png")
    with open_video(tmp_path) as video:
        assert video.frames(range(len(numbers)))[:, 0, 2, 2].tolist() == [2 * min(i, 99) for i in numbers]
    report = check_video(str(tmp_path))
    promised = numbers[-1] - numbers[0] + 1
    what = f"{len(numbers)} of {promised} frames can be read without damage; there is no image {gaps}"
    assert (report.status, report.reason) == ("damaged", what)


@pytest.mark.parametrize(
    ("one", "other", "template"),
    [
        ("img_00001.jpg", "00001.jpg", "img_{:05d}.jpg"),
        ("00001.jpg", "1.jpg", "{:05d}.jpg"),
        ("1.jpg", "00001.jpg", "{}.jpg"),
        ("img_00001.png", "img_00001.jpg", "img_{:05d}.png"),
        ("frame1.jpg", "frame_2.jpg", "frame{:d}.jpg"),
        ("img_9.jpg", "IMG_09.JPG", "img_{}.jpg"),
    ],
)
def test_two_numberings_in_a_folder_are_told_apart_by_a_template(one, other, template, tmp_path):
    for name in (one, other):
        Image.new("RGB", (8, 6), (200 if name == one else 0, 0, 0)).save(tmp_path / name)
    with pytest.raises(VideoError, match=r"has two numberings of frames, such as .* and .*data\.filename_tmpl"):
        open_video(tmp_path)
    with open_video(tmp_path, filename_tmpl=template) as video:
        assert video.num_frames == 1 and int(video.frames([0])[0, 0, 2, 2]) == pytest.approx(200, abs=3)


def test_a_template_in_other_capitals(tmp_path):
    write_frames(tmp_path, "Shot{:02d}_L.JPG", range(98, 102))
    write_frames(tmp_path, "Shot{:02d}_R.JPG", range(1, 3))
    with open_video(tmp_path, filename_tmpl="shot{:02d}_l.jpg") as video:
        assert (video.num_frames, video.claimed_frames) == (4, 4)


def test_folder_without_frames(tmp_path):
    with pytest.raises(VideoError, match=r"the folder has no frames such as img_00001\.jpg or 7\.png; data\.filename_tmpl"):
        open_video(tmp_path)
    with pytest.raises(VideoError, match=r"the folder has no frames named f\{\}\.jpg \("):
        open_video(tmp_path, filename_tmpl="f{}.jpg")


@pytest.mark.parametrize("template", ["img_%05d.jpg", "{:05d", "{}_{:05d}.jpg", "{name}.jpg"])
def test_a_template_without_a_number_is_a_mistake(tmp_path, template):
    with pytest.raises(SmallBigError, match=r"a frame's name has its number in it"):
        open_video(tmp_path, filename_tmpl=template)


def test_damaged_image(tmp_path):
    write_frames(tmp_path, "img_{:05d}.jpg", range(1, 3))
    (tmp_path / "img_00002.jpg").write_bytes(b"not an image")
    with open_video(tmp_path) as video, pytest.raises(VideoError, match=r"img_00002\.jpg is not a readable image"):
        video.frames([0, 1])
