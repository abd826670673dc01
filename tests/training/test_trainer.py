"""Training as a user runs it: what a run leaves, that it can be killed, and what bad files do to it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from smallbignet import SmallBigError, WorkError, load_config, load_model
from smallbignet.cli import explain
from smallbignet.commands.evaluate import evaluate
from smallbignet.commands.train import show, train
from smallbignet.inference.calibration import calibration_error
from smallbignet.inference.evaluation import Evaluation
from smallbignet.training import distributed
from smallbignet.training.confusion import Confused
from smallbignet.training.distributed import make_accelerator
from smallbignet.training.learner import Learner
from smallbignet.training.run_directory import RunDirectory
from smallbignet.training.trainer import Trainer
from smallbignet.utils.statistics import videos_for


def test_a_run_leaves_models_metrics_and_curves(run, clips):
    report = json.loads((run / "report.json").read_text())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["split"]) for line in lines] == [(1, "train"), (1, "val"), (2, "train"), (2, "val")]
    assert report["best_top1"] == max(line["top1"] for line in lines if line["split"] == "val")
    assert (report["train_videos"], report["val_videos"], report["unreadable"]) == (12, 6, {})
    test = evaluate(str(run / "last"), str(clips), views="2x3", workers=0)
    found = report["test"]
    expected = {"model": "last", "views": "2x3", "videos": 6, "top1": test.accuracy(), "top5": test.accuracy(5)}
    assert found == expected | {key: found[key] for key in ("calibration_error", "calibrated_error")}
    assert found["calibrated_error"] == pytest.approx(calibration_error(test.scores, test.labels))
    for part in ("best", "last"):  # fitted on six videos: too few for a threshold that 9 of 10 answers are right above
        scores = load_config(run / part).scores
        assert scores.temperature != 1 and scores.thresholds == [1.0]
    assert (run / "reliability.png").read_bytes().startswith(b"\x89PNG")
    assert '<h2 id="training">' in (run / "index.html").read_text()
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    config = load_config(run)
    assert config.classes == ["colour", "growing", "horizontal", "still", "turning", "vertical"]
    assert config.views == "2x3"
    assert load_model(run / "last").num_classes == 6


def test_frozen_normalisations_keep_their_statistics_and_a_scaled_rate_is_printed(tiny, capfd):
    settings = ["--optim.freeze_bn", "true", "--optim.lr", "0.4", "--optim.lr_base_size", "32", "--run.val_epochs", "2"]
    config = tiny(*settings)
    train(config)
    state = load_file(Path(config.run.dir) / "last" / "model.safetensors")
    means = [value for key, value in state.items() if key.endswith("running_mean")]
    scales = [value for key, value in state.items() if key.endswith("bn.weight") and "extra" not in key]
    assert all((mean == 0).all() for mean in means) and not any((scale == 1).all() for scale in scales)
    lines = [json.loads(line) for line in (Path(config.run.dir) / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["split"]) for line in lines] == [(1, "train"), (2, "train"), (2, "val")]
    assert "learning rate 0.05: optim.lr 0.4 is meant for batches of 32, and these are of 4" in capfd.readouterr().err


def test_the_rate_that_was_used_is_logged(tiny):
    """The last of an epoch: 1/3, then 2/3 of the warm-up; a step schedule changes after epoch 1."""
    for settings, expected in (
        (["--optim.warmup_epochs", "3"], [0.05 / 3, 0.1 / 3]),
        (["--optim.schedule", "step", "--optim.milestones", "[1]"], [0.05, 0.005]),
    ):
        config = tiny("--run.dir", f"{tiny().run.dir}{len(settings)}", "--run.views", "1x1", *settings)
        train(config)
        lines = [json.loads(line) for line in (Path(config.run.dir) / "metrics.jsonl").read_text().splitlines()]
        assert [line["lr"] for line in lines if line["split"] == "train"] == pytest.approx(expected)


def test_the_summary_says_how_far_its_figures_can_be_trusted(run):
    """The interval is what R's binom.wilson gives for 3 of 12."""
    report = replace(RunDirectory(run).report(), best_top1=0.25, val_videos=12, best_train_top1=0.75, guessing=0.2)
    report = replace(report, best_confused=[Confused("run", "walk", 2, 3), Confused("walk", "sit", 1, 3)])
    names, values = ([str(cell) for cell in column.cells] for column in show(report).columns)
    rows = dict(zip(names, values, strict=True))
    assert names[0] == "best mean class accuracy"
    assert rows["95 % interval of the best top-1"].startswith("8.9 to 53.2 %, from 12 validation videos; ")
    more = videos_for(0.25, 0.05) - 12
    assert rows["95 % interval of the best top-1"].endswith(f"; {more} more would narrow it to 5 points on either side")
    assert rows["top-1 in training"].startswith("75.00 %, 50 points above validation: it knows its training videos by heart")
    assert rows["confused most"] == '"run" taken for "walk" (2 of 3); "walk" taken for "sit" (1 of 3)'
    assert "no better than guessing" in rows["best model"]


def test_the_summarys_figures_are_those_of_the_best_epoch(run):
    report = RunDirectory(run).report()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    [train_line] = [line for line in lines if (line["split"], line["epoch"]) == ("train", report.best_epoch)]
    assert report.best_train_top1 == train_line["top1"]
    assert sum(pair.videos for pair in report.best_confused) <= round((1 - report.best_top1) * report.val_videos)


def final_weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "last" / "model.safetensors")


def smallbig_train(recipe: Path, directory: Path, *words: str) -> subprocess.Popen:
    options = ["--run.dir", str(directory), "--run.save_steps", "1"]
    options += ["--optim.ema_decay", "0.9", "--optim.epochs", "5"]
    command = [sys.executable, "-m", "smallbignet", "train", str(recipe), *options, *words]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def kill_after(process: subprocess.Popen, directory: Path, states: int, seconds: float) -> None:
    """kill -9, `seconds` after the run has saved its state so many times."""
    seen: set[int] = set()
    while len(seen) < states and process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            seen.add(os.stat(directory / "state").st_mtime_ns)
        time.sleep(0.005)
    time.sleep(seconds)
    assert process.poll() is None, f"over before it could be killed: {process.stderr.read()}"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize(
    "words",
    [
        ["--optim.name", "adamw", "--optim.backbone_lr", "0.1", "--model.freeze", "res2", "--data.balance", "sampler"],
        ["--optim.patience", "1", "--optim.lr", "0", "--data.balance", "loss", "--optim.freeze_bn", "true"],
    ],
    ids=["adamw-freeze-sampler", "patience-loss"],
)
def test_a_run_stopped_within_an_epoch_goes_on_bit_for_bit(run, tiny, tmp_path, monkeypatch, words):
    """Stopped by an error after the third step, the second epoch's first; both runs have the same random start."""
    words = [*words, "--model.weights", str(run), "--optim.epochs", "3", "--run.save_steps", "1"]
    whole = tiny(*words, "--run.dir", str(tmp_path / "whole"))
    cut = tiny(*words, "--run.dir", str(tmp_path / "cut"))
    report = train(whole)
    steps = iter(range(99))
    step = Learner.step

    def fail(learner, *args):
        if next(steps) == 4:
            raise KeyboardInterrupt
        return step(learner, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Learner, "step", fail)
        train(cut)
    assert train(cut, resume=True).epochs == report.epochs
    expected, resumed = final_weights(tmp_path / "whole"), final_weights(tmp_path / "cut")
    assert all(torch.equal(expected[key], resumed[key]) for key in expected)
    assert report.is_stopped == ("--optim.patience" in words)


def scored(trainer: Trainer, right: int, sure: float) -> Evaluation:
    """Scores of a run's validation videos: `right` of them have their label first, and every label has the score `sure`."""
    labels, classes = trainer.val_set.labels, trainer.val_set.classes
    scores = np.zeros((len(labels), len(classes)), np.float32)
    rows = np.arange(len(labels))
    scores[rows, labels] = sure
    scores[rows, (labels + 1) % len(classes)] = np.where(rows < right, 0, 1 - sure)
    return Evaluation(trainer.val_set.paths, labels, scores, classes, [], "1x1")


def test_of_epochs_with_equal_top1_the_one_with_the_lowest_loss_is_the_best(tiny, monkeypatch):
    """Epochs 1 and 3 have 3 of 6 right, the third with a lower loss; the second has the lowest loss and 2 right."""
    epochs = iter([(3, 0.3), (2, 0.45), (3, 0.4), (3, 0.35), (1, 0.3)])
    monkeypatch.setattr(Trainer, "_score", lambda trainer, *_: scored(trainer, *next(epochs)))
    report = train(tiny("--optim.epochs", "9", "--optim.patience", "3", "--run.views", "1x1"))
    assert (report.best_epoch, report.best_top1) == (3, 0.5)
    assert report.epochs == 5 and report.is_stopped  # the third had neither a higher top-1 nor the lowest loss


def test_a_run_ends_after_epochs_without_a_better_validation(tiny):
    """With a rate of 0 and frozen statistics every epoch is the same: the first is the best, and two more are waited for."""
    still = ["--optim.lr", "0", "--optim.freeze_bn", "true", "--optim.epochs", "9", "--optim.patience", "2"]
    report = train(tiny(*still, "--run.views", "1x1"))
    assert (report.epochs, report.best_epoch, report.is_stopped) == (3, 1, True)
    assert report.test.top1 == report.last_top1 == report.best_top1
    assert "after which nothing was better" in str(list(show(report).columns[1].cells))


def test_frozen_stages_keep_their_weights_and_statistics(run, tiny):
    words = ["--model.weights", str(run), "--model.freeze", "res3", "--optim.epochs", "1", "--optim.name", "adamw"]
    config = tiny(*words, "--optim.lr", "0.001")
    train(config)
    before, after = load_file(run / "best" / "model.safetensors"), final_weights(Path(config.run.dir))
    changed = {key.partition(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"res4", "res5", "fc"}
    with pytest.raises(SmallBigError, match="keeps their random weights"):
        train(tiny("--model.freeze", "stem", "--run.dir", f"{config.run.dir}2"))


def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(recipe, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = smallbig_train(recipe, whole)
    assert process.wait() == 0, process.stderr.read()
    for states, seconds, words in ((2, 0.0, []), (4, 0.05, ["--resume"]), (2, 0.11, ["--resume"])):
        kill_after(smallbig_train(recipe, cut, *words), cut, states, seconds)
    process = smallbig_train(recipe, cut, "--resume")
    assert process.wait() == 0, process.stderr.read()
    expected, resumed = final_weights(whole), final_weights(cut)
    assert all(torch.equal(expected[key], resumed[key]) for key in expected)
    lines = [json.loads(line) for line in (cut / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [epoch for epoch in range(1, 6) for _ in range(2)]


@pytest.mark.parametrize(
    "overrides",
    [
        ["--optim.accumulate", "2", "--optim.clip_grad", "1", "--optim.label_smoothing", "0.1"],
        ["--run.precision", "bf16", "--optim.ema_decay", "0.9", "--optim.nesterov", "true"],
        ["--optim.schedule", "step", "--optim.milestones", "[1]", "--run.grad_checkpointing", "true"],
        ["--clip.sampling", "dense", "--clip.frame_interval", "2", "--run.channels_last", "false", "--model.name", "tsm_r50"],
        ["--augment.randaugment", "2", "--augment.mixup", "0.2", "--augment.flip_pairs", "[[0, 1]]"],
    ],
    ids=["accumulate", "bf16-ema", "checkpointing", "dense-tsm", "augment"],
)
def test_settings_train(tiny, overrides):
    report = train(tiny("--optim.epochs", "1", *overrides))
    assert report.epochs == 1 and report.val_videos == 6


@pytest.mark.parametrize(("has_instructions", "expected"), [(True, "bf16"), (False, "no")])
def test_auto_is_bf16_where_the_device_has_instructions_for_it(tiny, monkeypatch, has_instructions, expected):
    monkeypatch.setattr(distributed, "computes_bf16", lambda device: has_instructions)
    assert make_accelerator(tiny("--run.precision", "auto")).mixed_precision == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_mixed_precision_on_a_gpu(tiny, precision):
    assert train(tiny("--run.device", "cuda", "--run.precision", precision)).epochs == 2


def test_gradient_checkpointing_trains_to_the_same_weights(tiny, tmp_path):
    plain = train(tiny("--optim.epochs", "1", "--run.dir", str(tmp_path / "plain")))
    saved = train(tiny("--optim.epochs", "1", "--run.grad_checkpointing", "true", "--run.dir", str(tmp_path / "saved")))
    assert plain.last_top1 == saved.last_top1
    a, b = final_weights(tmp_path / "plain"), final_weights(tmp_path / "saved")
    assert all(torch.allclose(a[key].float(), b[key].float(), rtol=1e-4, atol=1e-5) for key in a)


def test_fine_tuning_starts_from_a_model_with_other_classes(run, tiny, clips, tmp_path):
    data = tmp_path / "two.csv"
    rows = [
        f"{path},{path.parent.name}" for path in sorted(clips.glob("train/*/*.mp4")) if path.parent.name in ("still", "colour")
    ]
    data.write_text("\n".join(["path,label", *rows]) + "\n")
    config = tiny("--data.train", str(data), "--data.val_fraction", "0.5", "--model.weights", str(run), "--optim.lr", "0")
    train(config)
    assert load_config(config.run.dir).classes == ["colour", "still"]
    old, new = load_file(run / "best" / "model.safetensors"), load_file(Path(config.run.dir) / "best" / "model.safetensors")
    assert all(torch.equal(old[key], new[key]) for key in old if key.endswith("conv.weight"))
    assert new["fc.weight"].shape[0] == 2


def with_corrupt(clips: Path, folder: Path, share: float) -> Path:
    """The training clips three times over, the given share of the files cut short."""
    sources = sorted(clips.glob("train/*/*.mp4")) * 4
    rows = []
    for i, source in enumerate(sources):
        data = source.read_bytes()
        file = folder / f"{i}.mp4"
        file.write_bytes(data[: len(data) // 2] if i < share * len(sources) else data)
        rows.append(f"{file.name},{source.parent.name}")
    (folder / "all.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    return folder / "all.csv"


def test_a_few_corrupt_files_are_replaced_and_each_is_named_once(clips, tiny, tmp_path, capfd):
    data = with_corrupt(clips, tmp_path, 0.05)
    report = train(tiny("--data.train", str(data), "--data.val_fraction", "0.25", "--run.workers", "1"))
    bad = {str(tmp_path / f"{i}.mp4") for i in range(3)}
    assert set(report.unreadable) <= bad and report.epochs == 2
    errors = capfd.readouterr().err
    trained = [path for path in bad if f"unreadable, replaced by another video: {path}" in errors]
    assert trained and all(errors.count(path) == 1 for path in trained)


def test_many_corrupt_files_stop_the_run_with_a_clear_error(clips, tiny, tmp_path):
    data = with_corrupt(clips, tmp_path, 0.3)
    with pytest.raises(WorkError, match=r"of 3\d training videos can't be read, more than data.max_unreadable"):
        train(tiny("--data.train", str(data), "--data.val_fraction", "0.25"))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["--data.train", "nowhere"], "nowhere"),
        (["--optim.batch_size", "3", "--optim.accumulate", "2"], "batch_size 3"),
        (["--run.precision", "fp16"], "fp16"),
        (["--model.stages", "[2d]"], "four stages"),
        (["--run.device", "cuda:9"], "cuda:9"),
        (["--optim.lr", "-1"], "optim.lr"),
        (["--optim.accumulate", "0"], "optim.accumulate"),
        (["--run.val_views", "3x2"], "3x2"),
        (["--augment.flip_pairs", "[[0, 6]]"], "flip_pairs"),
        (["--run.val_epochs", "0"], "val_epochs"),
    ],
)
def test_settings_that_cannot_work_are_named(tiny, overrides, words):
    with pytest.raises(SmallBigError, match=words):
        train(tiny(*overrides))


def test_one_class_and_one_clip_at_a_time_are_refused_in_a_line(tiny, clips, tmp_path):
    shutil.copytree(clips / "train" / "still", tmp_path / "one" / "still")
    with pytest.raises(SmallBigError, match='only the class "still"; a classifier needs at least two'):
        train(tiny("--data.train", str(tmp_path / "one"), "--data.val_fraction", "0.5"))
    with pytest.raises(SmallBigError, match=r"larger optim.batch_size .*\(optim.batch_size 1, optim.accumulate 1\)"):
        train(tiny("--optim.batch_size", "1"))


def test_a_run_directory_is_not_overwritten_nor_resumed_with_other_settings(tiny, run):
    with pytest.raises(SmallBigError, match="--resume"):
        train(tiny("--run.dir", str(run)))
    with pytest.raises(SmallBigError, match=r"optim.lr 0.05"):
        train(tiny("--run.dir", str(run), "--optim.lr", "0.01"), resume=True)
    with pytest.raises(SmallBigError, match="no run to resume"):
        train(tiny(), resume=True)


def test_a_finished_run_without_its_state_is_not_overwritten(tiny, run, tmp_path):
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("state"))
    for resume in (False, True):
        with pytest.raises(SmallBigError, match="holds a finished run"):
            train(tiny(), resume=resume)


def test_running_out_of_gpu_memory_names_what_takes_less(tiny, monkeypatch):
    def run_out(trainer):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Trainer, "run", run_out)
    with pytest.raises(WorkError, match=r"larger optim.accumulate or a smaller optim.batch_size \(optim.batch_size 4, "):
        train(tiny())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the full device is Linux's")
def test_a_disk_that_fills_up_leaves_the_state_before_which_is_resumed(tiny, tmp_path, monkeypatch):
    """A device that is always full takes the place of a file of the second state."""
    config = tiny("--optim.epochs", "1", "--run.save_steps", "1", "--run.views", "1x1")
    save_state = Accelerator.save_state
    states = iter(range(9))

    def save_on_a_full_disk(self, folder):
        if next(states) == 1:
            (Path(folder) / "optimizer.bin").symlink_to("/dev/full")
        return save_state(self, folder)

    with monkeypatch.context() as patch, pytest.raises((OSError, WorkError)) as error:
        patch.setattr(Accelerator, "save_state", save_on_a_full_disk)
        train(config)
    assert explain(error.value).endswith(f"({tmp_path / 'run' / 'state'})")
    assert not list((tmp_path / "run").glob("*.new"))
    trainer = Trainer(config, resume=True)
    assert trainer.progress.batch == 1
    assert trainer.run().epochs == 1


def test_resuming_a_finished_run_reports_it_again(tiny, run):
    before = json.loads((run / "report.json").read_text())
    assert train(tiny("--run.dir", str(run)), resume=True).best_top1 == before["best_top1"]


@pytest.mark.parametrize(("epochs", "is_long"), [("1", True), ("2", False)])
def test_a_warm_up_longer_than_the_run_is_a_warning(tiny, capfd, epochs, is_long):
    Trainer(tiny("--optim.warmup_epochs", "2", "--optim.epochs", epochs), resume=False)._say_rate()
    assert ("the warm-up of 2 epochs is longer than the run" in capfd.readouterr().err) == is_long
