"""The command line: verb -> function, nothing else. A verb's options are its function's keyword arguments.

Standard output gets the result, a table or with --json one JSON document; everything else goes to standard error.
Exit status: 0, 1 where the work itself failed, 2 for a mistake in the command.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from importlib import import_module
from typing import Any

from smallbignet.errors import SmallBigError, WorkError, did_you_mean


@dataclass(frozen=True)
class Verb:
    """What a verb does, and an example of it. Its function is `commands/VERB.py`'s of the same name."""

    summary: str
    example: str


VERBS = {
    "demo": Verb("the main job on embedded data: make clips, train, evaluate, predict", "smallbig demo"),
    "models": Verb("the networks, their parameters and GMACs", "smallbig models 'smallbig*' --clip 8x224"),
    "train": Verb(
        "train a classifier by a recipe on your videos",
        "smallbig train small --data.train my_videos --run.dir runs/mine",
    ),
    "evaluate": Verb(
        "test a model on labelled videos",
        "smallbig evaluate runs/mine runs/mine/val.csv --report out",
    ),
    "predict": Verb("labels with scores for files, folders, globs", "smallbig predict runs/mine clip.mp4 --top 3"),
    "ensemble": Verb(
        "fuse the scores of several models on the same videos",
        "smallbig ensemble r50.npz r101.npz --weights 1,1",
    ),
    "tables": Verb("the paper's tables, and what this code measures beside them", "smallbig tables 2 10"),
    "ablate": Verb(
        "train and test every row of one of the paper's tables under one budget",
        "smallbig ablate 2 --recipe small --data clips.csv --seeds 0,1,2 --folds fold",
    ),
    "prepare": Verb(
        "re-encode a tree of videos: a shorter side, dense key frames",
        "smallbig prepare kinetics400 kinetics400_256 --short_side 256",
    ),
    "check": Verb("which videos cannot be read, and why", "smallbig check my_videos --clean clean.csv"),
    "benchmark": Verb(
        "what networks cost here, in every variant, beside plain PyTorch and the machine's floor",
        "smallbig benchmark --model smallbig_r50 --clip 8x224",
    ),
    "convert": Verb(
        "a published checkpoint into a model directory",
        "smallbig convert smallbig50.pth models/sb50 --source official --network smallbig50_extra",
    ),
    "push": Verb("a model to the Hugging Face hub, with a model card", "smallbig push runs/mine me/my-model --private"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; answers its exit status."""
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
    except SmallBigError as error:
        if debug:
            raise
        print(f"smallbig: error: {error}", file=sys.stderr)
        return 1 if isinstance(error, WorkError) else 2
    except OSError as error:  # a full disk, a folder that can't be written, a download that fails
        if debug:
            raise
        print(f"smallbig: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("smallbig: stopped", file=sys.stderr)
        return 130


def usage() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:{width}}  {verb.summary}" for name, verb in VERBS.items())
    return (
        "usage: smallbig VERB ...\n\nSmallBigNet for video classification.\n\n"
        f"{verbs}\n\nsmallbig VERB --help tells a verb's options. With every verb: --json for one JSON document on standard\n"
        "output, --debug for the traceback of an error.\n\nexample: smallbig demo"
    )


def run(name: str, words: list[str]) -> int:
    """Runs a verb with its words and prints what it answers."""
    if name not in VERBS:
        raise SmallBigError(f"unknown verb; {did_you_mean(name, VERBS)}there are {', '.join(VERBS)}", name)
    module = import_module(f"smallbignet.commands.{name}")
    function = getattr(module, name)
    from smallbignet.arguments import parse_call  # brings jsonargparse

    arguments, as_json = parse_call(function, f"smallbig {name}", VERBS[name], words)
    result = function(**arguments)
    if os.environ.get("RANK", "0") != "0":  # of several processes one speaks
        pass
    elif as_json:
        print(json.dumps(plain(result), ensure_ascii=False))
    else:
        from rich.console import Console

        shown = module.show(result)
        width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000  # files and pipes have no edge to fit into
        Console(width=width, highlight=False, markup=False, soft_wrap=isinstance(shown, str)).print(shown)
    leave_group()
    return getattr(result, "exit_status", 0)


def leave_group() -> None:
    """Parts from the other processes of a distributed run; left to the interpreter's exit, torch sometimes aborts there."""
    if "torch" in sys.modules:
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()


def plain(result: Any) -> Any:
    """A result as what JSON has: its `report()` where it has one, else its fields."""
    if hasattr(result, "report"):
        return result.report()
    return asdict(result) if is_dataclass(result) and not isinstance(result, type) else result
