"""A kernel that shows a defect, made small: whatever can be left out or made smaller while the defect stays is.

The text is a tree. Changes are tried from large to small, until none is left that keeps the defect: statements left
out, loops and branches replaced by what is in them, expressions by a part of themselves, extents made smaller, options,
annotations and arguments dropped. What has no meaning any more is no case, so no change needs to know the language.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator

from tests.fuzz.case import Case
from tests.fuzz.judge import Senseless, judge

TRIES = 600
Shows = Callable[[Case], bool]


def kind_of(case: Case) -> str:
    """What is wrong with a case; nothing, where it has no meaning."""
    try:
        return judge(case).kind
    except (Senseless, SyntaxError):
        return ""


def shrink(case: Case, shows: Shows | None = None, tries: int = TRIES) -> Case:
    """The smallest case found that `shows` the defect: the same kind of it, unless said otherwise."""
    if shows is None:
        kind = kind_of(case).split(":")[0]
        shows = lambda c: kind_of(c).split(":")[0] == kind  # noqa: E731
    left = tries
    changed = True
    while changed and left > 0:
        changed = False
        for smaller in candidates(case):
            left -= 1
            if left <= 0:
                break
            if shows(smaller):
                case, changed = smaller, True
                break
    return case


def candidates(case: Case) -> Iterator[Case]:
    """Cases that are one change smaller."""
    for change in (without_statements, unwrapped, plainer, without_arguments, smaller_extents, simpler):
        for made in change(case):
            if made.text != case.text:
                yield made


def trees(case: Case) -> tuple[ast.Module, list[ast.stmt]]:
    """The tree of a case, and its statements."""
    tree = ast.parse(case.body)
    return tree, [n for n in ast.walk(tree) if isinstance(n, ast.stmt)]


def printed(case: Case, tree: ast.Module) -> Case:
    ast.fix_missing_locations(tree)
    return case.with_(body=ast.unparse(tree) + "\n")


def bodies(tree: ast.AST) -> list[list[ast.stmt]]:
    """Every list of statements, outer ones first."""
    found = []
    for node in ast.walk(tree):
        for field in ("body", "orelse"):
            part = getattr(node, field, None)
            if isinstance(part, list) and part:
                found.append(part)
    return found


def without_statements(case: Case) -> Iterator[Case]:
    """Without one statement; the last ones of a body first."""
    for number, body in enumerate(bodies(ast.parse(case.body))):
        for at in reversed(range(len(body))):
            tree = ast.parse(case.body)
            here = bodies(tree)[number]
            if isinstance(here[at], ast.Return) or (isinstance(here[at], ast.FunctionDef) and here[at].name == "k"):  # type: ignore[attr-defined]
                continue
            del here[at]
            if not here:
                here.append(ast.Pass())
            yield printed(case, tree)


def unwrapped(case: Case) -> Iterator[Case]:
    """With what is in a loop or branch in its place."""
    for number, body in enumerate(bodies(ast.parse(case.body))):
        for at, node in enumerate(body):
            for field in ("body", "orelse"):
                if isinstance(node, ast.For | ast.If) and getattr(node, field):
                    tree = ast.parse(case.body)
                    here = bodies(tree)[number]
                    here[at:at + 1] = getattr(here[at], field)
                    yield printed(case, tree)


def parts(node: ast.expr) -> list[ast.expr]:
    """What an expression may be replaced by."""
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp):
        return [node.operand]
    if isinstance(node, ast.Tuple):
        return [*node.elts, *(ast.Tuple(node.elts[:i] + node.elts[i + 1:], ast.Load()) for i in range(len(node.elts)))]
    if isinstance(node, ast.Call):
        method = [node.func.value] if isinstance(node.func, ast.Attribute) and not (
            isinstance(node.func.value, ast.Name) and node.func.value.id == "pt") else []
        return [*method, *node.args]
    return []


def plainer(case: Case) -> Iterator[Case]:
    """With an expression replaced by a part of it."""
    places = [(i, len(parts(n))) for i, n in enumerate(ast.walk(ast.parse(case.body))) if isinstance(n, ast.expr)]
    for place, count in places:
        for part in range(count):
            tree = ast.parse(case.body)
            node = list(ast.walk(tree))[place]
            assert isinstance(node, ast.expr)
            chosen = copy.deepcopy(parts(node)[part])
            yield printed(case, _Put(node, chosen).visit(tree))


class _Put(ast.NodeTransformer):
    """One node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def the_kernel(tree: ast.Module) -> ast.FunctionDef:
    return next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "k")


def without_arguments(case: Case) -> Iterator[Case]:
    """Without an argument that nothing reads, without annotations, without options."""
    tree = ast.parse(case.body)
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    for name in case.arguments:
        if name not in used and len(case.arguments) > 1:
            tree = ast.parse(case.body)
            args = the_kernel(tree).args
            args.args = [a for a in args.args if a.arg != name]
            yield printed(case, tree).with_(arguments={n: a for n, a in case.arguments.items() if n != name})
    for at, arg in enumerate(the_kernel(ast.parse(case.body)).args.args):
        if arg.annotation is not None and not isinstance(case.arguments.get(arg.arg), int):
            tree = ast.parse(case.body)
            the_kernel(tree).args.args[at].annotation = None
            yield printed(case, tree)
    decorator = the_kernel(ast.parse(case.body)).decorator_list[0]
    for at in range(len(decorator.keywords) if isinstance(decorator, ast.Call) else 0):
        tree = ast.parse(case.body)
        call = the_kernel(tree).decorator_list[0]
        assert isinstance(call, ast.Call)
        del call.keywords[at]
        yield printed(case, tree)


def smaller_extents(case: Case) -> Iterator[Case]:
    """With another, smaller number for all extents and constants of one size."""
    sizes = {n for what in case.arguments.values() if not isinstance(what, int) for n in what[1:]}
    for size in sorted(sizes - {1}, reverse=True):
        for less in sorted({1, 2, size // 2, size - 1} - {0, size}):
            tree = ast.parse(case.body)
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and node.value == size and isinstance(node.value, int):
                    node.value = less
                elif isinstance(node, ast.Constant) and node.value == f"E{size}":
                    node.value = f"E{less}"
            arguments = {n: a if isinstance(a, int) else (a[0], *(less if e == size else e for e in a[1:]))
                         for n, a in case.arguments.items()}
            yield printed(case, tree).with_(arguments=arguments)


def simpler(case: Case) -> Iterator[Case]:
    """With smaller integers of the call."""
    for name, value in case.arguments.items():
        if isinstance(value, int):
            for less in sorted({0, 1, value - 1}):
                if 0 <= less < value:
                    yield case.with_(arguments=case.arguments | {name: less})
