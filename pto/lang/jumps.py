"""`break`, `continue` and counting `while` as what a loop of the program has: conditions, and a range.

A loop of the program ends at its bound. A turn that is left is one whose rest does not run: `continue` sets a name that
says so, `break` another one that later turns look at. A `while` that counts is a `for` over the range that it counts
through. All of this is on the syntax tree, before names are looked at.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence

STEPS = (ast.Lt, ast.LtE)


def jumps(body: Sequence[ast.stmt]) -> set[type[ast.stmt]]:
    """Which of break, continue and return a loop's body has, those of loops in it left out."""
    found: set[type[ast.stmt]] = set()
    for node in body:
        if isinstance(node, ast.Break | ast.Continue | ast.Return):
            found.add(type(node))
        elif isinstance(node, ast.If):
            found |= jumps([*node.body, *node.orelse])
        elif isinstance(node, ast.For | ast.While):
            found |= {ast.Return} & jumps([*node.body, *node.orelse])
            found |= jumps(node.orelse)
        elif isinstance(node, ast.With):
            found |= jumps(node.body)
    return found


def _set(name: str, value: int, node: ast.AST) -> ast.stmt:
    made = ast.Assign([ast.Name(name, ast.Store())], ast.Constant(value))
    return ast.fix_missing_locations(ast.copy_location(made, node))


def _unless(name: str, body: list[ast.stmt], node: ast.AST) -> ast.stmt:
    """A body that runs unless a name is 1."""
    test = ast.BinOp(ast.Constant(1), ast.Sub(), ast.Name(name, ast.Load()))
    return ast.fix_missing_locations(ast.copy_location(ast.If(test, body, []), node))


def without(node: ast.For, number: int) -> list[ast.stmt] | None:
    """A `for` without break and continue, and what is set before it; None where it has what conditions cannot say."""
    found = jumps(node.body)
    if ast.Return in found or node.orelse or any(isinstance(s, ast.With) and jumps([s]) for s in ast.walk(node)):
        return None
    skip, over = f"__pto_skip{number}__", f"__pto_over{number}__"
    body = [_set(skip, 0, node), *_rest(copy.deepcopy(node.body), skip, over)]
    before: list[ast.stmt] = []
    if ast.Break in found:
        before, body = [_set(over, 0, node)], [_unless(over, body, node)]
    made = ast.For(copy.deepcopy(node.target), node.iter, body, [], None)
    return [*before, ast.fix_missing_locations(ast.copy_location(made, node))]


def _rest(body: Sequence[ast.stmt], skip: str, over: str) -> list[ast.stmt]:
    """Statements of a turn, each under the condition that no earlier one left it."""
    made: list[ast.stmt] = []
    for position, node in enumerate(body):
        if isinstance(node, ast.Break | ast.Continue):
            return [*made, _set(skip, 1, node), *([_set(over, 1, node)] if isinstance(node, ast.Break) else [])]
        if not (isinstance(node, ast.If) and jumps([node])):
            made.append(node)
            continue
        inner = ast.If(node.test, _rest(node.body, skip, over), _rest(node.orelse, skip, over))
        made.append(ast.copy_location(inner, node))
        if after := _rest(body[position + 1:], skip, over):
            made.append(_unless(skip, after, body[position + 1]))
        return made
    return made


def counted(node: ast.While, assigned: set[str]) -> tuple[str, ast.expr, ast.expr] | None:
    """(name, bound, step) of a `while name < bound` whose last statement adds a step to the name, which nothing else
    changes, and neither bound nor step; `assigned` are the names that the body binds.
    """
    test, last = node.test, node.body[-1]
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], STEPS)
            and isinstance(test.left, ast.Name) and not node.orelse and not jumps(node.body)):
        return None
    if not (isinstance(last, ast.AugAssign) and isinstance(last.op, ast.Add) and isinstance(last.target, ast.Name)):
        return None
    bound, step = test.comparators[0], last.value
    name = test.left.id
    stored = [n.id for s in node.body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    read = {n.id for e in (bound, step) for n in ast.walk(e) if isinstance(n, ast.Name)}
    if last.target.id != name or stored.count(name) != 1 or read & assigned:
        return None
    if isinstance(test.ops[0], ast.LtE):
        bound = ast.copy_location(ast.BinOp(bound, ast.Add(), ast.Constant(1)), bound)
    return name, bound, step
