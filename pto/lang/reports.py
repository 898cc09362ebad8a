"""What a kernel reports while it runs: values that an author prints, conditions that must hold."""

from __future__ import annotations

from typing import Any

from pto.core.dtypes import PRED, S32
from pto.core.errors import CaptureError, DTypeError, Loc, ShapeError, located
from pto.core.types import TensorType, TileType
from pto.ir.graph import Val
from pto.ir.ops import INDEX_OPS, TENSOR_OPS, TILE_OPS
from pto.isa.table.log import LOG
from pto.lang import language as pt
from pto.lang import values
from pto.lang.integers import Index, unwrap
from pto.lang.loops import repeat
from pto.lang.trace import Argument, Site, Tracer, tracer

CORES = 32  # rows of a log: no target has more
WINDOW = (8, 64)  # of a whole tensor
COMPARED = {level[name] for level in (TENSOR_OPS, TILE_OPS) for name in ("compare", "compares")}


def print(*parts: Any, sep: str = " ") -> None:
    """Print texts, numbers, integers of the program, tiles and tensors of one or two axes, when the kernel has run.

    Every time that the program comes here is a line, in the order of each core, one core after the other.
    """
    found, loc = tracer(), Loc.of_user()
    text, call = "", len(found.sites)
    with located(loc):
        for n, part in enumerate(map(values.lifted, parts)):
            text += sep * bool(n)
            if isinstance(part, values.Array | Index):
                _value(found, part, Site(call, loc, text))
                text = ""
            else:
                text += str(part)
        if text or not parts or len(found.sites) == call:
            _record(found, whole(0), Site(call, loc, text, shown=False))


device_print = print


def assert_(condition: Any, message: str = "") -> None:
    """A condition that must hold whenever the program comes here, of an integer or of every element of an array.

    Where it does not, the launch ends with an error that says where, and the values that were compared.

    Raises:
        CaptureError: it is known now, and does not hold.
        DTypeError: it is no predicate.
    """
    found, loc = tracer(), Loc.of_user()
    condition = values.lifted(condition)
    with located(loc):
        if isinstance(condition, Index):
            pair = _operands(condition.val)
            site = Site(len(found.sites), loc, message, asserts=True)
            unless(found, whole(*pair), whole(condition, condition) != 0, site)
        elif isinstance(condition, values.Array):
            if condition.dtype != PRED:
                raise DTypeError("an assertion is about predicates", hint="compare first: x > 0")
            _elements(found, condition, loc, message)
        elif not condition:
            raise CaptureError(f"assertion failed: {message or 'the condition does not hold'}", loc=loc)


device_assert = assert_


def _record(found: Tracer, tile: Any, site: Site) -> None:
    found.emit(TILE_OPS["report"], _log(found), tile, _number(found, site, tile))


def unless(found: Tracer, tile: Any, mask: Any, site: Site) -> None:
    """Report a tile where an element of a mask is false."""
    found.emit(TILE_OPS["report_unless"], _log(found), tile, mask, _number(found, site, tile))


def _number(found: Tracer, site: Site, tile: Any) -> int:
    """Note what is reported at a place; gives its number."""
    found.sites.append(site.of(tile.dtype))
    return len(found.sites) - 1


def _log(found: Tracer) -> Any:
    """The tensor that holds the records: a result of the kernel's that nobody returns."""
    if found.log is None:
        found.log = found.argument(Argument(found.free("log"), TensorType(S32, (CORES, LOG))), result=3)
    return found.log


def whole(*numbers: Any) -> Any:
    """One or two integers of the program as a tile."""
    first, last = numbers[0], numbers[-1]
    step = tracer().graph.index("sub", unwrap(last), unwrap(first)) if len(numbers) > 1 else 0
    return tracer().emit(TILE_OPS["iota"], first, 0, step, type=TileType(S32, 1, len(numbers)))


def _operands(value: Val) -> tuple[Any, Any]:
    """What a condition compares, as far as its making tells; else the condition, twice."""
    node, graph = value.node, value.graph
    if node.op is INDEX_OPS["sub"] and graph.constant(node.inputs[0]) == 1:
        return _operands(Val(graph, node.inputs[1]))
    if node.op is INDEX_OPS["lt"]:
        a, b = (tracer().wrap(Val(graph, k)) for k in node.inputs)
        return a, b
    return Index(value), Index(value)


def _value(found: Tracer, value: Any, site: Site) -> None:
    """Report an integer, a tile, or the windows of a tensor."""
    if isinstance(value, values.Tensor):
        _windows(value, lambda i, j, window: _record(found, window(_matrix(value)), site))
    else:
        _record(found, whole(value) if isinstance(value, Index) else value, site)


def _elements(found: Tracer, condition: Any, loc: Loc, message: str) -> None:
    """Report a condition's elements that are false, with the values that were compared."""
    node, call = condition.val.node, len(found.sites)
    source = tracer().wrap(Val(condition.val.graph, node.inputs[0])) if node.op in COMPARED else condition
    alike = source.dims == condition.dims if isinstance(condition, values.Tensor) else source.shape == condition.shape
    source = source if alike else condition
    site = Site(call, loc, message, asserts=True)
    if isinstance(condition, values.Tile):
        unless(found, source, condition, site)
        return

    def check(i: Any, j: Any, window: Any) -> None:
        mask = window(_matrix(condition))
        for first, down, across in ((i, 1, 0), (j, 0, 1)):
            place = found.emit(TILE_OPS["iota"], first, down, across, type=TileType(S32, *mask.shape))
            unless(found, place, mask, site)
        unless(found, window(_matrix(source)), mask, site)

    _windows(condition, check)


def _matrix(tensor: Any) -> Any:
    """A tensor of one or two axes as one of two.

    Raises:
        ShapeError: it has more.
    """
    if tensor.ndim not in (1, 2):
        raise ShapeError(f"a tensor of {tensor.ndim} axes is not reported", hint="select some of them: x[b]")
    return tensor if tensor.ndim == 2 else tensor.unsqueeze(0)


def _windows(tensor: Any, report: Any) -> None:
    """Report a tensor window by window."""
    rows, cols = _matrix(tensor).shape
    down, across = WINDOW

    def at(i: Any, j: Any) -> tuple[()]:
        report(i, j, lambda matrix: matrix[i:i + down, j:j + across])
        return ()

    repeat(pt.range(0, rows, down), lambda i: repeat(pt.range(0, cols, across), lambda j: at(i, j)))
