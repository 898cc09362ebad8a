"""The static rules of a program: what can be refused before it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pto.core.errors import ProgramError, TypeMismatch
from pto.core.target import BY_NAME, Target
from pto.core.types import PANEL_COLS, Layout, TileType
from pto.isa.codec import INT_MAX, INT_MIN, TILES, inst_faults
from pto.isa.flow import flow_faults
from pto.isa.program import FIRST_PARAMETER, Arg, Inst, Parameter, Program, Reg, TensorDecl, TileDecl, TileRef, ViewDecl
from pto.isa.spec import REGISTERS, WHOLE, Kind, Operand, Role
from pto.isa.table import sync
from pto.isa.table.scalar import TVIEW
from pto.isa.words import is_name, shown

PARAMETER_LIMIT = REGISTERS - FIRST_PARAMETER
SURFACES = (Kind.TENSOR, Kind.SLOT)
TENSOR_LIMIT, RANK_LIMIT, ELEMENT_LIMIT = 1024, 8, 2**40


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken rule: in the instruction `pc`, or in the declarations."""

    message: str
    pc: int | None = None
    hint: str = ""

    def __str__(self) -> str:
        return self.message if self.pc is None else f"instruction {self.pc}: {self.message}"


def check(program: Program) -> list[Fault]:
    """Every static rule that a program breaks; later rules are judged only where earlier ones hold."""
    target = BY_NAME.get(program.target)
    if target is None:
        known = ", ".join(BY_NAME)
        return [Fault(f"target {shown(program.target)} is not known", hint=f"targets are {known}")]
    faults = [Fault(text) for rule in _DECLARATIONS for text in rule(program, target)]
    faults += [
        Fault(text, pc) for pc, inst in enumerate(program.code) for text in _fields(program, inst)
    ]
    if faults:
        return faults
    faults = [fault for pc, inst in enumerate(program.code) for fault in _meaning(program, target, pc, inst)]
    return faults + [Fault(text, pc) for text, pc in flow_faults(program)]


def require_legal(program: Program) -> None:
    """Refuse a program that breaks a static rule.

    Raises:
        ProgramError: with the first fault, at the source line of its instruction where that is known.
    """
    faults = check(program)
    if not faults:
        return
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    loc = program.span(first.pc) if first.pc is not None else None
    raise ProgramError(f"{first}{more}", loc=loc, hint=first.hint)


def _names(program: Program, target: Target) -> Iterator[str]:
    """Names are words, and one thing of a kind has each."""
    groups: dict[str, tuple[Parameter | TensorDecl | ViewDecl | TileDecl, ...]] = {
        "parameter": program.parameters, "tensor": program.surfaces, "tile": program.tiles,
    }
    if not is_name(program.name):
        yield f"program {shown(program.name)}: not a name"
    for kind, rows in groups.items():
        names = [row.name for row in rows]
        yield from (f"{kind} {shown(name)}: not a name" for name in names if not is_name(name))
        yield from (f"{kind} {shown(name)} is declared {n} times" for name, n in Counter(names).items() if n > 1)


def _parameters(program: Program, target: Target) -> Iterator[str]:
    """Each parameter has a register, and a value that it can have."""
    if len(program.parameters) > PARAMETER_LIMIT:
        yield f"{len(program.parameters)} parameters, there are registers for {PARAMETER_LIMIT}"
    for row in program.parameters:
        if not INT_MIN <= row.low <= row.high <= INT_MAX:
            yield f"parameter {row.name}: no 64-bit integer is from {row.low} to {row.high}"


def _tensors(program: Program, target: Target) -> Iterator[str]:
    """Extents are bounded integers or declared parameters."""
    if len(program.tensors) > TENSOR_LIMIT:
        yield f"{len(program.tensors)} tensors, a program has at most {TENSOR_LIMIT}"
    known = {row.name for row in program.parameters}
    for row in program.tensors:
        elements = 1
        if len(row.dims) > RANK_LIMIT:
            yield f"tensor {row.name}: rank {len(row.dims)}, at most {RANK_LIMIT}"
            continue
        for dim in row.dims:
            if isinstance(dim, str):
                if dim not in known:
                    yield f"tensor {row.name}: extent {shown(dim)} is no parameter"
            elif not 0 <= dim <= ELEMENT_LIMIT:
                yield f"tensor {row.name}: extent {dim} is outside 0 to {ELEMENT_LIMIT}"
            else:
                elements *= dim
        if elements > ELEMENT_LIMIT:
            yield f"tensor {row.name}: more than {ELEMENT_LIMIT} elements"


def _views(program: Program, target: Target) -> Iterator[str]:
    """A view is of a declared tensor."""
    if len(program.views) > TENSOR_LIMIT:
        yield f"{len(program.views)} views, a program has at most {TENSOR_LIMIT}"
    for row in program.views:
        if not 0 <= row.tensor < len(program.tensors):
            yield f"view {row.name}: tensor {row.tensor} is not declared, there are {len(program.tensors)}"


def _tiles(program: Program, target: Target) -> Iterator[str]:
    """Tiles are aligned and within their memory."""
    if len(program.tiles) > TILES:
        yield f"{len(program.tiles)} tiles, a record can name {TILES}"
    for row in program.tiles:
        fault = _shape(row.type) or _placing(row, target)
        if fault:
            yield f"tile {row.name}: {fault}"


def _shape(tile: TileType) -> str:
    if tile.space is None:
        return f"{tile} names no memory"
    if tile.rows < 1 or tile.cols < 1:
        return f"{tile} has no elements"
    if tile.layout is Layout.PANEL and tile.cols % PANEL_COLS:
        return f"{tile.cols} columns are no whole number of panels of {PANEL_COLS}"
    if tile.layout is Layout.COL and tile.cols != 1:
        return f"{tile.cols} columns, a tile with layout col has 1"
    return ""


def _placing(row: TileDecl, target: Target) -> str:
    if row.slots < 1:
        return f"{row.slots} slots, at least 1"
    if row.address < 0 or row.address % target.align:
        return f"address {row.address} is no multiple of {target.align}"
    if row.slots > 1 and row.type.nbytes % target.align:
        return f"slots of {row.type.nbytes} bytes are no multiple of {target.align}"
    space = row.type.space
    capacity = dict(target.capacity).get(space) if space else None
    if capacity is None:
        return f"{target.name} has no memory {space.value if space else ''}"
    end = row.address + row.nbytes
    if end > capacity:
        memory = space.value if space else ""
        return f"bytes {row.address} to {end} pass the end of {memory}, which has {capacity} on {target.name}"
    return ""


def _spans(program: Program, target: Target) -> Iterator[str]:
    """Debug information speaks of what exists."""
    if len(program.lines) > len(program.code):
        yield f"spans are given for {len(program.lines)} instructions, there are {len(program.code)}"
    numbers = {number for row in program.lines for number in row}
    unknown = sorted(n for n in numbers if not 0 <= n < len(program.spans))
    if unknown:
        yield f"span {unknown[0]} is not declared, there are {len(program.spans)}"


Declaration = Callable[[Program, Target], Iterator[str]]
_DECLARATIONS: tuple[Declaration, ...] = (_names, _parameters, _tensors, _views, _tiles, _spans)


def _fields(program: Program, inst: Inst) -> Iterator[str]:
    """Operands are values that a record can hold, and name what is declared."""
    faults = inst_faults(inst, len(program.code))
    yield from faults
    if faults:
        return
    for operand, arg in zip(inst.spec.operands, inst.args, strict=True):
        where = f"{inst.spec.mnemonic}: operand {operand.name}"
        if isinstance(arg, TileRef) and arg.tile >= len(program.tiles):
            yield f"{where}: tile {arg.tile} is not declared, there are {len(program.tiles)}"
        elif operand.kind in SURFACES and isinstance(arg, int) and arg >= len(program.surfaces):
            yield f"{where}: tensor {arg} is not declared, there are {len(program.surfaces)}"


def _meaning(program: Program, target: Target, pc: int, inst: Inst) -> Iterator[Fault]:
    """The rules of one instruction whose operands exist."""
    if inst.spec.is_scalar:
        rules = (_view(program, inst),) if inst.spec == TVIEW else (_flag(target, inst), _event(target, inst))
        yield from (Fault(text, pc) for rule in rules for text in rule)
        return
    try:
        inst.spec.route(program.memory_types(inst))
    except TypeMismatch as err:
        yield Fault(err.message, pc, err.hint)
        return
    values: dict[str, Arg] = {o.name: a for o, a in zip(inst.spec.operands, inst.args, strict=True)}
    for position in inst.spec.memory:
        operand, arg = inst.spec.operands[position], inst.args[position]
        if isinstance(arg, TileRef):
            fault = _tile_region(program.tiles[arg.tile], operand, arg.offset, values, target)
        else:
            fault = _use(program, operand, arg) or _window(operand, values)
        if fault:
            yield Fault(f"{inst.spec.mnemonic}: operand {operand.name}: {fault}", pc)


def _flag(target: Target, inst: Inst) -> Iterator[str]:
    """Flags order two pipes."""
    ends = [a for o, a in zip(inst.spec.operands, inst.args, strict=True) if o.kind is Kind.PIPE]
    if len(ends) != 2:
        return
    if ends[0] == ends[1]:
        yield f"{inst.spec.mnemonic}: source and destination pipe are the same"
    number = inst.args[inst.spec.position("id")]
    if isinstance(number, int) and not 0 <= number < target.flags:
        yield f"{inst.spec.mnemonic}: operand id: flag {number} is outside 0 to {target.flags - 1}"


def _event(target: Target, inst: Inst) -> Iterator[str]:
    """Events name a core and an id that the target has."""
    if inst.spec not in (sync.EVENT_SET, sync.EVENT_WAIT):
        return
    for name, limit in (("core", target.cores), ("id", target.events)):
        value = inst.args[inst.spec.position(name)]
        if isinstance(value, int) and not 0 <= value < limit:
            yield f"{inst.spec.mnemonic}: operand {name}: {value} is outside 0 to {limit - 1}"


def _view(program: Program, inst: Inst) -> Iterator[str]:
    """A view is set to elements of its tensor; what is known before the run is not negative."""
    view, tensor, *numbers = inst.args
    assert isinstance(view, int) and isinstance(tensor, int)
    if not program.view_of(view, tensor):
        view_name, tensor_name = (program.surfaces[n].name for n in (view, tensor))
        yield f"{inst.spec.mnemonic}: operand view: {view_name} is not declared as a view of {tensor_name}"
    for operand, number in zip(inst.spec.operands[2:], numbers, strict=True):
        if isinstance(number, int) and number < 0:
            yield f"{inst.spec.mnemonic}: operand {operand.name}: {number} is negative"


def _known(extent: str | int, values: dict[str, Arg]) -> int | None:
    """The value of an extent or a position, unless it is in a register."""
    value = extent if isinstance(extent, int) else values[extent]
    return value if isinstance(value, int) else None


def _tile_region(decl: TileDecl, operand: Operand, offset: int | Reg, values: dict[str, Arg],
                 target: Target) -> str:
    """A region that is known before the run lies within the tile, and the tile within its declaration."""
    rows, cols = _known(operand.rows, values), _known(operand.cols, values)
    at = operand.at or (0, 0)
    i, j = _known(at[0], values), _known(at[1], values)
    fault = _span_of("rows", i, rows, decl.type.rows) or _span_of("columns", j, cols, decl.type.cols)
    if fault or isinstance(offset, Reg):
        return fault
    if offset % target.align:
        return f"offset {offset} is no multiple of {target.align}"
    end = offset + max(1, _extent(decl.type, i, j, rows, cols))
    if end > decl.nbytes:
        return f"offset {offset}: the region ends at byte {end}, the declaration has {decl.nbytes}"
    return ""


def _span_of(what: str, start: int | None, size: int | None, capacity: int) -> str:
    """The complaint about `size` rows or columns from `start`, as far as they are known."""
    if size is not None and not 0 <= size <= capacity:
        return f"{size} {what}, the tile holds 0 to {capacity}"
    if start is not None and not 0 <= start <= capacity - (size or 0):
        return f"{what} from {start}: the tile has {capacity}"
    return ""


def _extent(tile: TileType, i: int | None, j: int | None, rows: int | None, cols: int | None) -> int:
    """Bytes from a tile's first to the end of a region's last element; 0 where it is empty or not known."""
    if not rows or not cols or i is None or j is None:
        return 0
    if tile.layout is Layout.PANEL:
        last = (j + cols + PANEL_COLS - 1) // PANEL_COLS - 1
        return (last * tile.rows + i + rows) * PANEL_COLS * tile.dtype.size
    if tile.layout is Layout.COL:
        return ((j + cols - 1) * tile.rows + i + rows) * tile.dtype.size
    return ((i + rows - 1) * tile.cols + j + cols) * tile.dtype.size


def _window(operand: Operand, values: dict[str, Arg]) -> str:
    """A window that is known before the run is not negative; the machine compares it with the tensor."""
    for name in (operand.rows, operand.cols, *(operand.at or ())):
        value = _known(name, values)
        if value is not None and value < 0 and name != WHOLE:
            return f"{name} = {value} is negative"
    return ""


def _use(program: Program, operand: Operand, arg: Arg) -> str:
    """A tensor is read and written only where its declaration says so."""
    if not isinstance(arg, int):
        return ""
    decl = program.tensors[program.slot(arg)]
    if Role.OUT in operand.role and not decl.written:
        return f"tensor {decl.name} is not declared as written"
    if Role.IN in operand.role and not decl.read:
        return f"tensor {decl.name} is not declared as read"
    return ""

