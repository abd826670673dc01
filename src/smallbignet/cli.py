"""The command line: for each verb a function. A verb's options are its function's keyword arguments.

The result goes to standard output, as a table or, with --json, as one JSON document; everything else goes to standard error.
Exit status: 0; 1 if the work itself failed; 2 for a mistake in the command; 130 after Ctrl-C.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from importlib import import_module
from typing import Any

from smallbignet.errors import SmallBigError, WorkError, did_you_mean, explain_os_error, explain_worker_error


@dataclass(frozen=True)
class Verb:
    """What a verb does, and an example. Its function has the verb's name, in `commands/VERB.py`."""

    summary: str
    example: str


VERBS = {
    "demo": Verb("Make video clips, train on them, evaluate and predict, all in a few minutes", "smallbig demo"),
    "models": Verb("List the networks, with their parameters and GMACs", "smallbig models 'smallbig*' --clip 8x224"),
    "train": Verb(
        "Train a classifier on your videos",
        "smallbig train auto --data.train my_videos --run.dir runs/mine",
    ),
    "evaluate": Verb(
        "Test a model on labelled videos",
        "smallbig evaluate runs/mine runs/mine/val.csv --report out",
    ),
    "predict": Verb("Classify video files", "smallbig predict runs/mine clip.mp4 --top 3"),
    "timeline": Verb(
        "Say what happens when in videos of any length",
        "smallbig timeline runs/mine film.mp4 --out film.csv --threshold 0.6 --shortest 1",
    ),
    "embed": Verb(
        "Compute feature vectors of videos, or of windows over them",
        "smallbig embed runs/mine my_videos --out vectors.npz",
    ),
    "explain": Verb(
        "Show which places and frames made a network's answer",
        "smallbig explain runs/mine clip.mp4 --out why",
    ),
    "export": Verb(
        "Write a model for ONNX Runtime, OpenVINO or torch.export, and prove that it gives the same answers",
        "smallbig export runs/mine exported --to onnx --videos my_videos",
    ),
    "serve": Verb(
        "Label videos over HTTP, and on a page in the browser",
        "smallbig serve runs/mine --port 8000",
    ),
    "ensemble": Verb(
        "Average the scores of several models for the same videos",
        "smallbig ensemble r50.npz r101.npz --weights 1,1",
    ),
    "tables": Verb("Print the paper's tables, and our figures beside them", "smallbig tables 2 10"),
    "ablate": Verb(
        "Train and test the networks of one of the paper's tables on your videos",
        "smallbig ablate 2 --recipe small --data clips.csv --seeds 0,1,2 --folds fold",
    ),
    "prepare": Verb(
        "Re-encode videos, so that they are read faster",
        "smallbig prepare kinetics400 kinetics400_256 --short_side 256",
    ),
    "check": Verb("Find the videos that cannot be read, and say why", "smallbig check my_videos --clean clean.csv"),
    "benchmark": Verb(
        "Measure the speed and memory of networks on this machine",
        "smallbig benchmark --model smallbig_r50 --clip 8x224",
    ),
    "convert": Verb(
        "Make a model directory from a published checkpoint",
        "smallbig convert smallbig50.pth models/sb50 --source official --network smallbig50_extra",
    ),
    "push": Verb("Upload a model to the Hugging Face hub", "smallbig push runs/mine me/my-model --private"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status.

    Args:
        argv: the words after "smallbig"; those of this process if not given.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0
    if words[0] == "--version":
        from smallbignet.version import __version__

        print(f"smallbig {__version__}")
        return 0
    try:
        return run(words[0], words[1:])
    except KeyboardInterrupt:
        print("smallbig: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            raise
        print(f"smallbig: error: {explain(error)}", file=sys.stderr)
        return 2 if isinstance(error, SmallBigError) and not isinstance(error, WorkError) else 1


def explain(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, SmallBigError):
        return str(error)
    if isinstance(error, OSError):
        return explain_os_error(error)
    if what := explain_worker_error(error):
        return what
    message = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {message} (--debug shows where; please report it)"


def usage() -> str:
    """What `smallbig --help` prints."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:{width}}  {verb.summary}" for name, verb in VERBS.items())
    return f"""usage: smallbig VERB ...

SmallBigNet for video classification.

{verbs}

`smallbig VERB --help` lists the options of a verb. Every verb takes --json, for one JSON document on standard output, and
--debug, for the traceback of an error.

example: smallbig demo"""


def run(name: str, words: list[str]) -> int:
    """Runs a verb with its words, prints the result, and returns the exit status."""
    if name not in VERBS:
        raise SmallBigError(f"unknown verb; {did_you_mean(name, VERBS)}the verbs are {', '.join(VERBS)}", name)
    module = import_module(f"smallbignet.commands.{name}")
    from smallbignet.arguments import parse_call  # imports jsonargparse, which takes time

    function = getattr(module, name)
    arguments, as_json = parse_call(function, f"smallbig {name}", VERBS[name], words)
    result = function(**arguments)
    if os.environ.get("RANK", "0") == "0":  # of several processes only the first prints
        show(result, module.show, as_json)
    leave_group()
    return getattr(result, "exit_status", 0)


def show(result: Any, as_table: Any, as_json: bool) -> None:
    """Prints a result on standard output."""
    if as_json:
        try:
            print(json.dumps(plain(result), ensure_ascii=False, allow_nan=False))
        except ValueError as error:
            raise WorkError("the result has NaN or infinite numbers, which JSON doesn't have; leave out --json") from error
        return
    from rich.console import Console

    shown = as_table(result)
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000  # so that no line is broken in a file or pipe
    Console(width=width, highlight=False, markup=False, soft_wrap=isinstance(shown, str)).print(shown)


def leave_group() -> None:
    """Leaves the group of processes of a distributed run. Without this, torch sometimes aborts when the interpreter exits."""
    if "torch" in sys.modules:
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()


def plain(result: Any) -> Any:
    """A result as data that JSON has: its `report()` if it has one, else its fields."""
    if hasattr(result, "report"):
        return result.report()
    return asdict(result) if is_dataclass(result) and not isinstance(result, type) else result
