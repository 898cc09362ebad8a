"""Python control flow to calls: the syntax tree of a kernel is rewritten before it is traced.

`for` over a range becomes a call of `__pto_for__` with the body as a nested function whose parameters are
the counter and the carried names; a name is carried when the body assigns it, it has a value before the
loop, and that value is read (by a later iteration, or after the loop). `x[...] = v` becomes
`x = __pto_setitem__(x, ..., v)` first, so that stores are found by the same rule. `if` keeps its plain form for
conditions that Python knows, and gets a second one for conditions of the program: a branch is a loop of none or one
iteration, so that everything that is true of loops (carried names, flags, slots) is true of branches.
"""

from __future__ import annotations

import ast
import copy
import linecache
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from types import CellType, CodeType, FunctionType
from typing import Any

from pto.core.errors import CaptureError, Loc
from pto.lang import jumps, nests

FOR, SETITEM, RANGE, RESULT = "__pto_for__", "__pto_setitem__", "__pto_range__", "__pto_result__"
SYNTAX = Lock()  # CPython 3.11 counts the depth of the syntax trees of all threads together (its issue 106905)
WHILE, COUNTED = "__pto_while__", "__pto_counted__"
KERNEL, LIFT = "__pto_kernel__", "__pto_lift__"
STORE = "__pto_store__"
SYMBOLIC, BRANCH = "__pto_symbolic__", "__pto_branch__"
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def names(nodes: Iterable[ast.AST], context: type[ast.expr_context]) -> set[str]:
    """Names that occur in a context, nested functions included."""
    found = (n for node in nodes for n in ast.walk(node))
    return {n.id for n in found if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def loads(*nodes: ast.AST) -> set[str]:
    """Names that are read; an augmented assignment reads its target."""
    extra = {n.target.id for node in nodes for n in ast.walk(node)
             if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)}
    return names(nodes, ast.Load) | extra


def stores(*nodes: ast.AST) -> set[str]:
    """Names bound by statements; a nested function binds its own name only."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name):
            found |= {node.id} if isinstance(node.ctx, ast.Store) else set()
        elif not isinstance(node, _SCOPES):
            found |= stores(*ast.iter_child_nodes(node))
    return found


def live_before(block: Sequence[ast.stmt], live: set[str]) -> set[str]:
    """Names whose value is needed before a block, given those needed after it."""
    for statement in reversed(block):
        live = _live(statement, live)
    return live


def _live(node: ast.stmt, live: set[str]) -> set[str]:
    if isinstance(node, ast.If):
        return loads(node.test) | live_before(node.body, live) | live_before(node.orelse, live)
    if isinstance(node, ast.For):
        again = live_before(node.body, live) - stores(node.target)
        again = live_before(node.body, live | again) - stores(node.target)
        return loads(node.iter) | again | live_before(node.orelse, live) | live
    if isinstance(node, ast.While):
        again = live_before(node.body, live)
        return loads(node.test) | live_before(node.body, live | again) | live
    if isinstance(node, ast.With):
        return loads(*node.items) | live_before(node.body, live)
    if isinstance(node, ast.Return):
        return loads(node)
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr | ast.FunctionDef):
        return (live - stores(node)) | loads(node)
    return live | loads(node)


class _Stores(ast.NodeTransformer):
    """Subscript stores become new versions of the name that is stored to, where it is the kernel's own."""

    def __init__(self, local: set[str]) -> None:
        self.local = local

    def _setitem(self, node: ast.stmt, target: ast.Subscript, value: ast.expr) -> ast.stmt:
        if not isinstance(target.value, ast.Name) or target.value.id not in self.local:
            return node
        name = target.value.id
        call = ast.Call(ast.Name(SETITEM, ast.Load()), [ast.Name(name, ast.Load()), _plain(target.slice), value], [])
        new = ast.Assign([ast.Name(name, ast.Store())], call)
        for child in (call, new):
            ast.copy_location(child, node)
        return new

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        target = node.targets[0]
        if len(node.targets) == 1 and isinstance(target, ast.Subscript):
            return self._setitem(node, target, node.value)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        if not isinstance(node.target, ast.Subscript):
            return node
        old = copy.deepcopy(node.target)
        old.ctx = ast.Load()
        value = ast.copy_location(ast.BinOp(old, node.op, node.value), node)
        return self._setitem(node, node.target, value)

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        """`pt.store(name, ...)`, as a statement: whether the function is that one is seen when it runs."""
        call = node.value
        if not isinstance(call, ast.Call) or not call.args or not isinstance(call.args[0], ast.Name):
            return node
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        name = call.args[0].id
        if called != "store" or name not in self.local:
            return node
        made = ast.Call(ast.Name(STORE, ast.Load()), [call.func, *call.args], call.keywords)
        new = ast.Assign([ast.Name(name, ast.Store())], made)
        for child in (made, new):
            ast.copy_location(child, node)
        return new

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        return node


class _Outside(ast.NodeTransformer):
    """What comes from outside of the kernel is looked at where it is read: arrays become implicit arguments."""

    def __init__(self, local: set[str]) -> None:
        self.local = local

    def _lifted(self, node: ast.expr) -> ast.expr:
        call = ast.Call(ast.copy_location(ast.Name(LIFT, ast.Load()), node), [node], [])
        return ast.copy_location(call, node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._lifted(node) if isinstance(node.ctx, ast.Load) and node.id not in self.local else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        return self._lifted(node) if isinstance(node.ctx, ast.Load) else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if isinstance(node.func, ast.Attribute):
            node.func.value = self.visit(node.func.value)
        elif not isinstance(node.func, ast.Name):
            node.func = self.visit(node.func)
        node.args = [self.visit(a) for a in node.args]
        for keyword in node.keywords:
            keyword.value = self.visit(keyword.value)
        return node


class _Results(ast.NodeTransformer):
    """A return also gives the last versions of the parameters that were stored to."""

    def __init__(self, written: Sequence[str]) -> None:
        self.written = written

    def visit_Return(self, node: ast.Return) -> ast.stmt:
        value = node.value or ast.Constant(None)
        facts = [_tuple(self.written, ast.Load), _strings(self.written)]
        call = ast.Call(ast.Name(RESULT, ast.Load()), [value, *facts], [])
        return ast.copy_location(ast.Return(ast.copy_location(call, node)), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        return node


def _plain(node: ast.expr) -> ast.expr:
    """A subscript as an expression: slices become calls of `slice`."""
    if isinstance(node, ast.Slice):
        parts = [part or ast.Constant(None) for part in (node.lower, node.upper, node.step)]
        return ast.Call(ast.Name("slice", ast.Load()), parts, [])
    if isinstance(node, ast.Tuple):
        return ast.Tuple([_plain(e) for e in node.elts], ast.Load())
    return node


class _Loops:
    """Rewrites `for` statements, from the outside in, with the names that are live and bound around them."""

    def __init__(self, file: str) -> None:
        self.file, self.count = file, 0
        self.closed: set[str] = set()  # names of the kernel that functions defined in it read

    def block(self, body: Sequence[ast.stmt], live: set[str], bound: set[str]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for position, statement in enumerate(body):
            after = live_before(body[position + 1:], live)
            bound_after, closed = bound | stores(statement), _closed(statement)
            out += self.statement(statement, after, bound)
            bound, self.closed = bound_after, self.closed | closed
        return out

    def statement(self, node: ast.stmt, live: set[str], bound: set[str]) -> list[ast.stmt]:
        if isinstance(node, ast.For) and (found := nests.raised(node, live, bound, SETITEM)) is not None:
            loops = self.loop(node, live, bound)
            return [ast.fix_missing_locations(ast.copy_location(ast.If(found[0], found[1], loops), node))]
        if isinstance(node, ast.For):
            return self.jumping(node, live, bound) if jumps.jumps(node.body) else self.loop(node, live, bound)
        if isinstance(node, ast.If):
            return self.branch(node, live, bound)
        if isinstance(node, ast.With):
            node.body = self.block(node.body, live, bound)
        elif isinstance(node, ast.While):
            return self.repeated(node, live, bound)
        return [node]

    def choice(self, test: ast.expr, value: str, captured: list[ast.stmt], plain: ast.stmt,
               node: ast.stmt) -> list[ast.stmt]:
        """One form of a loop where a value, which is given a name, is the program's, another where it is Python's."""
        keep = ast.Assign([ast.Name(value, ast.Store())], test)
        asked = ast.Call(ast.Name(SYMBOLIC, ast.Load()), [ast.Name(value, ast.Load())], [])
        made = [keep, ast.If(asked, captured, [plain])]
        return [ast.fix_missing_locations(ast.copy_location(s, node)) for s in made]

    def jumping(self, node: ast.For, live: set[str], bound: set[str]) -> list[ast.stmt]:
        """A loop with break or continue: conditions, over a range of the program; else as it is."""
        self.count += 1
        simple = jumps.without(node, self.count) if isinstance(node.target, ast.Name) else None
        if simple is None:
            return self.plain(node, live, bound)
        over, test = f"__pto_range{self.count}__", self.iterable(node.iter)
        node.iter = ast.copy_location(ast.Name(over, ast.Load()), node.iter)
        loop = simple[-1]
        assert isinstance(loop, ast.For)
        loop.iter = node.iter
        captured = self.block(simple, live, set(bound))
        [plain] = self.plain(copy.deepcopy(node), live, bound)
        return self.choice(test, over, captured, plain, node)

    def repeated(self, node: ast.While, live: set[str], bound: set[str]) -> list[ast.stmt]:
        """A `while`: one that counts is a `for`; another one must stay Python's, on a condition that Python knows."""
        again = live | live_before([node], live)
        found = jumps.counted(node, stores(*node.body))
        plain = copy.deepcopy(node)
        plain.body = self.block(plain.body, again, set(bound))
        plain.test = ast.copy_location(ast.Call(ast.Name(WHILE, ast.Load()), [plain.test], []), node.test)
        ast.fix_missing_locations(plain)
        if found is None or found[0] not in bound:
            return [plain]
        self.count += 1
        name, limit, step = found
        test, end, steps = (f"__pto_{what}{self.count}__" for what in ("test", "end", "steps"))
        counter = [ast.Name(name, ast.Load()), limit, step]
        before = ast.Assign([_tuple((steps, end), ast.Store)], ast.Call(ast.Name(COUNTED, ast.Load()), counter, []))
        body = node.body[:-1] or [ast.Pass()]
        loop = ast.For(ast.Name(name, ast.Store()), ast.Name(steps, ast.Load()), body, [], None)
        made: list[ast.stmt] = [before, loop, _assign(name, end)]
        for statement in made:
            ast.fix_missing_locations(ast.copy_location(statement, node.test))
        return self.choice(node.test, test, self.block(made, live, set(bound)), plain, node)

    def loop(self, node: ast.For, live: set[str], bound: set[str]) -> list[ast.stmt]:
        if not isinstance(node.target, ast.Name) or node.orelse or _leaves(node):
            return self.plain(node, live, bound)
        target = node.target.id
        again = live_before(node.body, set()) - {target}
        assigned = stores(*node.body) - {target}
        carried = sorted(assigned & bound & (live | again))
        self.refuse_closed(node, carried)
        after = (assigned | {target}) & live
        lost = sorted(after - bound - {target}) + [target] * (target in after)
        own = sorted(set(lost) | ((assigned & again) - bound))  # a loop of Python's assigns these where it stands
        body = [*_outer(own), *([_assign(target, f"__pto_{target}__")] if target in own else []),
                *self.block(node.body, set(carried) | set(own), bound | {target})]
        self.count += 1
        name = f"__pto_body{self.count}__"
        counter = f"__pto_{target}__" if target in own else target
        args = ast.arguments([], [ast.arg(a) for a in (counter, *carried)], None, [], [], None, [])
        function = ast.FunctionDef(name, args, [*body, ast.Return(_tuple(carried, ast.Load))], [])
        subscripts = target in {n for s in ast.walk(node) if isinstance(s, ast.Subscript) for n in loads(s.slice)}
        facts = [_strings(carried), _strings(lost), ast.Constant(subscripts)]
        call = ast.Call(ast.Name(FOR, ast.Load()),
                        [self.iterable(node.iter), ast.Name(name, ast.Load()), _tuple(carried, ast.Load), *facts], [])
        use: ast.stmt = ast.Assign([_tuple(carried, ast.Store)], call) if carried else ast.Expr(call)
        for child in (function, call, use):
            ast.copy_location(child, node.iter)
        scope = [ast.copy_location(ast.If(ast.Constant(False), [_assign(n, n)], []), node) for n in own]
        return [*scope, function, use]

    def refuse_closed(self, node: ast.For, carried: Sequence[str]) -> None:
        """A function of the kernel would see what a carried name was before the loop."""
        for name in sorted(self.closed & set(carried)):
            at = Loc(self.file, node.lineno, node.col_offset, node.iter.end_col_offset or 0)
            raise CaptureError(f"{name} changes in this loop, and a function defined in the kernel reads it", loc=at,
                               hint=f"give {name} to the function as an argument")

    def branch(self, node: ast.If, live: set[str], bound: set[str]) -> list[ast.stmt]:
        """Both forms of an `if`: on a condition of the program, and on one that Python knows."""
        captured = None if _leaves(node) else self.captured_branch(node, live, bound)
        plain = ast.copy_location(ast.If(node.test, self.block(node.body, live, bound),
                                         self.block(node.orelse, live, bound)), node)
        if captured is None:
            return [plain]
        self.count += 1
        test = f"__pto_test{self.count}__"
        keep: ast.stmt = ast.Assign([ast.Name(test, ast.Store())], node.test)
        plain.test = ast.Name(test, ast.Load())
        symbolic = ast.Call(ast.Name(SYMBOLIC, ast.Load()), [ast.Name(test, ast.Load())], [])
        captured[-1] = _with_test(captured[-1], test)
        choice: ast.stmt = ast.If(symbolic, captured, [plain])
        return [ast.copy_location(s, node.test) for s in (keep, choice)]

    def captured_branch(self, node: ast.If, live: set[str], bound: set[str]) -> list[ast.stmt]:
        """Functions of the carried names for each side, and the call that makes loops of none or one iteration."""
        assigned = stores(*node.body, *node.orelse)
        read = live_before(node.body, set()) | live_before(node.orelse, set())  # and perhaps bound anew after that
        carried, lost = sorted(assigned & bound & (live | read)), sorted((assigned & live) - bound)
        sides: list[ast.stmt] = []
        for body in (node.body, node.orelse):
            self.count += 1
            own = sorted((stores(*body) & bound & live_before(body, set())) - set(carried))  # read, assigned, and done
            args = ast.arguments([], [ast.arg(a) for a in (*carried, *own)], None, [], [], None,
                                 [ast.Name(a, ast.Load()) for a in own])
            inner = self.block(copy.deepcopy(body), set(carried), set(bound))
            function = ast.FunctionDef(f"__pto_side{self.count}__", args,
                                       [*inner, ast.Return(_tuple(carried, ast.Load))], [])
            sides.append(ast.copy_location(function, node.test))
        functions = [ast.Name(s.name, ast.Load()) for s in sides if isinstance(s, ast.FunctionDef)]
        call = ast.Call(ast.Name(BRANCH, ast.Load()),
                        [*functions, _tuple(carried, ast.Load), _strings(carried), _strings(lost)], [])
        use: ast.stmt = ast.Assign([_tuple(carried, ast.Store)], call) if carried else ast.Expr(call)
        ast.copy_location(call, node.test)
        return [*sides, ast.copy_location(use, node.test)]

    def plain(self, node: ast.For, live: set[str], bound: set[str]) -> list[ast.stmt]:
        """A loop that must stay Python's: its range refuses to be symbolic."""
        again = live | live_before([node], live)
        node.iter = self.iterable(node.iter)
        node.body = self.block(node.body, again, bound | stores(node.target))
        return [node]

    def iterable(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
            node.func = ast.copy_location(ast.Name(RANGE, ast.Load()), node.func)
        return node


def _closed(statement: ast.stmt) -> set[str]:
    """Names that functions defined in a statement read of what is around them."""
    found: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            body = node.body if isinstance(node.body, list) else [node.body]
            inner = {a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)} | stores(*body)
            found |= loads(*body) - inner
    return found


def _outer(names_: Sequence[str]) -> list[ast.stmt]:
    return [ast.Nonlocal(list(names_))] if names_ else []


def _assign(name: str, value: str) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], ast.Name(value, ast.Load()))


def _with_test(statement: ast.stmt, test: str) -> ast.stmt:
    """Give the call of a branch its condition."""
    assert isinstance(statement, ast.Assign | ast.Expr)
    assert isinstance(statement.value, ast.Call)
    statement.value.args.insert(0, ast.Name(test, ast.Load()))
    return statement


def _leaves(node: ast.For | ast.If) -> bool:
    """Does the body leave the statement other than by its end?"""
    return bool(jumps.jumps([*node.body, *node.orelse]))


def _tuple(elements: Sequence[str], context: type[ast.expr_context]) -> ast.Tuple:
    return ast.Tuple([ast.Name(e, context()) for e in elements], context())


def _strings(values: Sequence[str]) -> ast.Tuple:
    return ast.Tuple([ast.Constant(v) for v in values], ast.Load())


def parsed(file: str, space: dict[str, Any] | None = None) -> ast.Module | None:
    """The syntax tree of a file, which a module of these globals may tell; None where there is no source of Python."""
    lines = linecache.getlines(file, space)
    if not lines:
        return None
    try:
        with SYNTAX:
            return ast.parse("".join(lines), file)
    except SyntaxError:
        return None


def definition(function: FunctionType) -> ast.FunctionDef | None:
    """The syntax tree of a function, with the positions of its file; None where there is no source."""
    code = function.__code__
    tree = parsed(code.co_filename, function.__globals__)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None


def returned(function: FunctionType, count: int) -> tuple[str, ...]:
    """The names of so many results: those of the variables that are returned, if nothing but variables is."""
    tree = definition(function)
    inside = [ast.walk(part) for part in tree.body if not isinstance(part, ast.FunctionDef)] if tree else []
    values = [n.value for nodes in inside for n in nodes if isinstance(n, ast.Return) and n.value]
    several = [v.elts if isinstance(v, ast.Tuple | ast.List) else [v] for v in values]
    named = {tuple(v.id if isinstance(v, ast.Name) else "" for v in row) for row in several if len(row) == count}
    found = named.pop() if len(named) == 1 else ()
    return found if all(found) and len(set(found)) == len(found) else ()


def stored(function: FunctionType) -> frozenset[str]:
    """The parameters that a function stores to, or binds anew."""
    node = copy.deepcopy(definition(function))
    if node is None:
        return frozenset()
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    local = {*function.__code__.co_varnames, *function.__code__.co_cellvars}
    return frozenset(stores(*(_Stores(local).visit(s) for s in node.body)) & {a.arg for a in arguments})


def rewrite(function: FunctionType) -> CodeType | None:
    """Code of a module that defines `__pto_make__(*free variables)`, which returns the rewritten function.

    None where there is no source: the function is then traced as it is.

    Raises:
        CaptureError: the function is a generator or a coroutine.
    """
    node = definition(function)
    if node is None:
        return None
    file = function.__code__.co_filename
    if any(isinstance(n, ast.Yield | ast.YieldFrom | ast.Await) for n in ast.walk(node)):
        raise CaptureError("a kernel cannot be a generator or a coroutine", loc=Loc(file, node.lineno, node.col_offset))
    node = copy.deepcopy(node)
    node.decorator_list, node.returns = [], None
    node.name = KERNEL  # its own name stays what it is around it: the decorated kernel
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    for argument in arguments:
        argument.annotation = None
    node.args.defaults, node.args.kw_defaults = [], [None] * len(node.args.kwonlyargs)  # the function's own are used
    local = {*function.__code__.co_varnames, *function.__code__.co_cellvars}
    node.body = [_Outside(local).visit(s) for s in node.body]
    node.body = [_Stores(local).visit(s) for s in node.body]
    written = sorted(stores(*node.body) & {a.arg for a in arguments})
    node.body = [_Results(written).visit(s) for s in [*node.body, ast.copy_location(ast.Return(None), node)]]
    node.body = _Loops(file).block(node.body, set(), {a.arg for a in arguments})
    free = [ast.arg(n) for n in function.__code__.co_freevars]
    make = ast.FunctionDef("__pto_make__", ast.arguments([], free, None, [], [], None, []),
                           [node, ast.Return(ast.Name(node.name, ast.Load()))], [])
    ast.copy_location(make, node)
    with SYNTAX:
        return compile(ast.fix_missing_locations(ast.Module([make], [])), file, "exec")


def build(function: FunctionType, code: CodeType | None, extra: dict[str, Any]) -> Callable[..., Any]:
    """The rewritten function, seeing the names that the original sees, and `extra` over its globals."""
    space: dict[str, Any] = {**function.__globals__, **extra}
    free = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    cells = [extra.get(name, c.cell_contents) for name, c in free]
    if code is None:
        return FunctionType(function.__code__, space, function.__name__, function.__defaults__,
                            tuple(map(CellType, cells)))
    exec(code, space)  # the user's own source, rewritten
    made: FunctionType = space["__pto_make__"](*cells)
    made.__code__ = made.__code__.replace(co_name=function.__name__)
    made.__defaults__, made.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
    return made
