"""What the README and the other pages tell people to type and to open is what there is."""

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import yaml

import smallbignet
from smallbignet import cli
from smallbignet.arguments import parse_call
from smallbignet.models.complexity import complexity
from smallbignet.models.zoo import SLOWFAST, build_model, list_models
from smallbignet.training import settings
from smallbignet.training.auto import Facts

ROOT = Path(__file__).parents[1]
FOLDERS = ("docs", "examples", "experiments", "src/smallbignet/recipes")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}

FILES = [file for folder in ("src", "tests", "examples", "experiments") for file in (ROOT / folder).rglob("*.py")]

CODE = re.compile(r"^```\w*\n(.*?)^```|((?:^    .*\n)+)", re.MULTILINE | re.DOTALL)  # between fences, or indented
LINK = re.compile(r"""\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)\"""")


def code_lines(text: str) -> list[str]:
    """The lines of a page's code, without prompts and comments; a line that goes on after a backslash is one."""
    blocks = "".join(fenced or indented for fenced, indented in CODE.findall(text)).replace("\\\n", "")
    return [line.strip().removeprefix("$ ").split("  #")[0].strip() for line in blocks.splitlines()]


VERB = re.compile(r"(?:.* -m smallbignet|(?:\w+=\S+ )*smallbig) (.+)")
COMMANDS = sorted({found[1] for text in TEXTS.values() for line in code_lines(text) if (found := VERB.fullmatch(line))})


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command, monkeypatch):
    facts = Facts(["left", "right"], 48, 24, 24, 60, 256, gpu=False, cores=2, has_lite=False)
    monkeypatch.setattr(settings, "find_facts", lambda data, device: facts)  # the recipe `auto` looks at the data
    verb, *words = shlex.split(command)
    function = getattr(import_module(f"smallbignet.commands.{verb}"), verb)
    parse_call(function, f"smallbig {verb}", cli.VERBS[verb], words)


def test_every_verb_is_shown():
    assert {command.split()[0] for command in COMMANDS} >= cli.VERBS.keys() - {"demo"}


def test_the_first_command_is_the_demo():
    assert code_lines(TEXTS["README.md"])[0] == "make demo"


@pytest.mark.parametrize("page", TEXTS)
def test_programs_and_tests_exist(page):
    for words in re.findall(r"(?:python|pytest) ([^`\n]+)", TEXTS[page]):
        for path in re.findall(r"(?:examples|experiments|tests)/[\w./]+", words):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    for link in (first or second for first, second in LINK.findall(TEXTS[page])):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(page for page in TEXTS if page.startswith("docs"))])
def test_files_named_exist(page):
    for name in re.findall(r"(?<![*\w])[\w/]*\w+\.py\b", TEXTS[page]):
        assert any(file.as_posix().endswith(f"/{name}") for file in FILES), name


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


PYTHON = [(page, code) for page, text in TEXTS.items() for code in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)]


@pytest.mark.parametrize(("page", "code"), PYTHON, ids=[page for page, _ in PYTHON])
def test_python_names_exist(page, code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "smallbignet":
            assert hasattr(smallbignet, node.attr), node.attr


@pytest.mark.parametrize("name", list_models())
def test_the_networks_figures(name):
    cost = complexity(lambda: build_model(name), clip_len=8 * SLOWFAST.get(name, {}).get("alpha", 1))
    rows = TEXTS["docs/networks.md"].splitlines()
    row = next(line for line in rows if line.startswith("|") and f"`{name}`" in line)
    assert f"{cost.params / 1e6:.2f}" in row
    assert f"{cost.macs / 1e9:.2f}" in row


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == smallbignet.__version__
