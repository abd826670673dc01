"""What becomes of malformed documents: each of them through a verb, in a process that may crash or hang.

    python experiments/mutate_documents.py [--documents 200] [--seed 0] [--seconds 60]

The documents are config.json and model.safetensors (through `predict`), recipes (through `train`), scores files (through
`ensemble`) and checkpoints (through `convert`), so many of each. Every change makes a document wrong: a value of another type
or far outside of its range, an unknown or missing key, text that is cut, of another encoding or nested 100,000 times, an array
or a tensor of another shape or type, with NaN, or with a header that lies. The right end is exit status 1 or 2 and one line
that names the file and the field. Prints a Markdown table, and every other end. The exit status is 1 if there was any. A seed
always gives the same documents.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import os
import random
import resource
import struct
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from math import inf, nan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save

from mutate_videos import make_model, write_video
from smallbignet import load_recipe
from smallbignet.cli import main as smallbig
from smallbignet.utils.processes import Failure, in_processes

KINDS = ("configs", "weights", "recipes", "scores", "checkpoints")
DEEP = 100_000
NUMBERS = [-5, 10**30, nan, inf, -inf, "8x8", "x", [], {}, [8], {"a": 8}]
WRONG: dict[type, list[Any]] = {  # values that no field of a type allows
    bool: [0, 1, 8, "x", "maybe", [], {}, nan, [True]],
    int: [8.5, *NUMBERS],
    float: [1e30, True, *NUMBERS],
    str: [{}, {"a": "x"}, [], ["x"], [[]], "\x00"],
    list: [8, True, "x", {}, {"a": 8}, [{}], [[[8]]], [nan], ["\x00"], ["x"] * 2_000],
    dict: [8, True, "x", [], [8], None, nan],
    type(None): [{"a": 8}, [{}], [[[8]]], "\x00"],
}


@dataclass(frozen=True)
class Document:
    """A malformed document.

    Attributes:
        file: that the error must name.
        words: the command that reads it.
        fields: one of these must be in the error.
        change: what is wrong with it.
    """

    file: Path
    words: list[str]
    fields: tuple[str, ...]
    change: str


@dataclass(frozen=True)
class Ending:
    """How a command ended: its exit status, what it printed, how long it took and the most memory its process had by then."""

    status: int
    output: str
    errors: str
    seconds: float
    megabytes: float


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The paths of all values in a document, sections included."""
    for key, item in value.items() if isinstance(value, dict) else ():
        yield (*path, key)
        yield from places(item, (*path, key))


def change_values(document: dict, chance: random.Random, skipped: set[str]) -> tuple[dict, str, str]:
    """A document with one wrong value or key; the name of the field; and the change in words."""
    document = copy.deepcopy(document)
    paths = [path for path in places(document) if path[-1] not in skipped and path[0] not in skipped]
    path = chance.choice(paths)
    place = document
    for key in path[:-1]:
        place = place[key]
    key, old = path[-1], place[path[-1]]
    if len(path) > 1 and chance.random() < 0.1:
        unknown = chance.choice([f"{key}s", f"{key}\u00e9", "constructor", "__class__"])
        place[unknown] = old
        return document, unknown, f"unknown key {unknown!r}"
    wrong = chance.choice(WRONG[type(old)])
    place[key] = wrong
    return document, str(key), f"{'.'.join(path)}: {str(wrong)[:40]!r}"


def damage_text(text: bytes, chance: random.Random) -> tuple[bytes, str]:
    """A text that is none any more, or nested too deeply."""
    place = chance.randrange(1, len(text) - 1)
    return chance.choice(
        [
            (b"", "empty"),
            (b"\x00" + text, "begins with a zero"),
            (text[:place] + b"\xff" + text[place:], "not UTF-8"),
            (text.decode().encode("utf-16"), "UTF-16"),
            (b"[" * DEEP + text, "nested lists"),
            (b'{"a":' * DEEP + text, "nested mappings"),
            (b"{" + text[:place], "cut"),
            (text + b"}" * 9, "more brackets"),
            (text * (2**23 // len(text)), "8 MB"),
            (os.urandom(0) + bytes(chance.randrange(128, 256) for _ in range(999)), "noise"),
        ]
    )


def damage_tensors(state: dict[str, torch.Tensor], chance: random.Random) -> tuple[bytes, str, str]:
    """The bytes of a .safetensors file, the name of the wrong tensor, and the change in words."""
    state = dict(state)
    key = chance.choice([key for key in state if not key.endswith("num_batches_tracked")])
    changes: list[tuple[str, Callable[[torch.Tensor], torch.Tensor | None]]] = [
        ("NaN", lambda value: torch.full_like(value, nan)),
        ("infinity", lambda value: torch.full_like(value, inf)),
        ("another shape", lambda value: value.new_zeros(*value.shape, 2)),
        ("one more", lambda value: value.new_zeros(value.shape[0] + 1, *value.shape[1:])),
        ("nothing", lambda value: value.new_zeros(0)),
        ("whole numbers", lambda value: value.to(torch.int32)),
        ("truth values", lambda value: value > 0),
        ("missing", lambda value: None),
    ]
    words, change = chance.choice(changes)
    changed = change(state.pop(key))
    if changed is not None:
        state[key] = changed
    elif chance.random() < 0.5:
        state[key + ".old"] = torch.zeros(3)
    data = save(state)
    if chance.random() < 0.3:
        length = struct.unpack("<Q", data[:8])[0]
        return chance.choice(
            [
                (data[: chance.randrange(len(data) - 1)], "", "cut"),
                (struct.pack("<Q", 2**60) + data[8:], "", "a header of 2**60 bytes"),
                (data[:8] + b"[" * length + data[8 + length :], "", "a header of brackets"),
                (bytes(chance.randrange(256) for _ in range(999)), "", "noise"),
                (b"", "", "empty"),
            ]
        )
    return data, key, f"{key}: {words}"


def damage_arrays(arrays: dict[str, np.ndarray], chance: random.Random) -> tuple[bytes, str]:
    """The bytes of an .npz file, and the change in words."""
    arrays = dict(arrays)
    scores = arrays["scores"]
    changes: list[tuple[str, dict[str, Any]]] = [
        ("scores: NaN", {"scores": np.where(scores == scores[0, 0], nan, scores)}),
        ("scores: infinite", {"scores": scores + inf}),
        ("scores: logits", {"scores": np.log(scores)}),
        ("scores: per cent", {"scores": scores * 100}),
        ("scores: whole numbers", {"scores": np.ones(scores.shape, int)}),
        ("scores: texts", {"scores": scores.astype(str)}),
        ("scores: complex", {"scores": scores.astype(complex)}),
        ("scores: one axis", {"scores": scores.ravel()}),
        ("scores: a number", {"scores": np.array(0.5)}),
        ("scores: other classes", {"scores": scores[:, :1]}),
        ("scores: pickled", {"scores": np.array([{}, None], object)}),
        ("labels: floats", {"labels": arrays["labels"] + 0.5}),
        ("labels: negative", {"labels": arrays["labels"] - 1}),
        ("labels: beyond the classes", {"labels": arrays["labels"] + 10**9}),
        ("labels: fewer", {"labels": arrays["labels"][:1]}),
        ("videos: numbers", {"videos": np.arange(3)}),
        ("videos: bytes", {"videos": arrays["videos"].astype(bytes)}),
        ("videos: none", {"videos": np.array([], str)}),
        ("videos: others", {"videos": np.array(["x", "y", "z"])}),
        ("classes: numbers", {"classes": np.arange(2)}),
        ("classes: others", {"classes": np.array(["b", "c"])}),
        ("classes: more", {"classes": np.array(["a", "b", "c"])}),
    ]
    words, other = chance.choice(changes)
    if chance.random() < 0.2:
        del arrays[chance.choice(list(arrays))]
        words, other = "an array is missing", {}
    buffer = io.BytesIO()
    np.savez(buffer, **(arrays | other))
    data = buffer.getvalue()
    if chance.random() < 0.2:
        return chance.choice(
            [
                (data[: chance.randrange(len(data) - 30)], "cut"),
                (bytes(chance.randrange(256) for _ in range(999)), "noise"),
                (b"", "empty"),
                (promise_much(), "a header that promises a petabyte"),
                (b"\x93NUMPY" + data, "another kind of file"),
            ]
        )
    return data, words


def promise_much() -> bytes:
    """A small .npz file whose arrays claim to be of a petabyte."""
    header, buffer = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**24, 2**24)})
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("videos", "labels", "scores", "classes"):
            archive.writestr(f"{name}.npy", header.getvalue())
    return buffer.getvalue()


class Maker:
    """Makes malformed documents in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        make_model(folder / "model")
        for label in "ab":
            (folder / "videos" / label).mkdir(parents=True)
            for i in range(4):
                write_video(folder / "videos" / label / f"{i}.mp4", "mpeg4", "yuv420p")
        self.video = str(folder / "videos" / "a" / "0.mp4")
        self.config = json.loads((folder / "model" / "config.json").read_text())
        self.config["network"] |= {"drop_rate": 0.5, "head_window": 7, "stages": ["2d", "full", "full", "full"]}
        self.state = load_file(folder / "model" / "model.safetensors")
        recipe = asdict(load_recipe("small", ["--data.train", str(folder / "videos"), "--run.dir", str(folder / "run")]))
        recipe["model"] |= {"stages": ["2d", "full", "full", "full"], "width": 8}
        recipe["optim"] |= {"epochs": 1, "milestones": [1, 2]}
        self.recipe = json.loads(json.dumps(recipe))
        scores = np.array([[0.25, 0.75], [0.5, 0.5], [0.625, 0.375]], np.float32)
        self.arrays = {"videos": np.array(["a", "b", "c"]), "labels": np.arange(3) % 2, "scores": scores}
        self.arrays["classes"] = np.array(["a", "b"])
        np.savez(folder / "right.npz", **self.arrays)

    def make(self, kind: str, i: int, chance: random.Random) -> Document:
        place = self.folder / f"{kind}_{i}"
        place.mkdir()
        return getattr(self, kind)(place, chance)

    def configs(self, place: Path, chance: random.Random) -> Document:
        text = json.dumps(self.config, indent=2).encode()
        field = change = ""
        if chance.random() < 0.25:
            text, change = damage_text(text, chance)
        else:
            document, field, change = change_values(self.config, chance, {"weights"})
            text = json.dumps(document).encode()
        (place / "config.json").write_bytes(text)
        os.link(self.folder / "model" / "model.safetensors", place / "model.safetensors")
        return Document(place / "config.json", ["predict", str(place), self.video], (field,), change)

    def weights(self, place: Path, chance: random.Random) -> Document:
        data, key, change = damage_tensors(self.state, chance)
        (place / "model.safetensors").write_bytes(data)
        os.link(self.folder / "model" / "config.json", place / "config.json")
        return Document(place / "model.safetensors", ["predict", str(place), self.video], (key,), change)

    def recipes(self, place: Path, chance: random.Random) -> Document:
        text = yaml.safe_dump(self.recipe).encode()
        field = change = ""
        if chance.random() < 0.25:
            text, change = damage_text(text, chance)
        else:
            document, field, change = change_values(self.recipe, chance, set())
            text = yaml.safe_dump(document).encode()
        (place / "recipe.yaml").write_bytes(text)
        return Document(place / "recipe.yaml", ["train", str(place / "recipe.yaml")], (field,), change)

    def scores(self, place: Path, chance: random.Random) -> Document:
        data, change = damage_arrays(self.arrays, chance)
        (place / "scores.npz").write_bytes(data)
        words = ["ensemble", str(self.folder / "right.npz"), str(place / "scores.npz")]
        return Document(place / "scores.npz", words, ("scores", "label", "video", "class"), change)

    def checkpoints(self, place: Path, chance: random.Random) -> Document:
        file = place / f"checkpoint{chance.choice(('.pth', '.safetensors'))}"
        data, _, change = damage_tensors({"layer1.0.conv1.weight": torch.zeros(8, 8, 1, 1), "fc.bias": torch.zeros(9)}, chance)
        if file.suffix == ".pth" and chance.random() < 0.5:
            buffer = io.BytesIO()
            torch.save(chance.choice([[], {}, {"a": 1}, "x", {"state_dict": torch.zeros(3)}, Counter(a=1)]), buffer)
            data, change = buffer.getvalue(), "no state dict"
        file.write_bytes(data)
        words = ["convert", str(file), str(place / "new"), "--source", "official", "--network", "smallbig50_extra"]
        return Document(file, words, ("",), change)


def run(words: list[str]) -> Ending:
    """Runs a command; what `in_processes` calls."""
    torch.set_num_threads(1)
    output, errors = io.StringIO(), io.StringIO()
    start = time.perf_counter()
    with redirect_stdout(output), redirect_stderr(errors):
        status = smallbig(words)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Ending(status, output.getvalue(), errors.getvalue(), time.perf_counter() - start, megabytes)


def find_fault(document: Document, ending: Ending) -> str:
    """What is wrong about how a command ended; empty if it ended as it should."""
    if ending.status not in (1, 2) or ending.output:
        return "no error"
    *notes, line = ending.errors.splitlines() or [""]
    if not line.startswith("smallbig: error: ") or "unexpected" in line.split(":")[2][:12]:
        return "no line"
    if any(not note.startswith("note: ") for note in notes) or len(line) > 800:
        return "more than a line"
    if document.file.name not in line:
        return "file not named"
    if not any(name in line for name in document.fields):
        return "field not named"
    return ""


def main(documents: int, seed: int, seconds: float) -> int:
    faults = 0
    print("| document | verb | malformed | exit status 1 | exit status 2 | other ends | longest, s | most memory, MB |")
    print("|---|---|---|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        maker = Maker(Path(folder))
        for kind in KINDS:
            made = [maker.make(kind, i, random.Random(f"{seed} {kind} {i}")) for i in range(documents)]
            endings = in_processes(run, [((document.words,), seconds) for document in made], workers=1)
            statuses: Counter[int] = Counter()
            longest = most = 0.0
            for i, (document, ending) in enumerate(zip(made, endings, strict=True)):
                fault = ending.reason if isinstance(ending, Failure) else find_fault(document, ending)
                if not isinstance(ending, Failure):
                    longest, most = max(longest, ending.seconds), max(most, ending.megabytes)
                    statuses[ending.status] += not fault
                if fault:
                    faults += 1
                    shown = "" if isinstance(ending, Failure) else (ending.errors or ending.output)[-400:]
                    print(f"{fault}: {kind} {i} of seed {seed}, {document.change}: {shown}", file=sys.stderr, flush=True)
            counts = f"{documents} | {statuses[1]} | {statuses[2]} | {documents - statuses.total()}"
            print(f"| {kind} | {made[0].words[0]} | {counts} | {longest:.1f} | {most:.0f} |", flush=True)
    return int(faults > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=200, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60, help="after which a command counts as hanging")
    arguments = parser.parse_args()
    sys.exit(main(arguments.documents, arguments.seed, arguments.seconds))
