"""What an instruction is. The tables list them; nothing else in the project does."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, Flag, IntEnum, auto

from pto.core.errors import TypeMismatch
from pto.core.types import Layout, Space, TensorType, TileType

RECORD_BYTES, OPERAND_WORDS = 64, 7
MEMORY_OPERANDS, TILE_BITS = 4, 10
ATTRIBUTE_BITS = 8
SHOWN = 8  # combinations of element types that a message lists
REGISTERS = 256
WHOLE = -1


class Pipe(IntEnum):
    """The queue an instruction runs on. In order within a pipe; only flags order two pipes."""

    S = 0
    MTE2 = 1
    MTE1 = 2
    M = 3
    V = 4
    FIX = 5
    MTE3 = 6


class Kind(Enum):
    """What an operand is."""

    TILE = "tile"  # a declared tile, with a byte offset into its slots
    TENSOR = "tensor"  # a window of an argument in global memory, or of a view of one
    SLOT = "slot"  # a tensor or a view itself, not its elements
    INDEX = "index"  # an integer: immediate or register
    SCALAR = "scalar"  # a number (float64 bits): immediate or register
    DEST = "dest"  # the register that is written
    LABEL = "label"  # a place in the program
    PIPE = "pipe"


class Role(Flag):
    """What an instruction does to a tile or tensor operand."""

    IN = auto()
    OUT = auto()
    INOUT = IN | OUT


class Trait(Flag):
    """What a pass may assume of every use."""

    NONE = 0
    COMMUTATIVE = auto()  # the first two sources may be swapped
    BRANCH = auto()  # may continue elsewhere
    HALT = auto()
    BITS = auto()  # copies bits: what it does depends on the size of elements only
    REPORTS = auto()  # is there for what it writes to a log, not for a value
    ACCUMULATES = auto()  # the destination is read unless operand `acc` is 0


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand word of the record, and one place in the assembly line.

    For tiles and tensors, `rows` and `cols` say which operand holds the extent of the region that the
    instruction touches (or are that extent), and `at` names the operands with the region's first row and
    column. `WHOLE` rows are all that a tensor has. Region columns of a PANEL tile extend to whole panels.
    `picks`, of an index tile: whose rows or columns its elements number.
    """

    name: str
    kind: Kind
    role: Role = Role.IN
    rows: str | int = "rows"
    cols: str | int = "cols"
    at: tuple[str | int, str | int] | None = None
    picks: tuple[str, str] | None = None

    @property
    def is_memory(self) -> bool:
        return self.kind in (Kind.TILE, Kind.TENSOR)


@dataclass(frozen=True, slots=True)
class Attr:
    """A choice that an instruction carries beside its operands, `#name=value`; the first value is the default.

    In the record it is the value's number, in as few bits as the last one needs.
    """

    name: str
    values: tuple[str, ...]

    @property
    def bits(self) -> int:
        return (len(self.values) - 1).bit_length()


Place = tuple[Space | None, Layout]  # None: global memory


@dataclass(frozen=True, slots=True)
class Route:
    """Where each tile (and tensor) operand may be, in operand order, and the pipe in whose queue it then is.

    While the instruction runs, pipe `also` can do nothing else either; that costs time, and orders nothing.
    `passes` bounds the work of a machine: as many plain passes over the elements of the largest tile.
    """

    places: tuple[Place, ...]
    pipe: Pipe
    also: Pipe | None = None
    passes: int = 1


@dataclass(frozen=True, slots=True)
class Instr:
    """One row of the table: the whole truth about an instruction.

    Attributes:
        mnemonic: its name in assembly.
        opcode: its number in the record, 1 to 255.
        operands: in the order of the record and of the assembly line; a destination comes first.
        doc: the manual's sentence.
        dtypes: legal element types of the memory operands: one name means all alike.
        routes: legal places of the memory operands, each with its pipe; empty for the scalar unit.
        attrs: choices in the record's attribute bits, from the lowest.
        places: the number of each operand, by its name.
        tensor_op: name of the elementwise or reducing operation that this instruction is, for compilers.
    """

    mnemonic: str
    opcode: int
    operands: tuple[Operand, ...]
    doc: str
    dtypes: tuple[tuple[str, ...], ...] = ()
    routes: tuple[Route, ...] = ()
    traits: Trait = Trait.NONE
    tensor_op: str = ""
    attrs: tuple[Attr, ...] = ()
    memory: tuple[int, ...] = field(init=False)
    places: dict[str, int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.operands) > OPERAND_WORDS:
            raise ValueError(f"{self.mnemonic}: {len(self.operands)} operands exceed a record")
        found = tuple(i for i, o in enumerate(self.operands) if o.is_memory)
        if len(found) > MEMORY_OPERANDS:
            raise ValueError(f"{self.mnemonic}: more memory operands than a record names or a machine describes")
        if sum(attr.bits for attr in self.attrs) > ATTRIBUTE_BITS:
            raise ValueError(f"{self.mnemonic}: attributes exceed a record")
        if self.attrs and len(self.operands) + len(self.attrs) > OPERAND_WORDS:
            raise ValueError(f"{self.mnemonic}: a machine has no words for the attributes")
        object.__setattr__(self, "memory", found)
        object.__setattr__(self, "places", {o.name: i for i, o in enumerate(self.operands)})

    @property
    def is_scalar(self) -> bool:
        """Runs on the scalar unit: touches registers, flags and the program counter only."""
        return not self.routes

    def position(self, name: str) -> int:
        """Index of the operand with this name."""
        return self.places[name]

    def route(self, types: tuple[TileType | TensorType, ...]) -> Route:
        """The route that operands of these types take.

        Raises:
            TypeMismatch: the types are not legal for this instruction; the message says which and why.
        """
        names = [self.operands[i].name for i in self.memory]
        if len(types) != len(names):
            raise TypeMismatch(f"{self.mnemonic} takes {len(names)} tiles and tensors, has {len(types)}")
        dtypes = tuple(t.dtype.name for t in types)
        if dtypes not in self.dtypes and not (len(set(dtypes)) == 1 and dtypes[:1] in self.dtypes):
            legal = ", ".join(" ".join(row) for row in self.dtypes[:SHOWN]) + ", ..." * (len(self.dtypes) > SHOWN)
            raise TypeMismatch(f"{self.mnemonic} of {' '.join(dtypes)}: legal element types are {legal}",
                               hint=f"pto isa {self.mnemonic} lists them" if len(self.dtypes) > SHOWN else "")
        places = tuple((t.space, t.layout) if isinstance(t, TileType) else GM for t in types)
        for route in self.routes:
            if route.places == places:
                return route
        had = ", ".join(f"{n} in {place_name(p)}" for n, p in zip(names, places, strict=True))
        legal = "; ".join(", ".join(map(place_name, r.places)) for r in self.routes)
        raise TypeMismatch(f"{self.mnemonic} cannot have {had}", hint=f"legal places: {legal}")


GM: Place = (None, Layout.ROW)


def place_name(place: Place) -> str:
    """A place in words: ``ub``, ``l0c panel``, ``gm``."""
    space, layout = place
    name = space.value if space else "gm"
    return name if layout is Layout.ROW else f"{name} {layout.value}"


def tile(name: str, rows: str | int = "rows", cols: str | int = "cols", *, role: Role = Role.IN,
         at: tuple[str | int, str | int] | None = None, picks: tuple[str, str] | None = None) -> Operand:
    """A tile operand."""
    return Operand(name, Kind.TILE, role, rows, cols, at, picks)


def tensor(name: str, rows: str | int = "rows", cols: str | int = "cols", *, role: Role = Role.IN,
           column: str | int = "j") -> Operand:
    """A window of an argument in global memory, at row `i` and a column."""
    return Operand(name, Kind.TENSOR, role, rows, cols, ("i", column))


def index(*names: str) -> tuple[Operand, ...]:
    """Integer operands with these names."""
    return tuple(Operand(name, Kind.INDEX) for name in names)
