"""A program in memory: what the assembler and the compiler produce and the machines run."""

from __future__ import annotations

from dataclasses import dataclass

from pto.core.dtypes import DType
from pto.core.errors import Loc
from pto.core.types import TensorType, TileType
from pto.isa.spec import Instr, Kind, Pipe

FIRST_PARAMETER = 2  # registers 0 and 1 hold the core's number and the number of cores


@dataclass(frozen=True, slots=True)
class Reg:
    """A scalar register as an operand."""

    number: int

    def __str__(self) -> str:
        return f"r{self.number}"


@dataclass(frozen=True, slots=True)
class TileRef:
    """A tile operand: index of the declared tile, and byte offset into its slots."""

    tile: int
    offset: int | Reg = 0


Arg = int | float | Reg | TileRef


@dataclass(frozen=True, slots=True)
class Inst:
    """One instruction: its row, its operands and the values of its attributes, in the row's order.

    A TILE is a `TileRef`; an INDEX an int or a `Reg`; a SCALAR a float or a `Reg`; a DEST a `Reg`;
    a TENSOR, a SLOT, a LABEL (instruction index) and a PIPE are ints.
    """

    spec: Instr
    args: tuple[Arg, ...] = ()
    attrs: tuple[str, ...] = ()  # left out: the defaults

    def __post_init__(self) -> None:
        if not self.attrs and self.spec.attrs:
            object.__setattr__(self, "attrs", tuple(attr.values[0] for attr in self.spec.attrs))


@dataclass(frozen=True, slots=True)
class Parameter:
    """A symbol of the kernel, in register `FIRST_PARAMETER` + its position; legal from `low` to `high`."""

    name: str
    low: int = 0
    high: int = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TensorDecl:
    """An argument slot. A dim is an integer or the name of a parameter.

    As rows x cols a tensor is: rank 0, 1 x 1; rank 1, 1 x n; higher, product of leading dims x last dim.
    """

    name: str
    dtype: DType
    dims: tuple[int | str, ...]
    written: bool = False  # the program stores to it
    read: bool = True  # the program loads from it
    scratch: bool = False  # room for the program's own intermediate values: no argument, and no result

    @property
    def type(self) -> TensorType:
        return TensorType(self.dtype, self.dims)


@dataclass(frozen=True, slots=True)
class ViewDecl:
    """A matrix over the elements of tensor number `tensor`, which a tview sets at run time."""

    name: str
    tensor: int


@dataclass(frozen=True, slots=True)
class TileDecl:
    """A piece of an on-chip memory: `slots` tiles of one type, one after the other from `address`."""

    name: str
    type: TileType
    address: int
    slots: int = 1

    @property
    def nbytes(self) -> int:
        return self.type.nbytes * self.slots


@dataclass(frozen=True, slots=True)
class Program:
    """A program for every core of a target. Equal programs have equal bytes.

    A TENSOR or SLOT operand is the number of a tensor, or that of a view plus the number of tensors.
    `spans` lists source spans once; `lines` gives, for each instruction, the indices of its spans.
    """

    name: str
    target: str
    parameters: tuple[Parameter, ...] = ()
    tensors: tuple[TensorDecl, ...] = ()
    tiles: tuple[TileDecl, ...] = ()
    code: tuple[Inst, ...] = ()
    spans: tuple[Loc, ...] = ()
    lines: tuple[tuple[int, ...], ...] = ()
    views: tuple[ViewDecl, ...] = ()

    @property
    def surfaces(self) -> tuple[TensorDecl | ViewDecl, ...]:
        """What TENSOR and SLOT operands number: the tensors, then the views."""
        return self.tensors + self.views

    def slot(self, number: int) -> int:
        """The number of the tensor whose elements a tensor or view shows."""
        return number if number < len(self.tensors) else self.views[number - len(self.tensors)].tensor

    def view_of(self, view: int, tensor: int) -> bool:
        """Whether these are the numbers of a view and of the tensor that it is of."""
        return view >= len(self.tensors) and self.slot(view) == tensor

    def memory_types(self, inst: Inst) -> tuple[TileType | TensorType, ...]:
        """Types of the tile and tensor operands of an instruction, in operand order."""
        found: list[TileType | TensorType] = []
        for position in inst.spec.memory:
            arg = inst.args[position]
            if isinstance(arg, TileRef):
                found.append(self.tiles[arg.tile].type)
            else:
                assert isinstance(arg, int)
                found.append(self.tensors[self.slot(arg)].type)
        return tuple(found)

    def pipe(self, inst: Inst) -> Pipe:
        """The pipe an instruction runs on: a set_flag on its source, a wait_flag on its destination."""
        pipes = [a for o, a in zip(inst.spec.operands, inst.args, strict=True) if o.kind is Kind.PIPE]
        if pipes:
            value = pipes[-1] if inst.spec.mnemonic == "wait_flag" else pipes[0]
            assert isinstance(value, int)
            return Pipe(value)
        return Pipe.S if inst.spec.is_scalar else inst.spec.route(self.memory_types(inst)).pipe

    def spans_of(self, pc: int) -> tuple[Loc, ...]:
        """The source spans of an instruction."""
        return tuple(self.spans[i] for i in self.lines[pc]) if pc < len(self.lines) else ()

    def span(self, pc: int) -> Loc | None:
        """The first source span of an instruction, if it has one."""
        return next(iter(self.spans_of(pc)), None)
