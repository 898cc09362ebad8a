"""Programs that the tests of the machines share, written by hand."""

from __future__ import annotations

from pto.core.dtypes import F32
from pto.core.errors import Loc
from pto.core.types import Layout, Space, TileType
from pto.isa.program import Inst, Parameter, Program, Reg, TensorDecl, TileDecl, TileRef
from pto.isa.spec import Instr, Pipe
from pto.isa.table import cube, move, scalar, sync

S, MTE2, MTE1, M, V, FIX, MTE3 = Pipe
SET, WAIT = sync.SET_FLAG, sync.WAIT_FLAG
R = [Reg(i) for i in range(64)]


class Listing:
    """Instructions in order; a string operand is a label."""

    def __init__(self) -> None:
        self.code: list[tuple[Instr, tuple]] = []
        self.labels: dict[str, int] = {}

    def __call__(self, row: Instr, *args: object) -> None:
        self.code.append((row, args))

    def label(self, name: str) -> None:
        """The next instruction's name."""
        self.labels[name] = len(self.code)

    def flag(self, row: Instr, src: Pipe, dst: Pipe, number: object = 0) -> None:
        """A set_flag or wait_flag."""
        self(row, int(src), int(dst), number)

    def program(self, **declarations: object) -> Program:
        """The finished program, one span a line."""
        code = tuple(
            Inst(row, tuple(self.labels[a] if isinstance(a, str) else a for a in args)) for row, args in self.code
        )
        spans = tuple(Loc("k.py", pc + 1, 4, 8, f"    line {pc + 1}") for pc in range(len(code)))
        lines = tuple((pc,) for pc in range(len(code)))
        return Program("test", "V2", code=code, spans=spans, lines=lines, **declarations)


def tile(name: str, space: Space, rows: int, cols: int, *, layout: Layout = Layout.ROW, address: int = 0,
         slots: int = 1) -> TileDecl:
    """A declared tile of f32."""
    return TileDecl(name, TileType(F32, rows, cols, space, layout), address, slots)


GEMM_TILES = (
    tile("a1", Space.L1, 32, 16, slots=2),
    tile("b1", Space.L1, 16, 32, address=4096, slots=2),
    tile("a0", Space.L0A, 32, 16),
    tile("b0", Space.L0B, 16, 32, layout=Layout.PANEL),
    tile("c", Space.L0C, 32, 32, layout=Layout.PANEL),
)
GEMM_PARAMETERS = tuple(Parameter(name, 1, 4096) for name in "MNK")
GEMM_TENSORS = (
    TensorDecl("a", F32, ("M", "K")), TensorDecl("b", F32, ("K", "N")),
    TensorDecl("c", F32, ("M", "N"), written=True, read=False),
)
ROW, COL, K, P, VM, VN, VK, OFF, ACC, STEP = R[5:15]


def gemm() -> Program:
    """C = A B in tiles of 32 x 32 x 16, L1 double-buffered; rows of tiles are dealt to the cores."""
    out = Listing()
    primed = [(FIX, M, 0), (M, MTE1, 0), *((MTE1, MTE2, i) for i in range(2))]
    for flag in primed:
        out.flag(SET, *flag)
    out(scalar.MUL, STEP, R[1], 32)
    out(scalar.MUL, ROW, R[0], 32)
    out(scalar.BGE, ROW, R[2], "end")
    out.label("rows")
    out(scalar.SUB, VM, R[2], ROW)
    out(scalar.MIN, VM, VM, 32)
    out(scalar.MOV, COL, 0)
    out.label("cols")
    out(scalar.SUB, VN, R[3], COL)
    out(scalar.MIN, VN, VN, 32)
    out.flag(WAIT, FIX, M)
    out(scalar.MOV, K, 0)
    out.label("products")
    _products(out)
    out(scalar.ADD, K, K, 16)
    out(scalar.BLT, K, R[4], "products")
    out.flag(SET, M, FIX)
    out.flag(WAIT, M, FIX)
    out(move.TSTORE, 2, TileRef(4), ROW, COL, VM, VN)
    out.flag(SET, FIX, M)
    out(scalar.ADD, COL, COL, 32)
    out(scalar.BLT, COL, R[3], "cols")
    out(scalar.ADD, ROW, ROW, STEP)
    out(scalar.BLT, ROW, R[2], "rows")
    out.label("end")
    for flag in primed:
        out.flag(WAIT, *flag)
    out(scalar.HALT)
    return out.program(parameters=GEMM_PARAMETERS, tensors=GEMM_TENSORS, tiles=GEMM_TILES)


def _products(out: Listing) -> None:
    """One step in k: load, extract, multiply."""
    out(scalar.SUB, VK, R[4], K)
    out(scalar.MIN, VK, VK, 16)
    out(scalar.MADD, OFF, P, 2048, 0)
    out.flag(WAIT, MTE1, MTE2, P)
    out(move.TLOAD, TileRef(0, OFF), 0, ROW, K, VM, VK)
    out(move.TLOAD, TileRef(1, OFF), 1, K, COL, VK, VN)
    out.flag(SET, MTE2, MTE1, P)
    out.flag(WAIT, MTE2, MTE1, P)
    out.flag(WAIT, M, MTE1)
    out(move.TEXTRACT, TileRef(2), TileRef(0, OFF), 0, 0, VM, VK)
    out(move.TEXTRACT, TileRef(3), TileRef(1, OFF), 0, 0, VK, VN)
    out.flag(SET, MTE1, MTE2, P)
    out.flag(SET, MTE1, M)
    out.flag(WAIT, MTE1, M)
    out(scalar.LT, ACC, 0, K)
    out(cube.TMATMUL, TileRef(4), TileRef(2), TileRef(3), VM, VN, VK, ACC)
    out.flag(SET, M, MTE1)
    out(scalar.XOR, P, P, 1)
