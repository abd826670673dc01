"""The rules of the house, checked on every import in src/, those inside functions and for type checkers included."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
FRONT = {"smallbignet", "smallbignet.cli", "smallbignet.__main__"}  # what hands the commands to people
MAY_IMPORT_COMMANDS = {"smallbignet.commands.demo", "smallbignet.commands.ablate"}


def read_imports(src: Path) -> dict[str, set[str]]:
    """The modules that each module below `src` imports, of those that are there."""
    files = {
        ".".join(file.relative_to(src).with_suffix("").parts).removesuffix(".__init__"): file for file in src.rglob("*.py")
    }
    imports = {}
    for module, file in files.items():
        found = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative imports are not followed here"
                found |= {
                    node.module if f"{node.module}.{n.name}" not in files else f"{node.module}.{n.name}" for n in node.names
                }
        imports[module] = found & files.keys()
    return imports


def by_room(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same between rooms; a module at the top of the package is a room of its own."""
    rooms: dict[str, set[str]] = {}
    for module, imported in imports.items():
        rooms.setdefault(room(module), set()).update(map(room, imported))
    return {name: others - {name} for name, others in rooms.items()}


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def find_circle(imports: dict[str, set[str]]) -> list[str]:
    """The modules of a circle of imports in their order, the first one again at the end; empty if there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


def forbidden(imports: dict[str, set[str]]) -> list[str]:
    """Imports of commands, by things or by other commands."""
    importers = imports.keys() - FRONT - MAY_IMPORT_COMMANDS
    pairs = [(module, other) for module in sorted(importers) for other in sorted(imports[module])]
    return [f"{module} imports {other}" for module, other in pairs if other.startswith("smallbignet.commands.")]


@pytest.fixture(scope="module")
def imports():
    return read_imports(SRC)


def test_no_circle_between_files(imports):
    assert len(imports) > 50
    assert find_circle(imports) == []


def test_no_circle_between_rooms(imports):
    rooms = by_room(imports)
    assert "smallbignet.models" in rooms["smallbignet.weights"]
    assert find_circle(rooms) == []


def test_only_the_front_door_demo_and_ablate_import_commands(imports):
    assert forbidden(imports) == []
    assert forbidden({"smallbignet.data.video": {"smallbignet.commands.check", "smallbignet.errors"}}) == [
        "smallbignet.data.video imports smallbignet.commands.check"
    ]


@pytest.mark.parametrize(
    "line",
    [
        "import house.two",
        "from house import two",
        "from house.two import x",
        "def f():\n    from house.two import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house import two",
    ],
)
def test_a_circle_is_found_however_it_is_written(line, tmp_path):
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "__init__.py").touch()
    (tmp_path / "house" / "one.py").write_text(line)
    (tmp_path / "house" / "two.py").write_text("from house.one import y")
    assert sorted(set(find_circle(read_imports(tmp_path)))) == ["house.one", "house.two"]
