"""What the README and docs/ tell people to type is what the commands take."""

import re
import shlex
from pathlib import Path

import pytest

from smallbignet import cli
from smallbignet.arguments import parse_call
from smallbignet.models.complexity import complexity
from smallbignet.models.zoo import SLOWFAST, build_model, list_models

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = [README, *(file.read_text(encoding="utf-8") for file in sorted(ROOT.glob("docs/*.md")))]
LINES = [line for text in TEXTS for line in text.splitlines() if line.startswith("$ smallbig ")]
COMMANDS = list(dict.fromkeys(line.removeprefix("$ ").split("  #")[0].strip() for line in LINES))


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    from importlib import import_module

    verb, *words = shlex.split(command)[1:]
    function = getattr(import_module(f"smallbignet.commands.{verb}"), verb)
    parse_call(function, f"smallbig {verb}", cli.VERBS[verb], words)


def test_the_main_verbs_are_shown():
    assert {command.split()[1] for command in COMMANDS} >= cli.VERBS.keys() - {"demo", "models"}


@pytest.mark.parametrize("name", list_models())
def test_the_networks_figures(name):
    cost = complexity(lambda: build_model(name), clip_len=8 * SLOWFAST.get(name, {}).get("alpha", 1))
    row = next(line for line in README.splitlines() if line.startswith("|") and re.search(rf"`{name}`", line))
    assert f"{cost.params / 1e6:.2f}" in row
    assert f"{cost.macs / 1e9:.2f}" in row or f"{cost.conv_macs / 1e9:.2f}" in row
