"""Reading in worker processes: nobody waits for a worker that has failed, however little memory is shared."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from smallbignet.data.loader import make_loader
from smallbignet.data.synthetic import write_video
from smallbignet.errors import WorkError, explain_worker_error

LOADER = """
import os, signal
import torch
from smallbignet.data.loader import make_loader
from smallbignet.inference.clips import VideoClips

def read(keys):
    return [VideoClips(str(key), torch.full((30, 8, 32, 32, 3), key, dtype=torch.uint8), True) for key in keys]

def strange(keys):
    return lambda: 1

def killed(keys):
    os.kill(os.getpid(), signal.SIGKILL)

for [a, b] in make_loader(read, [[i, i + 1] for i in range(12)], 2):
    assert (a.clips == int(a.path)).all() and (b.clips == a.clips + 1).all()
print("read")
for function in (strange, killed):
    try:
        print(list(make_loader(function, [[0]], 1)))
    except Exception as error:
        print(type(error).__name__, " ".join(str(error).split()))
"""


def run(script: str, folder: Path, around: str = "{}") -> subprocess.CompletedProcess:
    """Runs a script, within a shell command if one is given."""
    (folder / "script.py").write_text(script)
    command = around.format(f"{sys.executable} -W ignore {folder / 'script.py'}")
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=100)


def can_mount() -> bool:
    return Path("/dev/shm").is_dir() and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


needs_mount = pytest.mark.skipif(sys.platform != "linux" or not can_mount(), reason="mounts a small /dev/shm, as root on Linux")


@pytest.mark.parametrize("shared", ["enough", pytest.param("1m", marks=needs_mount)])
def test_nobody_waits_for_a_worker_whose_results_do_not_fit_in_shared_memory_or_that_fails(shared, tmp_path):
    """24 results of 737,280 bytes each; one that can't be sent; and a worker that is killed."""
    around = "{}" if shared == "enough" else f"unshare -m sh -c 'mount -t tmpfs -o size={shared} tmpfs /dev/shm && {{}}'"
    done = run(LOADER, tmp_path, around)
    assert done.stderr == ""
    read, strange, killed = done.stdout.splitlines()
    assert read == "read"
    assert "pickle" in strange
    assert killed.startswith("WorkError a process that reads videos has ended: DataLoader worker")


def test_the_system_refuses_more_processes(monkeypatch):
    def refuse():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(WorkError, match="can't start processes that read videos: resource temporarily unavailable"):
        next(make_loader(list, [[1]], 1))


def test_a_dead_worker_is_explained_wherever_its_error_is_raised():
    error = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    assert explain_worker_error(error) == (
        "a process that reads videos has ended: DataLoader worker (pid 7) is killed by signal: Killed; "
        "if memory ran out, use fewer workers or smaller batches"
    )
    assert explain_worker_error(RuntimeError("expected a tensor")) == ""


UNGUARDED = """
import multiprocessing
multiprocessing.set_start_method("forkserver")
print("once")
import smallbignet
from smallbignet.commands.prepare import prepare
config = smallbignet.load_recipe("demo", [
    "--data.train", "videos", "--run.dir", "run", "--run.workers", "1", "--optim.epochs", "1", "--run.precision", "fp32",
    "--optim.batch_size", "4", "--optim.warmup_epochs", "0", "--model.name", "smallbig_r23", "--model.width", "8",
])
smallbignet.train(config)
prepare("videos", "smaller", short_side=16, workers=1)
"""


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="not of this system")
def test_a_script_without_a_main_guard_works_and_runs_once(tmp_path):
    """Python 3.14 starts processes by a fork server, which imports the script into each of them, as spawning does."""
    for i in range(8):
        folder = tmp_path / "videos" / ("run", "walk")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        write_video(folder / f"{i}.mp4", np.full((8, 32, 32, 3), 30 * i, np.uint8))
    done = run(UNGUARDED, tmp_path, f"cd {tmp_path} && {{}}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["once"]
    assert len(list((tmp_path / "smaller").rglob("*.mp4"))) == 8
