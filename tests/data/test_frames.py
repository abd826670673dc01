"""That a folder of frames is a video, whatever the field's name for its frames."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

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


def test_what_is_behind_a_gap_is_missing(tmp_path):
    write_frames(tmp_path, "{:05d}.jpg", range(1, 4))
    (tmp_path / "00002.jpg").unlink()
    with open_video(tmp_path) as video:
        assert (video.num_frames, video.claimed_frames) == (1, 2)


def test_folder_without_frames(tmp_path):
    with pytest.raises(VideoError, match=r"the folder has no img_00001\.jpg, 00001\.jpg or the like"):
        open_video(tmp_path)
    with pytest.raises(VideoError, match=r"the folder has no f1\.jpg \("):
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
