"""Colours say what they should: red above zero, blue below, one scale; bright where the maxima came from."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch
from PIL import Image

from smallbignet.explain.big_views import BigView
from smallbignet.explain.clip import SampledClip
from smallbignet.explain.contributions import Contributions
from smallbignet.explain.drawing import draw_contributions, draw_overlay, full_colour, heat, light, tint

GREY = np.full((8, 8, 3), 128, np.uint8)


def make_sampled(frames: int = 8, side: int = 48) -> SampledClip:
    pixels = torch.randint(0, 256, (frames, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return SampledClip("a.mp4", pixels, 3 * np.arange(frames), 0.12 * np.arange(frames))


def test_red_above_zero_and_blue_below():
    image = tint(GREY, np.array([[1.0, -1.0], [0.0, 0.5]]), 1.0).astype(int)
    red, blue, none, half = image[0, 0], image[0, 7], image[7, 0], image[7, 7]
    assert red[0] > red[2] + 50 and blue[2] > blue[0] + 50
    assert none.tolist() == [128] * 3
    assert 0 < half[0] - half[2] < red[0] - red[2] + 50  # half the contribution is paler
    assert (image[:4, :4] == red).all()  # a place is a square of one colour


def test_the_largest_contribution_of_any_frame_and_pathway_has_the_full_colour():
    slow, fast = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    slow[0, 0, 0], fast[0, 0, 0], fast[1, 1, 1] = -5, 4, 2
    assert full_colour(Contributions({"slow": slow, "fast": fast}, 0, 0)) == 5  # the sum is -1 and 2
    assert full_colour(Contributions({"map": np.zeros((1, 1, 1))}, 0, 0)) == 1  # nothing is divided by 0


def test_light_and_heat():
    lit = light(GREY, np.array([[0.5, 0.25], [0.0, 0.0]]), 0.5)
    assert [lit[0, 0, 0], lit[0, 7, 0], lit[7, 0, 0]] == [128, 80, 32]  # 100, 62.5 and 25 % of 128
    warm = heat(GREY, np.array([[0.0, 1.0], [2.0, 9.0]]), 0, 2).astype(int).sum(2)
    assert warm[0, 0] < warm[0, 7] < warm[7, 0] == warm[7, 7]  # values beyond the scale have its last colour


@pytest.mark.parametrize(("frames", "places"), [(8, 8), (16, 4), (12, 12)])
def test_pictures_of_any_length(frames, places, tmp_path):
    clip = make_sampled(frames)
    part = np.random.default_rng(0).normal(size=(places, 2, 2))
    names = ["slow", "fast"] if frames != places else ["map"]
    draw_contributions(clip, Contributions({name: part for name in names}, 0.1, 0.2), "a $ b $ <c>", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 500 and image.height > 200


def test_the_overlay_is_h264_with_each_frame_beside_its_map(tmp_path):
    clip = make_sampled(8)
    values = np.zeros((8, 2, 2))
    values[4, 1, 1] = 1
    draw_overlay(clip, Contributions({"map": values}, 0, 1), tmp_path / "overlay.mp4")
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.average_rate == 4
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(stream)]
    assert len(frames) == 8 and frames[0].shape == (240, 480, 3)  # 48 pixels, enlarged five times
    redness = [(frame[150:, 390:, 0] - frame[150:, 390:, 2]).mean() for frame in frames]
    assert np.argmax(redness) == 4 and redness[4] > 50 and max(np.delete(redness, 4)) < 20


def test_a_view_of_the_whole_clip_is_drawn_without_boxes(tmp_path):
    from smallbignet.explain.drawing import draw_big_view

    origins = np.arange(6).reshape(6, 1, 1, 1)
    view = BigView("extra", "clip", (8, 2, 2), (8, 2, 2), origins, np.ones((6, 1, 1, 1), bool))
    draw_big_view(make_sampled(8), view, (0, 0, 0), "title", tmp_path / "view.png")
    with Image.open(tmp_path / "view.png") as image:
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert not (colours == (255, 214, 10)).all(1).any()  # yellow
    assert (colours == (255, 59, 48)).all(1).any()  # red: the most frequent position, and the key frames
