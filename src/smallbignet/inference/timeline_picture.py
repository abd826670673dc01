"""A picture of a whole video: a strip of its frames, its segments, and the scores of the classes over its time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torchvision.transforms.v2 import functional as TF

from smallbignet.data.frames import Video
from smallbignet.data.options import VideoOptions
from smallbignet.errors import VideoError
from smallbignet.inference.timeline import Timeline
from smallbignet.utils import plots
from smallbignet.utils.checks import Must, is_file
from smallbignet.utils.files import writing

PICTURES, SIDE = 12, 100  # number of frames in the strip, and their side in pixels
PictureFile = Annotated[
    str,
    Must("a file that ends in .png and can be written", lambda file: not file or (file.endswith(".png") and is_file(file))),
]


def draw_timeline(timeline: Timeline, classes: Sequence[str], file: str, options: VideoOptions = VideoOptions()) -> None:
    """Draws the timeline of a video as a .png file.

    Raises:
        VideoError: the video can't be opened any more.
    """
    assert timeline.curve is not None, timeline.error
    with options.open(timeline.path) as video:
        pictures = thumbnails(video, timeline.curve.seconds[-1])
    segments = [(segment.label, segment.start, segment.end) for segment in timeline.segments]
    with writing(Path(file)):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        plots.bands(pictures, timeline.curve.seconds, timeline.curve.scores, classes, segments, Path(file))


def thumbnails(video: Video, duration: float) -> np.ndarray:
    """Returns squares from the middle of the frames that are shown in the middle of equal parts of the time.

    Args:
        duration: seconds of the video.

    Returns:
        uint8 (PICTURES, SIDE, SIDE, 3); grey for a frame that is damaged.
    """
    middles = (np.arange(PICTURES) + 0.5) * duration / PICTURES
    frames = np.searchsorted(video.times, middles, side="right") - 1
    pictures = torch.full((PICTURES, 3, SIDE, SIDE), 128, dtype=torch.uint8)
    for picture, frame in zip(pictures, frames, strict=True):
        with suppress(VideoError):
            picture[:] = TF.center_crop(TF.resize(video.frames([frame])[0], [SIDE], antialias=True), [SIDE, SIDE])
    return pictures.permute(0, 2, 3, 1).numpy()
