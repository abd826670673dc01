"""The page of a test: figures, what is confused with what, and the videos that were answered wrongly or hardly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smallbignet.data.options import VideoOptions
from smallbignet.data.sampling import ClipSpec, Views
from smallbignet.inference.calibration import reliability
from smallbignet.inference.evaluation import Evaluation
from smallbignet.report.excerpts import excerpt
from smallbignet.report.page import write_page
from smallbignet.weights.directory import ModelConfig

SHOWN = 12  # videos of each kind


@dataclass(frozen=True)
class Shown:
    """A video on the page.

    Attributes:
        path: as the data set gives it.
        label: its class.
        best: the classes with the highest scores, and the scores.
        video: a short excerpt as a data: address; empty if there is none.
    """

    path: str
    label: str
    best: list[tuple[str, float]]
    video: str


def write_evaluation_page(
    file: Path,
    result: Evaluation,
    config: ModelConfig,
    name: str,
    options: VideoOptions = VideoOptions(),
    metrics: Sequence[dict] = (),
    settings: str = "",
) -> None:
    """Writes the page of a test, with excerpts of videos.

    Args:
        file: the page, such as `index.html`.
        result: what was tested.
        config: the model's.
        name: of the model.
        options: how the videos are opened.
        metrics: of the training run, the lines of its `metrics.jsonl`; for the curves.
        settings: of the training run, as its `config.yaml` has them.
    """
    confidence = result.scores.max(1)
    wrong = np.flatnonzero(~result.right)
    mistakes = wrong[np.argsort(-confidence[wrong], kind="stable")][:SHOWN]
    uncertain = np.argsort(confidence, kind="stable")[:SHOWN]
    shown = {row: _shown(result, row, options) for row in {*mistakes.tolist(), *uncertain.tolist()}}
    confusion = result.confusion()
    write_page(
        file,
        "evaluation.html",
        name=name,
        figures=result.report(),
        confusion=confusion.tolist(),
        shares=(confusion / np.maximum(confusion.sum(1, keepdims=True), 1)).tolist(),
        reliability=reliability(result.scores, result.labels),
        mistakes=[shown[row] for row in mistakes.tolist()],
        uncertain=[shown[row] for row in uncertain.tolist()],
        config=config,
        sampling=in_words(config.clip, result.views or config.views),
        curves={split: [row for row in metrics if row["split"] == split] for split in ("train", "val")},
        settings=settings,
    )


def in_words(clip: ClipSpec, views: str) -> str:
    """Return how a test takes frames from a video, in a sentence."""
    wanted = Views.parse(views)
    clips = f"{wanted.num_clips} clips" if wanted.num_clips > 1 else "one clip"
    crops = f"{wanted.num_crops} crops" if wanted.num_crops > 1 else "one crop"
    if clip.sampling == "uniform":
        frames = f"{clip.clip_len} frames, one from each of {clip.clip_len} equal parts of the video"
    elif clip.fps:
        frames = f"{clip.clip_len} frames at {clip.fps:g} frames per second"
    else:
        frames = (
            f"{clip.clip_len} frames, every {clip.frame_interval}th" if clip.frame_interval > 1 else f"{clip.clip_len} frames"
        )
    return f"Of each video, {clips} of {frames}; of each clip, {crops}. A video's scores are the mean over these views."


def _shown(result: Evaluation, row: int, options: VideoOptions) -> Shown:
    scores = result.scores[row]
    best = [(result.classes[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:3]]
    path = str(result.videos[row])
    return Shown(path, result.classes[result.labels[row]], best, excerpt(path, options))
