"""Calls in other processes: their order, and that no call can stop the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smallbignet.utils.processes import Failure, in_processes


def misbehave(how: str) -> str:
    if how == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        time.sleep(600)
    if how == "raise":
        raise ValueError("seven is too many")
    return how


def test_a_crash_a_hang_and_an_exception_cost_only_their_own_call():
    calls = [((how,), 2.0 if how == "hang" else 60.0) for how in ("good", "crash", "fine", "hang", "raise", "well")]
    good, crashed, fine, hung, raised, well = in_processes(misbehave, calls, workers=2)
    assert (good, fine, well) == ("good", "fine", "well")
    assert crashed == Failure("it crashed the process that worked on it")
    assert hung == Failure("it was not done after 2 seconds")
    assert raised == Failure("ValueError: seven is too many")


def test_results_come_in_the_order_of_the_calls_and_as_they_are_done():
    calls = [((str(number),), 60.0) for number in range(300)]
    assert list(in_processes(misbehave, calls, workers=2)) == [str(number) for number in range(300)]
    results = in_processes(misbehave, [(("first",), 60.0), *[(("hang",), 600.0)] * 3], workers=2)
    assert next(results) == "first"
    started = time.monotonic()
    results.close()  # while two calls hang
    assert time.monotonic() - started < 10
    assert list(in_processes(misbehave, [])) == []


SCRIPT = """
print("once")
from smallbignet.utils.processes import in_processes
for result in in_processes(len, [(("line",), 60.0), ((3,), 60.0), (("four",), 60.0)], 1):
    print(result)
"""


@pytest.mark.parametrize("how", ["file", "-c", "-", "-m"])
def test_a_script_without_a_main_guard_runs_once(how, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    words = {"file": ["script.py"], "-c": ["-c", SCRIPT], "-": ["-"], "-m": ["-m", "script"]}[how]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, input=SCRIPT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('once\n4\nFailure(reason="TypeError') and done.stdout.endswith("\n4\n")


OWN_FUNCTION = """
from smallbignet.utils.processes import in_processes
def double(number):
    return 2 * number
{guard}
    print(list(in_processes(double, [((4,), 60.0)], 1)))
"""


@pytest.mark.parametrize("guard", ['if __name__ == "__main__":', "if True:"], ids=["guarded", "unguarded"])
def test_a_script_with_its_own_function_needs_a_main_guard_and_is_told_so(guard, tmp_path):
    (tmp_path / "script.py").write_text(OWN_FUNCTION.format(guard=guard))
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=60)
    if "__name__" in guard:
        assert done.stdout == "[8]\n"
    else:
        assert done.returncode == 1
        assert "WorkError: no process could be started; in a script, call this under `if __name__" in done.stderr


INTERRUPTED = """
import signal, sys, time
from smallbignet.utils.processes import in_processes
signal.signal(signal.SIGINT, signal.default_int_handler)
if __name__ == "__main__":
    for result in in_processes(time.sleep, [((0.0,), 60.0), ((600.0,), 900.0)], 1):
        print("started", flush=True)
"""


def is_running(pid: str) -> bool:
    """Whether a process runs; one that has ended may stay in the system's list until its new parent asks for its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in Linux's /proc")
def test_ctrl_c_ends_all_processes_at_once(tmp_path):
    (tmp_path / "script.py").write_text(INTERRUPTED)
    process = subprocess.Popen([sys.executable, tmp_path / "script.py"], start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"started\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=20)
    deadline = time.monotonic() + 5
    while any(map(is_running, children)) and time.monotonic() < deadline:  # the last to end are told by their parent's end
        time.sleep(0.05)
    assert not any(map(is_running, children))
