"""The command line's contracts."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from importlib import import_module

import pytest

from smallbignet import cli
from smallbignet.arguments import parse_call
from smallbignet.cli import VERBS, main
from smallbignet.data.options import DataSource, VideoOptions


def test_help_imports_nothing_slow():
    """It takes 0.05 s, of which Python itself needs 0.02 s; jsonargparse would take 0.1 s more, and torch 2 s."""
    code = "import sys, smallbignet.cli as c; c.main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "jsonargparse", "rich", "yaml"} & set(done.stderr.split())
    assert done.stdout.startswith("usage: smallbig VERB")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb, capsys):
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert left.value.code == 0 and f"example: smallbig {verb}" in text and "--json" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], "trian"),
        (["predict", "nowhere", "x.mp4"], "x.mp4"),
        (["predict"], "required"),
        (["evaluate", "nowhere", "nothing"], "nowhere"),
        (["train"], "recipe"),
        (["train", "nothing"], "nothing"),
        (["train", "small"], "--data.train"),
        (["train", "small", "--optim.lr", "fast"], "optim.lr"),
        (["train", "small", "--optim.lrr", "1"], "unknown option optim.lrr; did you mean optim.lr? (smallbig train --help)"),
        (["train", "small", "--batch_size=8"], "did you mean optim.batch_size?"),
        (["train", "small", "--augment.flip_pairs", "86,87"], "[[86, 87]]"),
        (["train", "smal"], "did you mean small?"),
        (["predct"], "did you mean predict?"),
        (["predict", "slow_r5", __file__], "did you mean slow_r50?"),
        (["models", "resnet*"], "resnet*"),
        (["models", "smalbig_r50"], "did you mean smallbig_r50?"),
        (["models", "--clip", "8"], "8"),
        (["convert", "no.pth", "out", "--network", "res50"], "no.pth"),
        (["check", "nowhere"], "nowhere"),
    ],
    ids=" ".join,
)
def test_a_users_mistake_is_one_line_and_status_2(words, expected, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("smallbig: error: ") and err.count("\n") == 1 and expected in err


READ_LISTS = ["evaluate", "check", "prepare"]


@pytest.mark.parametrize("verb", [*READ_LISTS, "predict", "timeline", "embed", "train"])
def test_every_verb_tells_the_same_of_an_option_of_the_data(verb, capsys):
    def helps(name: str) -> dict[str, str]:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        parts = re.split(r"\n\n|\n  --", capsys.readouterr().out)
        return {part.split()[0]: " ".join(part.split()) for part in parts if part.startswith("data.")}

    described = helps("evaluate")
    options = VideoOptions if verb in ("predict", "timeline", "embed") else DataSource
    wanted = {name: described[name] for name in (f"data.{option.name}" for option in fields(options))}
    found = helps(verb)
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (["--data.root", "r", "--data.path_column=p"], ""),
        (
            ["--root", "r", "--path_column=p"],
            "note: --root, --path_column still works, but is now written --data.root, --data.path_column\n",
        ),
    ],
)
@pytest.mark.parametrize(("verb", "named"), [("evaluate", "MODEL DATA"), ("check", "DATA"), ("prepare", "DATA TARGET")])
def test_options_of_the_data_in_both_spellings(verb, named, words, note, capsys):
    function = getattr(import_module(f"smallbignet.commands.{verb}"), verb)
    arguments, _ = parse_call(function, verb, VERBS[verb], [*named.split(), *words])
    assert arguments["source"] == DataSource(root="r", path_column="p")
    assert arguments["data"] == (["DATA"] if verb == "check" else "DATA")
    assert capsys.readouterr().err == note


def test_an_unexpected_error_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(cli, "run", lambda name, words: 1 / 0)
    assert main(["models"]) == 1
    expected = "unexpected ZeroDivisionError: division by zero (--debug shows where; please report it)"
    assert capsys.readouterr().err == f"smallbig: error: {expected}\n"
    with pytest.raises(ZeroDivisionError):
        main(["models", "--debug"])


def test_a_reader_that_has_seen_enough_is_no_error():
    code = "import smallbignet.cli as c; c.run = lambda *_: print('x' * 10**6); c.main(['models'])"
    command = f'"{sys.executable}" -c "{code}" | head -c 1'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("x", "")


def test_debug_shows_the_traceback():
    with pytest.raises(Exception, match="nowhere"):
        main(["predict", "nowhere", __file__, "--debug"])


def test_nothing_is_squeezed_into_a_pipe(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["models", "smallbig_s*"]) == 0
    assert "│ 2d, 2d+extra, 3d+extra, 3d+extra │" in capsys.readouterr().out


def test_models_as_json(capsys):
    assert main(["models", "smallbig_r*", "--clip", "4x112", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer["networks"]) == ["smallbig_r23", "smallbig_r50", "smallbig_r101"]
    assert answer["networks"]["smallbig_r50"]["params"] == 32_292_816


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_is_always_valid(number, monkeypatch, capsys):
    """A result that JSON can't say is an error, and nothing is printed on standard output."""
    import smallbignet.commands.models as verb

    monkeypatch.setattr(verb, "models", lambda: {"top1": number})
    assert main(["models", "--json"]) == 1
    out, err = capsys.readouterr()
    assert (
        out == ""
        and err == "smallbig: error: the result has NaN or infinite numbers, which JSON doesn't have; leave out --json\n"
    )
