"""`smallbig evaluate`: tests a model on labelled videos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from accelerate import PartialState
from rich.table import Table

from smallbignet.data.annotations import select_rows
from smallbignet.data.options import DataSource
from smallbignet.data.source import read_part
from smallbignet.errors import SmallBigError
from smallbignet.inference.classifier import VideoClassifier
from smallbignet.inference.evaluation import Evaluation, score_videos, write_report
from smallbignet.inference.scores import ScoresFile, compare, load_scores, save_scores
from smallbignet.report.evaluation import write_evaluation_page
from smallbignet.utils.checks import FolderOrNone, WorkersOrAll, checked
from smallbignet.utils.console import bar, console
from smallbignet.utils.files import writing
from smallbignet.utils.memory import keep_memory
from smallbignet.weights.load import load_config

SIGNIFICANT = 0.05


@checked
def evaluate(
    model: str,
    data: str,
    *,
    views: str = "",
    select: str = "",
    source: DataSource = DataSource(),
    scores: ScoresFile = "",
    report: FolderOrNone = "",
    workers: WorkersOrAll = -1,
    device: str = "",
    precision: str = "fp32",
    against: str = "",
) -> Evaluation:
    """Tests a model on labelled videos: accuracy with its confidence interval, macro F1, calibration, confusion matrix.

    Args:
        model: a model or run directory, a published network's name, or org/name on the Hugging Face hub.
        data: a folder with a folder of videos for each class (its `val` folder, where it has one); Kinetics-400 or
            Something-Something as their owners publish them (their validation part); a .csv file with a header; or a list.
        views: clips x crops, such as 10x3; the model's own if not given.
        select: rows of a .csv file to test on, such as "fold=3".
        source: how the data set is read.
        scores: file (.npz) to keep the videos' softmax scores in.
        report: folder for a page with all figures and excerpts of videos (index.html), the classes (.csv), the figures (.json)
            and, where each video has one class, the confusion matrix (.png, .csv).
        workers: processes that decode; -1 takes all cores but one.
        device: cpu, cuda, ...; a GPU where there is one if not given.
        precision: fp32; bf16, faster where the device supports it; int8, fastest on a CPU, after measuring value ranges on up
            to 32 of the videos (`pip install 'smallbignet[int8]'`). The tests of a training run use its `run.precision`.
        against: another model, or a scores file of it, to compare with on the same videos by McNemar's test.

    Raises:
        SmallBigError: no such model or data, classes that the model doesn't know, or scores of other videos.
        WorkError: no video could be read.
    """
    keep_memory()
    state = PartialState(cpu=device == "cpu")
    other = load_scores(against) if against.endswith(".npz") else None

    def score(name: str) -> Evaluation:
        classifier = VideoClassifier(name, device=device or state.device, precision=precision)
        annotations = select_rows(read_part(data, "val", source, classifier.config.classes), select, data)
        if classifier.config.scores.kind == "sigmoid":
            annotations = annotations.as_multilabel()
        elif annotations.is_multilabel:
            raise SmallBigError("its videos have several classes, and this model was trained for one in each video", data)
        if annotations.is_multilabel and (scores or against):
            raise SmallBigError("scores files and comparisons are for videos with one class each", scores or against)
        wanted = views or classifier.config.views
        classifier.calibrate(annotations.paths.tolist(), wanted, source)
        with bar("evaluate", len(annotations), "videos", visible=state.is_main_process) as progress:
            return score_videos(classifier, annotations, wanted, source, workers, progress.advance)

    result = score(model)
    if against:
        result = replace(result, comparison=compare(result, other or score(against), model, against))
    if state.is_main_process:
        if scores:
            save_scores(result, scores)
        if report:
            with writing(Path(report)):
                write_report(result, Path(report))
                write_evaluation_page(Path(report) / "index.html", result, load_config(model), model, source)
    return result


def show(result: Evaluation) -> Table:
    """A table of the figures, the worst classes first; prints the unreadable files on standard error."""
    figures = result.report()
    for fault in figures["unreadable"]:
        console.print(f"unreadable: {fault['path']}: {fault['reason']}")
    if result.is_multilabel:
        return _show_multilabel(result)
    caption = f"{figures['videos']} videos, {len(figures['unreadable'])} unreadable, views {result.views}"
    table = Table("class", "videos", "accuracy %", caption=caption)
    for row in sorted((r for r in figures["classes"] if r["videos"]), key=lambda r: r["accuracy"])[:20]:
        table.add_row(row["class"], str(row["videos"]), f"{100 * row['accuracy']:.1f}")
    table.add_section()
    low, high = figures["top1_interval"]
    table.add_row("mean class accuracy", "", f"{100 * figures['mean_class_accuracy']:.2f}")
    table.add_row("macro F1", "", f"{100 * figures['macro_f1']:.2f}")
    table.add_row("top-1 (95 % interval)", "", f"{100 * figures['top1']:.2f} ({100 * low:.1f} to {100 * high:.1f})")
    if len(result.classes) > 5:
        table.add_row("top-5", "", f"{100 * figures['top5']:.2f}")
    table.add_row("calibration error", "", f"{100 * figures['calibration_error']:.2f}")
    if answered := figures["answered"]:
        precision = answered["precision"]
        known = "no score reaches the threshold" if precision is None else f"{100 * precision:.1f} of these right"
        table.add_row('not "unknown"', "", f"{100 * answered['share']:.1f}; {known}")
    if comparison := result.comparison:
        verdict = "a real difference" if comparison.p_value < SIGNIFICANT else "may be chance"
        top1 = f"top-1 {100 * comparison.top1:.2f}; p = {comparison.p_value:.2g}, {verdict}"
        table.add_row(f"against {comparison.name}", "", top1)
    return table


def _show_multilabel(result: Evaluation) -> Table:
    """The figures of videos that may have several classes, the worst classes first."""
    figures = result.report()
    caption = f"{figures['videos']} videos, {len(figures['unreadable'])} unreadable, views {result.views}"
    table = Table("class", "videos", "average precision %", "F1 %", caption=caption)
    for row in sorted((r for r in figures["classes"] if r["videos"]), key=lambda r: r["average_precision"])[:20]:
        table.add_row(row["class"], str(row["videos"]), f"{100 * row['average_precision']:.1f}", f"{100 * row['f1']:.1f}")
    table.add_section()
    means = f"{100 * figures['mean_average_precision']:.2f}", f"{100 * figures['macro_f1']:.2f}"
    table.add_row("mean over the classes", "", *means)
    table.add_row("best class is one of the video's", "", f"{100 * figures['top1']:.2f}", "")
    return table
