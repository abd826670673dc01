"""What a person sees while work goes on, all of it on standard error: messages, and bars with a rate and the time left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
SECONDS_BETWEEN_LINES = 30  # where there is no terminal for a bar, such as in a log file


def note(line: str) -> None:
    """Prints a line on standard error; of several processes that train together, only the first does."""
    if os.environ.get("RANK", "0") == "0":
        console.print(line)


@contextmanager
def quiet() -> Iterator[None]:
    """Prints nothing on standard error while work goes on whose messages appear elsewhere."""
    console.quiet = True
    try:
        yield
    finally:
        console.quiet = False


class Rate(ProgressColumn):
    """Units per second."""

    def __init__(self, unit: str):
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {self.unit}/s" if speed else f"- {self.unit}/s")


class Bar:
    """A progress bar on a terminal; elsewhere, a line every 30 seconds.

    Args:
        title: what is being done.
        total: units of work.
        unit: the units' name, such as "videos".
        done: units that were done before.
        visible: whether anything is shown.
    """

    def __init__(self, title: str, total: int, unit: str, done: int = 0, visible: bool = True):
        self.title = title
        self.total = total
        self.unit = unit
        self.done = done
        self.done_before = done
        self.started = time.monotonic()
        self.last_line = self.started
        self.has_lines = visible and not console.is_terminal
        self.live = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            Rate(unit),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not (visible and console.is_terminal),
        )
        self.task = self.live.add_task(title, total=total, completed=done, note="")

    def extend(self, count: int) -> None:
        """Adds `count` units of work that were not known before."""
        self.total += count
        self.live.update(self.task, total=self.total)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Counts another `count` units as done; `note` is shown after the bar."""
        self.done += count
        self.live.update(self.task, advance=count, note=note)
        now = time.monotonic()
        if self.has_lines and now - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = now
            rate = (self.done - self.done_before) / (now - self.started)
            left = (self.total - self.done) / rate if rate else float("inf")
            console.print(f"{self.title} {self.done}/{self.total} {rate:.1f} {self.unit}/s, {left:.0f} s left {note}")


@contextmanager
def bar(title: str, total: int, unit: str, done: int = 0, visible: bool = True) -> Iterator[Bar]:
    """Shows a `Bar` while work goes on."""
    shown = Bar(title, total, unit, done, visible)
    with shown.live:
        yield shown
