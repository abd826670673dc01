"""What a person sees while work goes on, all of it on standard error: messages, and bars with a rate and a time left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


class Rate(ProgressColumn):
    """Units per second."""

    def __init__(self, unit: str):
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {self.unit}/s" if speed else f"- {self.unit}/s")


class Bar:
    """One bar on a terminal; elsewhere, such as in a log file, a line every 30 seconds."""

    def __init__(self, title: str, total: int, unit: str, done: int = 0, visible: bool = True):
        self.title, self.total, self.unit, self.done, self.first = title, total, unit, done, done
        self.started = self.spoken = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        self.live = Progress(
            *columns, Rate(unit), TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=console, transient=True
        )
        self.live.disable = not (visible and console.is_terminal)
        self.lines = visible and not console.is_terminal
        self.task = self.live.add_task(title, total=total, completed=done, note="")

    def advance(self, count: int = 1, note: str = "") -> None:
        """Another `count` units are done; `note` is shown behind the bar."""
        self.done += count
        self.live.update(self.task, advance=count, note=note)
        now = time.monotonic()
        if self.lines and now - self.spoken > 30:
            self.spoken = now
            rate = (self.done - self.first) / (now - self.started)
            left = (self.total - self.done) / rate if rate else float("inf")
            console.print(f"{self.title} {self.done}/{self.total} {rate:.1f} {self.unit}/s, {left:.0f} s left {note}")


@contextmanager
def bar(title: str, total: int, unit: str, done: int = 0, visible: bool = True) -> Iterator[Bar]:
    """A bar for `total` units of work, of which `done` are done already."""
    shown = Bar(title, total, unit, done, visible)
    with shown.live:
        yield shown
