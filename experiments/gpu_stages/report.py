"""The table of what was found, and the aims."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

FASTER, FASTER_THAN_BEST, LEANER = 2.5, 1.5, 0.5  # ours beside plain eager, beside plain's best form; memory beside plain's
OVER_FLOOR, LATENCY = 1.5, 4.0  # of a batch of answers; milliseconds of one
PLAIN = ("plain", "channels_last", "plain compiled", "channels_last compiled")
OURS = ("ours", "ours compiled")
NAMED = 20  # failed tests; the log has all
TAKEN = ("began", "seconds")  # of every piece
Pieces = dict[str, dict[str, Any]]


def report(results: dict[str, Any]) -> str:
    """Return Markdown: a row for each piece, the aims, the operations that take longest, and the tests that failed."""
    pieces: Pieces = results["pieces"]
    lines = [", ".join(results["where"].values()), "", "| stage | what | found | state |", "|---|---|---|---|"]
    for key, found in pieces.items():
        stage, name = key.split(": ", 1)
        lines += [f"| {stage} | {name} | {text} | {found['state']} |" for text in ROWS[stage](name, found, pieces) or [""]]
    lines += ["", "| aim | reached | aimed at |", "|---|---|---|"]
    lines += [f"| {what} | {reached} | {aim} |" for what, reached, aim in aims(pieces)]
    lines += ["", *longest(pieces), ""]
    for name, reason in list(pieces.get("tests: pytest -m gpu", {}).get("failed", {}).items())[:NAMED]:
        lines.append(f"failed: {name}: {reason}")
    return "\n".join(lines) + "\n"


def _tests(name: str, found: dict[str, Any], pieces: Pieces) -> list[str]:
    counts = found.get("counts", {})
    slowest = ", ".join(f"{name.rpartition('::')[2]} {seconds} s" for name, seconds in found.get("slowest", []))
    return [", ".join(f"{count} {outcome}" for outcome, count in counts.items()) + (f"; slowest: {slowest}" if slowest else "")]


def _training(name: str, found: dict[str, Any], pieces: Pieces) -> list[str]:
    if "tflops" in found:
        rates = ", ".join(f"{rate:.0f} in {precision}" for precision, rate in found["tflops"].items())
        return [f"copy {found['copy_gb_per_second']} GB/s; TFLOP/s: {rates}"]
    texts = []
    for kind, figures in sets_of_figures(found):
        middle, low, high = figures["clips_per_second"]
        memory = f", {figures['mb_a_clip']} MB a clip" if "mb_a_clip" in figures else ""
        over = times_floor(middle, name, "bf16", pieces, passes=3)
        texts.append(f"{figures['batch']} clips{kind}: {middle:.1f} clips/s ({low:.1f} to {high:.1f}){memory}{over}")
    texts += [f"{found['fits']} clips fit"] if "fits" in found else []
    texts += [f"{found['graph_breaks']} graph breaks"] if "graph_breaks" in found else []
    return ["; ".join(texts)]


def sets_of_figures(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what was measured of a training, each with what is particular about it."""
    for kind, figures in (("", found), ("", found.get("larger", {})), (", CUDA graph", found.get("graph", {}))):
        if "clips_per_second" in figures:
            yield kind, figures


def _inference(name: str, found: dict[str, Any], pieces: Pieces) -> list[str]:
    texts: dict[str, list[str]] = {}
    for case, figures in found.items():
        if isinstance(figures, dict):
            precision, *rest = case.split()
            text = " ".join(["batch", *rest])
            if "ms" in figures:
                text += ": {:.2f} ms ({:.2f} to {:.2f})".format(*figures["ms"])
            else:
                text += f": {figures['clips_per_second'][0]:.0f} clips/s"
                text += times_floor(figures["clips_per_second"][0], name, precision, pieces, passes=1)
            texts.setdefault(precision, []).append(text)
    return [f"{precision}: {'; '.join(each)}" for precision, each in texts.items()]


def _equality(name: str, found: dict[str, Any], pieces: Pieces) -> list[str]:
    texts = []
    if "difference" in found:
        word = "" if found["difference"] <= found["bound"] else ": TOO FAR"
        texts.append(f"{found['difference']:.1e} from the CPU's, bound {found['bound']:.1e}{word}")
    texts += [f"plain PyTorch's {found['plain']:.1e}"] if "plain" in found else []
    return ["; ".join(texts)]


def _learning(name: str, found: dict[str, Any], pieces: Pieces) -> list[str]:
    curve = ", ".join(f"{loss:.2f}" for loss in found.get("train loss", []))
    top1 = ", ".join(f"{share:.0%}" for share in found.get("val top1", []))
    rate = f"; {found['clips_per_second']} clips/s" if "clips_per_second" in found else ""
    return [f"loss {curve}; validation {top1}{rate}"] if curve else []


def _decoding(name: str, found: dict[str, Any], pieces: Pieces) -> list[str]:
    rates = {name: rate for name, rate in found.items() if isinstance(rate, float) and name not in TAKEN}
    wanted = max((best(pieces, f"training: {form}") for form in OURS), default=0)
    text = []
    for name, rate in rates.items():
        text.append(f"{name}: {rate:.0f} clips/s" + (f", {math.ceil(wanted / rate)} cores feed {wanted:.0f}" if wanted else ""))
    text += [f"{found['cores']} cores here"] if "cores" in found else []
    return ["; ".join(text)]


ROWS: dict[str, Callable[[str, dict[str, Any], Pieces], list[str]]] = {
    "tests": _tests,
    "training": _training,
    "inference": _inference,
    "equality": _equality,
    "learning": _learning,
    "decoding": _decoding,
}


def floor_seconds(model: str, precision: str, pieces: Pieces, passes: int) -> tuple[float, float]:
    """Return the least seconds that a clip could take, and those that memory alone takes; (0, 0) where that is not known.

    These are `smallbignet.timing.floors.Floor`'s. This file does without PyTorch, whose import takes seconds.
    """
    found, floors = pieces.get("training: ceilings", {}), pieces.get("training: floors", {}).get("floors", {})
    if precision not in found.get("seconds_a_mac", {}) or not floors:
        return 0, 0
    counted = floors.get(model) or next(iter(floors.values()))  # which are our network's
    size = 2 if precision in ("bf16", "fp16") else 4
    memory = passes * counted["elements"] * size * found["seconds_a_byte"]
    return max(memory, passes * counted["macs"] * found["seconds_a_mac"][precision]), memory


def times_floor(rate: float, name: str, precision: str, pieces: Pieces, passes: int) -> str:
    """Say how many times as long as the least possible a rate in clips per second means."""
    if name == "mvit_v2_s":  # convolutions are the least of it
        return ""
    least, memory = floor_seconds(name, precision, pieces, passes)
    return f", {1 / rate / least:.1f} x the floor, {1 / rate / memory:.1f} x memory's" if least else ""


def best(pieces: Pieces, key: str) -> float:
    """Return the most clips per second of a training; 0 where there are none."""
    return max((figures["clips_per_second"][0] for _, figures in sets_of_figures(pieces.get(key, {}))), default=0)


def aims(pieces: Pieces) -> Iterator[tuple[str, str, str]]:
    """Yield what is aimed at, what was reached, and the aim."""
    ours = max(best(pieces, f"training: {name}") for name in OURS)
    eager, any_form = best(pieces, "training: plain"), max(best(pieces, f"training: {name}") for name in PLAIN)
    if ours and eager:
        yield "training, ours by plain eager", f"{ours / eager:.2f} x", f"{FASTER} x"
        yield "training, ours by the best of plain's forms", f"{ours / any_form:.2f} x", f"{FASTER_THAN_BEST} x"
    memory = [pieces.get(f"training: {name}", {}).get("mb_a_clip", 0) for name in ("ours", "plain")]
    if all(memory):
        yield "training, memory of ours by plain's", f"{memory[0] / memory[1]:.2f}", f"at most {LEANER}"
    rates = [rate for name in OURS for rate in _answers(pieces.get(f"inference: {name}", {}), "clips_per_second")]
    least, _ = floor_seconds("", "bf16", pieces, 1)
    if rates and least:
        yield "inference of a batch in bf16, by the floor", f"{1 / max(rates) / least:.2f} x", f"at most {OVER_FLOOR} x"
    latencies = [ms for name in OURS for ms in _answers(pieces.get(f"inference: {name}", {}), "ms")]
    if latencies:
        yield "latency of one clip in bf16", f"{min(latencies):.2f} ms", f"at most {LATENCY} ms"


def _answers(found: dict[str, Any], figure: str) -> Iterable[float]:
    """Return the medians of a figure of inference in bfloat16."""
    return [each[figure][0] for case, each in found.items() if case.startswith("bf16") and figure in each]


def longest(pieces: Pieces) -> Iterator[str]:
    """Yield the operations that take longest."""
    found = {name: top for name, top in pieces.get("training: operations", {}).items() if isinstance(top, list)}
    found |= {key: each["top"] for key, each in pieces.items() if "top" in each}
    for name, top in found.items():
        yield f"{name}: " + ", ".join(f"{operation} {share:.0%}" for operation, share in top) + "  "
