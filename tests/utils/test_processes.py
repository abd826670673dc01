"""That no call can stop the others."""

from __future__ import annotations

import os
import signal
import time

from smallbignet.utils.processes import in_processes


def misbehave(how: str) -> str:
    if how == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        time.sleep(600)
    return how


def test_a_crash_and_a_hang_cost_only_their_own_file():
    jobs = [((how,), 4.0 if how == "hang" else 60.0) for how in ("good", "crash", "fine", "hang", "well")]
    good, crashed, fine, hung, well = in_processes(misbehave, jobs, workers=2)
    assert (good, fine, well) == ("good", "fine", "well")
    assert crashed == "the decoder crashed"
    assert hung == "the decoder was not done after 4 seconds"
