"""The rooms: imports point strictly down, files and functions stay small, nothing executes data."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "pto"
FILES = sorted(ROOT.rglob("*.py"))
RANK = {"core": 0, "isa": 1, "quant": 1, "ir": 2, "sim": 2, "cost": 3, "lang": 3, "passes": 4, "runtime": 5,
        "models": 6, "precision": 6, "tools": 6, "nn": 6, "symbolic": 6, "codegen": 6, "cli": 7}
DOORS = {"__init__.py": "import_module", "cli/lazy.py": "import_module", "cli/sources.py": "import_module",
         "sim/jit.py": "import_module", "models/tokenizer.py": "import_module"}
EXEC = {"lang/capture.py": {"exec", "compile"}, "sim/compile.py": {"compile"}}
TREES = {path: ast.parse(path.read_text()) for path in FILES}


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[0].removesuffix(".py") if parts else ""


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def each(*, but: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    paths = [p for p in FILES if str(p.relative_to(ROOT)) not in but]
    return pytest.mark.parametrize("path", paths, ids=lambda p: str(p.relative_to(ROOT)))


@each(but=("__init__.py", "__main__.py"))
def test_imports_point_strictly_down(path):
    mine = RANK[room(path)]
    for line, name in imports(TREES[path]):
        parts = name.split(".")
        if parts[0] == "pto" and len(parts) > 1 and parts[1] in RANK and parts[1] != room(path):
            assert RANK[parts[1]] < mine, f"{path}:{line} imports {name}"


@each()
def test_no_import_inside_a_function(path):
    allowed = DOORS.get(str(path.relative_to(ROOT)))
    for function in functions(TREES[path]):
        for node in ast.walk(function):
            assert not isinstance(node, ast.Import | ast.ImportFrom), f"{path}:{node.lineno}"
            if isinstance(node, ast.Name) and node.id in ("import_module", "__import__"):
                assert allowed, f"{path}:{node.lineno} imports late"


@each()
def test_functions_and_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 600 or "table" in path.parts
    for function in functions(TREES[path]):
        assert (function.end_lineno or 0) - function.lineno < 60, f"{path}:{function.lineno} {function.name}"


@each()
def test_nothing_executes_data(path):
    allowed = EXEC.get(str(path.relative_to(ROOT)), set())
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec", "compile"} - allowed, f"{path}:{node.lineno}"
    for line, name in imports(TREES[path]):
        assert name.split(".")[0] not in ("pickle", "marshal", "shelve", "dill", "cloudpickle"), f"{path}:{line}"


@each()
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(TREES[path]) or not path.read_text().strip()


def test_storage_of_networkx_is_known_to_one_file():
    users = {str(p.relative_to(ROOT)) for p in FILES
             for n in ast.walk(TREES[p]) if isinstance(n, ast.Attribute) and n.attr == "MultiDiGraph"}
    assert users == {"ir/graph.py"}


def test_numba_is_imported_in_the_simulator_only():
    users = {room(p) for p in FILES for _, name in imports(TREES[p]) if name.split(".")[0] in ("numba", "llvmlite")}
    assert users == {"sim"}


def test_the_interpreter_shares_nothing_with_the_lowering_that_it_judges():
    assert not [name for _, name in imports(TREES[ROOT / "runtime" / "interpret.py"]) if name.startswith("pto.passes")]


def test_syntax_trees_are_made_in_one_place():
    """CPython 3.11 fails where two threads make some at once (its issue 106905): that place has a lock."""
    users = {str(p.relative_to(ROOT)) for p in FILES for n in ast.walk(TREES[p])
             if isinstance(n, ast.Attribute) and ast.unparse(n) == "ast.parse"}
    assert users == {"lang/capture.py"}
