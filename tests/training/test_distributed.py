"""Training on two processes: the same losses as on one, and what becomes of a run that loses one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from smallbignet.commands.train import train
from smallbignet.training.settings import load_recipe

TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "smallbignet"]


def losses(directory: Path) -> list[float]:
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["split"] == "train"]


def test_two_processes_have_the_loss_curve_of_one(recipe, tmp_path):
    """20 steps, an epoch each, of the same 12 clips; batch statistics frozen, for a process sees only its own share."""
    settings = ["--optim.batch_size", "12", "--optim.epochs", "20", "--optim.lr", "0.02", "--optim.freeze_bn", "true"]
    settings += ["--optim.clip_grad", "1", "--optim.accumulate", "2", "--model.drop_rate", "0"]
    settings += ["--run.val_epochs", "20", "--run.views", "1x1"]
    train(load_recipe(str(recipe), [*settings, "--run.dir", str(tmp_path / "one")]))
    done = subprocess.run(
        [*TWO, "train", str(recipe), *settings, "--run.dir", str(tmp_path / "two")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == 20 and one[-1] < one[0] - 0.1
    assert two == pytest.approx(one, abs=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="Accelerate shards weights on GPUs only")
def test_sharded_weights_have_the_loss_curve_of_whole_ones(recipe, tmp_path):
    """As docs/devices.md shards them (FSDP), on one GPU."""
    settings = ["--run.device", "cuda", "--optim.batch_size", "12", "--optim.epochs", "4", "--optim.lr", "0.02"]
    settings += ["--model.drop_rate", "0", "--run.val_epochs", "4", "--run.views", "1x1"]
    train(load_recipe(str(recipe), [*settings, "--run.dir", str(tmp_path / "whole")]))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", "--use_fsdp", "--fsdp_version", "2"]
    launch += ["--fsdp_auto_wrap_policy", "SIZE_BASED_WRAP", "--fsdp_state_dict_type", "SHARDED_STATE_DICT"]
    command = [*launch, "-m", "smallbignet", "train", str(recipe), *settings, "--run.dir", str(tmp_path / "sharded")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "sharded") == pytest.approx(losses(tmp_path / "whole"), abs=0.02)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes of a run in Linux's /proc")
@pytest.mark.parametrize("resumed_on", [1, 3])
def test_a_lost_process_ends_the_run_which_resumes_on_another_number(recipe, tmp_path, resumed_on):
    directory = tmp_path / "run"
    settings = ["train", str(recipe), "--run.dir", str(directory), "--run.save_steps", "1", "--optim.batch_size", "6"]
    settings += ["--optim.epochs", "4"]
    run = subprocess.Popen([*TWO, *settings], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (directory / "state").exists():
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.01)
    os.kill(children(run.pid)[1], signal.SIGKILL)
    _, errors = run.communicate(timeout=60)
    assert run.returncode != 0 and "SIGKILL" in errors
    done = len(losses(directory))
    assert done < 4
    launch = [*TWO[:5], str(resumed_on), *TWO[6:]]
    resumed = subprocess.run([*launch, *settings, "--resume", "--json"], capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["epochs"] == 4 and len(losses(directory)) == 4
