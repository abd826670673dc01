"""`smallbig predict`: labels with scores for video files."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from rich.table import Column, Table

from smallbignet.data.options import VideoOptions
from smallbignet.data.source import find_files
from smallbignet.inference.classifier import Answer, Top, VideoClassifier
from smallbignet.utils.checks import checked
from smallbignet.utils.console import bar, console
from smallbignet.utils.memory import keep_memory


@dataclass(frozen=True)
class Answers:
    """One answer for each file, in the order given."""

    answers: list[Answer]

    @property
    def exit_status(self) -> int:
        """1 where a file could not be read."""
        return int(any(answer.error for answer in self.answers))

    def report(self) -> list[dict]:
        """The answers as plain data."""
        return [asdict(answer) for answer in self.answers]


@checked
def predict(
    model: str,
    videos: list[str],
    *,
    top: Top = 5,
    views: str = "auto",
    source: VideoOptions = VideoOptions(),
    device: str = "",
    precision: str = "fp32",
    unknown: bool = False,
) -> Answers:
    """Classifies video files: labels with scores.

    Args:
        model: a model or run directory, a published network such as slow_r50, or org/name on the Hugging Face hub.
        videos: files, folders (all videos below, by suffix) or glob patterns.
        top: number of labels for each video.
        views: clips x crops, such as 10x3; "auto" for the model's own, with more clips where a long video needs them.
        source: how the videos are opened.
        device: cpu, cuda, ...; a GPU where there is one if not given.
        precision: fp32; bf16, faster where the device supports it; int8, fastest on a CPU, after measuring value ranges on up
            to 32 of the videos (`pip install 'smallbignet[int8]'`).
        unknown: put "unknown" first where the best score is below the threshold that training fitted (`run.wanted_precision`).

    Raises:
        SmallBigError: no such model, `unknown` and a model without thresholds, or none of the names is a video's.
    """
    paths = find_files(videos, source)
    keep_memory()
    classifier = VideoClassifier(model, device=device or None, precision=precision)
    answers = []
    with bar("predict", len(paths), "videos") as progress:
        classifier.calibrate(paths, views, source)
        for answer in classifier.predict_all(paths, top, views, source, unknown):
            answers.append(answer)
            if answer.error:
                console.print(f"unreadable: {answer.path}: {answer.error}")
            progress.advance()
    return Answers(answers)


def show(result: Answers) -> Table:
    """A table of the files' labels with scores."""
    table = Table(Column("video", overflow="fold"), "label", "score")
    for answer in result.answers:
        for i, prediction in enumerate(answer.predictions):
            table.add_row(answer.path if i == 0 else "", prediction.label, f"{prediction.score:.3f}")
        if answer.error:
            table.add_row(answer.path, f"unreadable: {answer.error}", "")
        table.add_section()
    return table
