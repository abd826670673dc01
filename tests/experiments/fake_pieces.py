"""What stands in for measurements in the tests of the program that takes them in turn."""

import os
import time
from pathlib import Path
from typing import Any


def tells(turn: Any, _scale: Any, number: int) -> None:
    turn.tell({"number": number, "process": os.getpid()})


def fails(turn: Any, _scale: Any) -> None:
    turn.tell({"before": 1})
    raise MemoryError("there is no memory")


def ends(_turn: Any, _scale: Any) -> None:
    os._exit(3)


def hangs(turn: Any, _scale: Any) -> None:
    turn.tell({"before": 1})
    time.sleep(600)


def takes_time(turn: Any, _scale: Any) -> None:
    """A figure that is taken for half a second."""
    started = time.monotonic()
    time.sleep(0.5)
    turn.tell({"from": started, "to": time.monotonic()})


def gets_ready(turn: Any, _scale: Any, file: str) -> None:
    """Work of a second, ahead; it writes down when it is at it."""
    for _ in range(100):
        with open(Path(file), "a") as ticks:
            ticks.write(f"{time.monotonic()}\n")
        time.sleep(0.01)
    turn.wait()
    takes_time(turn, None)
