"""Loops over single elements, as one writes them with pencil and paper: recognised in the syntax tree.

    for i in range(m):
        for j in range(n):
            acc = 0.0
            for k in range(p):
                acc += A[i, k] * B[k, j]
            C[i, j] = acc

Such a nest says what each element of a result is, and nothing of order: every counter only subscripts, every element is
stored once, and what goes from turn to turn is a sum. It becomes straight-line code without loops in which each
expression stands for all elements at once (see `elements.py`); a loop that is not of this form stays a loop.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

AXIS, ELEMENT, WIDEN, FOLD, PUT = (f"__pto_{name}__" for name in ("axis", "element", "widen", "fold", "put"))
ELEMENTS = "__pto_elements__"
Context = tuple[str, ...]  # counters of the loops around a statement, outermost first


class NotElements(Exception):
    """The loop is another one."""


def _call(name: str, *arguments: ast.expr, at: ast.AST) -> ast.expr:
    made = ast.Call(ast.Name(name, ast.Load()), list(arguments), [])
    return ast.fix_missing_locations(ast.copy_location(made, at))


def _names(names: Sequence[str]) -> ast.Tuple:
    return ast.Tuple([ast.Name(n, ast.Load()) for n in names], ast.Load())


def _set(name: str, value: ast.expr, at: ast.AST) -> ast.stmt:
    return ast.fix_missing_locations(ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], value), at))


def _count(node: ast.expr) -> ast.expr:
    """How often ``range(n)``, or ``range(0, n)``, runs."""
    if not isinstance(node, ast.Call) or node.keywords or not 1 <= len(node.args) <= 2:
        raise NotElements
    function = node.func
    if (function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")) != "range":
        raise NotElements
    first = node.args[0]
    if len(node.args) == 2 and not (isinstance(first, ast.Constant) and first.value == 0):
        raise NotElements
    return node.args[-1]


@dataclass
class Nest:
    """A nest under examination: what it becomes, or NotElements.

    Attributes:
        setitem: the name of the function that stores are calls of.
        bound: names that have a value before the nest.
        homes: the loops in which each name of the nest gets its value.
        subscripted: how many subscripts each tensor has.
        stored: tensors that are stored to.
        summed: the loops that names are sums over.
        counters: of all loops.
        free: names that are read, and have their value from before the nest.
        read: how the elements of each tensor are subscripted that are read.
        made_of: the tensors whose elements the value of each name is made of.
    """

    setitem: str
    bound: set[str]
    homes: dict[str, Context] = field(default_factory=dict)
    subscripted: dict[str, int] = field(default_factory=dict)
    stored: set[str] = field(default_factory=set)
    summed: dict[str, Context] = field(default_factory=dict)
    counters: set[str] = field(default_factory=set)
    free: set[str] = field(default_factory=set)
    read: dict[str, set[str]] = field(default_factory=dict)
    made_of: dict[str, set[str]] = field(default_factory=dict)

    def loop(self, node: ast.For, context: Context) -> list[ast.stmt]:
        """A loop: its counter stands for all its values."""
        if not isinstance(node.target, ast.Name) or node.orelse:
            raise NotElements
        counter = node.target.id
        if counter in context or counter in self.homes:
            raise NotElements
        if counter in self.counters:  # of a loop that is over: this is another axis
            counter = f"__pto_{counter}{len(self.counters)}__"
            for name in [n for s in node.body for n in ast.walk(s) if _is(n, node.target.id)]:
                name.id = counter
        self.counters.add(counter)
        inner = (*context, counter)
        made = [_set(counter, _call(AXIS, _count(node.iter), at=node.iter), node.iter)]
        for statement in node.body:
            made += self.statement(statement, inner)
        return made

    def statement(self, node: ast.stmt, context: Context) -> list[ast.stmt]:
        if isinstance(node, ast.For):
            return self.loop(node, context)
        if isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            return []
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and isinstance(node.op, ast.Add):
            return [self.sum(node.target.id, node.value, context, node)]
        if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
            raise NotElements
        name, value = node.targets[0].id, node.value
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == self.setitem:
            return [self.put(value, context, node)]
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add) and _is(value.left, name):
            return [self.sum(name, value.right, context, node)]
        if self.homes.get(name, context) != context or name in self.counters or name in self.free:
            raise NotElements
        made = self.expression(value, context, of=name)
        self.homes[name] = context
        return [_set(name, made, node)]

    def sum(self, name: str, term: ast.expr, context: Context, at: ast.stmt) -> ast.stmt:
        """``name += term`` in loops inside of those in which the name has its value."""
        home = self.homes.get(name)
        if home is None or context[:len(home)] != home or self.summed.get(name, context) != context:
            raise NotElements
        made = self.expression(term, context, but=name, of=name)
        if context != home:
            self.summed[name] = context
        times = ast.Constant(len(context) - len(home))
        return _set(name, _call(FOLD, ast.Name(name, ast.Load()), made, times, at=at), at)

    def put(self, call: ast.Call, context: Context, at: ast.stmt) -> ast.stmt:
        """``C[i, j] = value``, where the subscripts are the counters of all loops around; or ``C[i, j] += term`` in
        more loops.
        """
        target, where, value = call.args
        if not isinstance(target, ast.Name) or target.id in self.stored:
            raise NotElements
        counters = self.subscripts(where, context)
        self.note(target.id, len(counters))
        inner = tuple(c for c in context if c in counters)
        if inner != context[:len(inner)] or len(counters) != len(inner):
            raise NotElements
        if inner == context:
            made = self.expression(value, context)
        else:
            if not (isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add)
                    and ast.dump(value.left) == ast.dump(ast.Subscript(target, where, ast.Load()))):
                raise NotElements
            start = _call(ELEMENT, target, where, _names(inner), at=value.left)
            times = ast.Constant(len(context) - len(inner))
            made = _call(FOLD, start, self.expression(value.right, context, but=target.id), times, at=value)
        if self.read.get(target.id, set()) - {ast.dump(where)}:  # of another turn, before or after it is stored
            raise NotElements
        self.stored.add(target.id)
        return _set(target.id, _call(PUT, target, where, made, _names(inner), at=at), at)

    def note(self, name: str, count: int) -> None:
        """A tensor with so many subscripts, which has a value before the nest."""
        if name not in self.bound or self.subscripted.setdefault(name, count) != count:
            raise NotElements

    def subscripts(self, node: ast.expr, context: Context) -> list[str]:
        """The counters that are all that subscripts."""
        parts = node.elts if isinstance(node, ast.Tuple) else [node]
        found = [p.id for p in parts if isinstance(p, ast.Name) and p.id in context]
        if len(found) != len(parts) or len(set(found)) != len(found):
            raise NotElements
        return found

    def expression(self, node: ast.expr, context: Context, but: str = "", of: str = "") -> ast.expr:
        """An expression of elements, as one of tensors with an axis for each loop around it; `of` is its name."""
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        self.made_of.setdefault(of, set()).update(names, *(self.made_of.get(n, ()) for n in names))
        made: ast.expr = _Expression(self, context, but).visit(node)
        return made


def _is(node: ast.AST, name: str) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and node.id == name


def _is_extent(node: ast.Subscript) -> bool:
    """Is it ``x.shape[1]``, which is no element?"""
    value = node.value.args[0] if isinstance(node.value, ast.Call) and node.value.args else node.value
    return isinstance(value, ast.Attribute) and value.attr == "shape" and isinstance(node.slice, ast.Constant)


class _Expression(ast.NodeTransformer):
    """Rewrites the subscripts and names of one expression."""

    def __init__(self, nest: Nest, context: Context, but: str) -> None:
        self.nest, self.context, self.but = nest, context, but

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if _is_extent(node):
            return node
        if not isinstance(node.value, ast.Name):
            raise NotElements
        counters = self.nest.subscripts(node.slice, self.context)
        self.nest.note(node.value.id, len(counters))
        self.nest.read.setdefault(node.value.id, set()).add(ast.dump(node.slice))
        if node.value.id in self.nest.stored or node.value.id == self.but:
            raise NotElements
        return _call(ELEMENT, node.value, node.slice, _names(self.context), at=node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        name, nest = node.id, self.nest
        if name in nest.counters or name in nest.stored or name == self.but:
            raise NotElements
        home = nest.homes.get(name)
        if home is None:
            if name in nest.subscripted:
                raise NotElements
            nest.free.add(name)
            return _call(WIDEN, node, ast.Constant(-1), at=node) if name in nest.bound else node
        if nest.made_of[name] & nest.stored:  # its elements are what they were before the store
            raise NotElements
        inside = nest.summed.get(name, home)
        if self.context[:len(home)] != home or (inside != home and self.context[:len(inside)] == inside):
            raise NotElements
        return _call(WIDEN, node, ast.Constant(len(self.context) - len(home)), at=node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if isinstance(node.func, ast.Attribute):
            node.func.value = self.visit(node.func.value)
        node.args = [self.visit(a) for a in node.args]
        for keyword in node.keywords:
            keyword.value = self.visit(keyword.value)
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if not isinstance(node, ast.BinOp | ast.UnaryOp | ast.Constant | ast.Attribute | ast.Compare | ast.operator
                          | ast.unaryop | ast.cmpop | ast.expr_context):
            raise NotElements
        return super().generic_visit(node)


def raised(node: ast.For, live: set[str], bound: set[str], setitem: str) -> tuple[ast.expr, list[ast.stmt]] | None:
    """What a nest over elements becomes: a condition on its tensors, and statements without loops; None: it is no nest.

    Args:
        live: names that are read after it.
        setitem: the name of the function that stores are calls of.
    """
    nest = Nest(setitem, bound)
    try:
        made = nest.loop(copy.deepcopy(node), ())
    except NotElements:
        return None
    if not nest.stored or (set(nest.homes) | nest.counters) & live:
        return None
    pairs = [ast.Tuple([ast.Name(n, ast.Load()), ast.Constant(c)], ast.Load()) for n, c in nest.subscripted.items()]
    return _call(ELEMENTS, *pairs, at=node.iter), made
