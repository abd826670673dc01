"""What trackers are told of a run. Those that aren't installed are skipped."""

import errno

import pytest

from smallbignet import SmallBigError
from smallbignet.cli import explain
from smallbignet.commands.train import train
from smallbignet.training import trackers
from smallbignet.training.run_directory import RunDirectory
from smallbignet.training.settings import load_recipe
from smallbignet.training.trackers import find_trackers, flat_settings
from smallbignet.training.trainer import Trainer


def test_settings_are_flat_numbers_and_text():
    settings = flat_settings(load_recipe("small", ["--augment.flip_pairs", "[[0, 1]]", "--run.trackers", "[mlflow]"]))
    assert settings["optim.epochs"] == load_recipe("small").optim.epochs
    assert settings["augment.flip_pairs"] == "[[0, 1]]"
    assert settings["model.stages"] == "None"
    assert all(isinstance(value, (bool, int, float, str)) for value in settings.values())


def test_a_tracker_that_is_not_installed_names_the_package(monkeypatch, tiny):
    assert find_trackers([]) == []
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    assert find_trackers(None) == []
    with pytest.raises(SmallBigError, match=r"pip install wandb \(run.trackers wandb\)"):
        train(tiny("--run.trackers", "[wandb]"))


class Killed(Exception):
    pass


def kill_after_states(number: int, monkeypatch) -> None:
    """Ends the next run right after it has saved its state `number` times."""
    save = Trainer._save_state
    left = iter(range(number - 1))

    def save_and_die(self):
        save(self)
        if next(left, None) is None:
            raise Killed

    monkeypatch.setattr(Trainer, "_save_state", save_and_die)


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow", "trackio"])
def test_a_resumed_run_goes_on_in_the_same_tracker_run(name, tiny, tmp_path, monkeypatch):
    pytest.importorskip(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    config = tiny("--run.trackers", f"[{name}]", "--run.save_steps", "1")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after_states(4, patch)  # in the second epoch of three steps each
        Trainer(config, resume=False).run()
    trainer = Trainer(config, resume=True)
    before = dict(trainer.progress.tracker_ids)
    trainer.run()
    assert trainer.progress.tracker_ids == before and bool(before) == (name in ("wandb", "mlflow"))
    if name == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "smallbignet")).Reload()
        lines = [line for line in RunDirectory(tmp_path / "run").metrics() if line["split"] == "train"]
        logged = [(event.step, event.value) for event in events.Scalars("train/loss")]
        assert logged == [(line["epoch"], pytest.approx(line["loss"])) for line in lines]
    if name == "mlflow":
        import mlflow

        run = mlflow.get_run(before["mlflow"])
        assert run.data.params["optim.lr"] == "0.05" and run.data.metrics["train/loss"] > 0


def test_a_disk_that_is_full_for_a_tracker_is_told_in_one_line(tiny, tmp_path, monkeypatch, capfd):
    """TensorBoard writes in a thread of its own, whose traceback is not shown."""
    record_writer = pytest.importorskip("tensorboard.summary.writer.record_writer")

    def write(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record_writer.RecordWriter, "write", write)
    with pytest.raises(OSError) as error:
        train(tiny("--optim.epochs", "1", "--run.views", "1x1", "--run.trackers", "[tensorboard]"))
    advice = "no space left on device; free some space, or choose another place"
    assert explain(error.value) == f"{advice} ({tmp_path / 'run'})"
    assert "Traceback" not in capfd.readouterr().err
