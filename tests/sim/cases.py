"""Random uses of one instruction, as whole programs that bring every operand in and every result out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pto.core.arrays import numpy_dtype
from pto.core.dtypes import BY_NUMPY, DTYPES, F32, S8, S16, S32, DType
from pto.core.types import PANEL_COLS, Layout, Space, TileType
from pto.isa.program import Arg, Inst, Program, Reg, TensorDecl, TileDecl, TileRef, ViewDecl
from pto.isa.spec import WHOLE, Instr, Kind, Operand, Role, Route
from pto.isa.table import cube, move, scalar, vector

EDGES = np.array([0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F812345, 0xFFC54321, 1, 0x80000003, 0x007FFFFF,
                  0x7F7FFFFF, 0xFF7FFFFF, 0x3F800000, 0x42B17218, 0xC2CFF1B5], np.uint32).view(np.float32)
EYES, LARGEST, TALL = {F32: 64, S8: 192}, 40, 20
APART = {Space.L1: 1 << 18, Space.L0A: 24 << 10, Space.L0B: 24 << 10, Space.L0C: 1 << 17}  # where staging tiles begin
READ_TO, UB_END = Reg(50), (256 << 10) - 64
CAPACITIES = [(Space.L1, Layout.ROW), (Space.L0A, Layout.ROW), (Space.L0B, Layout.PANEL), (Space.L0C, Layout.PANEL)]


def stored(register: int, tile: int, tensor: int, place: int = 0) -> list[Inst]:
    """Store a register, sixteen bits a time, as the first bits of the mantissas of numbers from 1 to 2."""
    bits, code = Reg(40), []
    for part in range(4):
        code += [
            Inst(scalar.DIV, (bits, Reg(register), 1 << 16 * part)), Inst(scalar.MOD, (bits, bits, 1 << 16)),
            Inst(scalar.MADD, (bits, bits, 1 << 36, 0x3FF << 52)), Inst(vector.TEXPANDS, (TileRef(tile), bits, 1, 1)),
            Inst(move.TSTORE, (tensor, TileRef(tile), 0, place + part, 1, 1)),
        ]
    return code


class Case:
    """One instruction on tiles full of numbers, all of which are stored afterwards."""

    def __init__(self, rng: np.random.Generator, row: Instr, route: Route, types: tuple[str, ...] = ("f32",),
                 fixed: dict[str, int] | None = None) -> None:
        self.rng, self.row, self.route = rng, row, route
        memory = [row.operands[i].name for i in row.memory]
        self.types = dict(zip(memory, types * len(memory) if len(types) == 1 else types, strict=True))
        self.tiles: list[TileDecl] = []
        self.tensors: list[TensorDecl] = []
        self.arrays: list[np.ndarray] = []
        self.views: list[tuple[ViewDecl, tuple[int, ...]]] = []
        self.code: list[Inst] = []
        self.free = dict.fromkeys(Space, 0)
        plain = any(space is not Space.UB for space, _ in route.places if space)
        self.wild = not plain
        self.word = self.tensor(np.zeros(4, np.float32)) if row.operands[0].kind is Kind.DEST else -1
        self.eyes = {dtype: self.tensor(np.eye(side, dtype=dtype.numpy)) for dtype, side in EYES.items()}
        self.numbers = {o.name: int(rng.integers(0, LARGEST)) for o in row.operands if o.kind is Kind.INDEX}
        self.numbers |= {name: int(rng.integers(0, 5)) for name in ("i", "j", "acc") if name in self.numbers}
        if "width" in self.numbers:
            self.numbers["width"] += 1
        self.numbers |= {name: value for name, value in (fixed or {}).items() if name in self.numbers}
        self.places = dict(zip((row.operands[i].name for i in row.memory), route.places, strict=True))
        self.used: dict[str, tuple[int, int]] = {}  # tile and offset, or -1 and tensor
        self.filled: dict[int, int] = {}  # tensors by the tiles that they are loaded to
        self.drained: dict[int, int] = {}  # tensors by the tiles that are stored to them
        for position in row.memory:
            self.operand(row.operands[position])
        for tile, offset in set(self.used.values()):
            if tile >= 0:
                self.fill(tile, offset)
        for number, (view, numbers) in enumerate(self.views):
            self.add(scalar.TVIEW, -1 - number, view.tensor, *numbers)
        self.at = len(self.code)
        attrs = tuple(str(rng.choice(attr.values)) for attr in row.attrs)
        self.code.append(Inst(row, tuple(self.argument(o) for o in row.operands), attrs))
        for tile, offset in sorted(set(self.used.values())):
            if tile >= 0:
                self.drain(tile, offset)
        if row.operands[0].kind is Kind.DEST:
            self.code += stored(READ_TO.number, self.tile(TileType(F32, 1, 1, Space.UB), UB_END), self.word)
        self.code.append(Inst(scalar.HALT))

    def values(self, dtype: DType, *shape: int) -> np.ndarray:
        """Random elements: floats of one magnitude and special ones, integers of the whole range."""
        if dtype.kind == "p":
            return self.rng.random(shape) < 0.5
        if dtype.kind != "f":
            return self.rng.integers(0, 256, (*shape, dtype.size), np.uint8).view(dtype.numpy)[..., 0]
        scale = self.rng.choice([1, 30, 1e-20, 1e19] if dtype is F32 else [1, 30, 1e-6])
        x = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        wild = self.wild or dtype is not F32
        x = np.where(self.rng.random(shape) < 0.2 * wild, self.rng.choice(EDGES, shape), x)
        with np.errstate(all="ignore"):
            return x.astype(np.float32).astype(numpy_dtype(dtype))

    def tensor(self, array: np.ndarray) -> int:
        dtype = BY_NUMPY[array.dtype.name]
        self.tensors.append(TensorDecl(f"x{len(self.tensors)}", dtype, array.shape, written=True))
        self.arrays.append(array)
        return len(self.tensors) - 1

    def view(self, dtype: DType, rows: int, cols: int) -> int:
        """A view of rows x cols of a tensor, its rows or its columns next to each other or not; its own number."""
        apart = int(self.rng.choice([1, 1, 3]))
        strides = ((cols - 1) * apart + 1 + int(self.rng.integers(0, 3)), apart)
        if self.rng.random() < 0.5:
            strides = (apart, (rows - 1) * apart + 1 + int(self.rng.integers(0, 3)))
        offset = int(self.rng.integers(0, 9))
        last = offset + (rows - 1) * strides[0] + (cols - 1) * strides[1]
        tensor = self.tensor(self.values(dtype, 1, last + 1 + int(self.rng.integers(0, 3))))
        self.views.append((ViewDecl(f"v{len(self.views)}", tensor), (offset, rows, cols, *strides)))
        return -len(self.views)

    def tile(self, kind: TileType, address: int, slots: int = 1) -> int:
        self.tiles.append(TileDecl(f"t{len(self.tiles)}", kind, address, slots))
        return len(self.tiles) - 1

    def extent(self, side: str | int) -> int:
        if side == WHOLE:
            return TALL
        return side if isinstance(side, int) else self.numbers[side]

    def operand(self, operand: Operand) -> None:
        """Declare what an operand names, large enough; sometimes a tile that an earlier operand names."""
        rows, cols = self.extent(operand.rows), self.extent(operand.cols)
        slack = self.rng.integers(0, 4, 2).tolist()
        dtype = DTYPES[self.types[operand.name]]
        first = [self.extent(name) for name in operand.at or (0, 0)]
        rows, cols = max(1, rows + first[0] + slack[0]), max(1, cols + first[1] + slack[1])
        if operand.kind is Kind.TENSOR:
            made = self.view if self.rng.random() < 0.4 else lambda *what: self.tensor(self.values(*what))
            self.used[operand.name] = (-1, made(dtype, rows, cols))
            return
        space, layout = self.places[operand.name]
        assert space is not None
        for name, (tile, offset) in self.used.items():
            if self.places[name] == (space, layout) and slack[0]:
                kind = self.tiles[tile].type
                if kind.dtype is dtype and kind.rows >= rows and kind.cols >= cols:
                    self.used[operand.name] = (tile, offset)
                    return
        if layout is Layout.PANEL:
            cols = -(-cols // PANEL_COLS) * PANEL_COLS
            rows = -(-rows * dtype.size // F32.size) * F32.size // dtype.size
        elif operand.cols == 1 and not operand.at:
            cols = 1
        kind = TileType(dtype, rows, cols, space, layout)
        offset = int(self.rng.integers(0, kind.nbytes // 64 + 1)) * 64
        self.used[operand.name] = (self.tile(kind, self.free[space], 2), offset)
        self.free[space] += -(-2 * kind.nbytes // 64) * 64

    def argument(self, operand: Operand) -> Arg:
        if operand.kind is Kind.TILE:
            return TileRef(*self.used[operand.name])
        if operand.kind is Kind.TENSOR:
            return self.used[operand.name][1]
        if operand.kind is Kind.DEST:
            return READ_TO
        return self.numbers[operand.name] if operand.kind is Kind.INDEX else float(self.rng.choice([0.1, -3.7, 1e300]))

    def add(self, row: Instr, *args: Arg) -> None:
        self.code.append(Inst(row, args))

    def staged(self, space: Space, rows: int, cols: int, tensor: int) -> TileRef:
        """A tile in L0A or L0B with the first elements of a tensor."""
        layout, dtype = dict(CAPACITIES)[space], self.tensors[tensor].dtype
        wide = -(-cols // PANEL_COLS) * PANEL_COLS
        source = TileRef(self.tile(TileType(dtype, rows, cols, Space.L1), APART[Space.L1]))
        kind = TileType(dtype, rows, wide if layout is Layout.PANEL else cols, space, layout)
        result = TileRef(self.tile(kind, APART[space]))
        self.add(move.TLOAD, source, tensor, 0, 0, rows, cols)
        self.add(move.TEXTRACT, result, source, 0, 0, rows, cols)
        return result

    def fill(self, tile: int, offset: int) -> None:
        """Give every element of a tile a number."""
        kind, target = self.tiles[tile].type, TileRef(tile, offset)
        if kind.space is Space.L0C and kind.dtype.size < F32.size:  # no product is such: bytes of one that is f32
            kind = TileType(F32, kind.rows * kind.dtype.size // F32.size, kind.cols, kind.space, kind.layout)
            target = TileRef(self.tile(kind, self.tiles[tile].address, self.tiles[tile].slots), offset)
        r, c = kind.rows, kind.cols
        integer = kind.space is Space.L0C and kind.dtype.kind == "i"
        values = self.values(S16 if integer else kind.dtype, r, c)
        picks = next((o.picks for o in self.row.operands if self.used.get(o.name) == (tile, offset) and o.picks), None)
        if picks:
            limit = TALL if picks[1] == "rows" else self.numbers["width"]
            values = self.rng.integers(0, max(limit, 1), (r, c)).astype(np.int32)
        tensor = self.filled[tile] = self.tensor(values)
        if kind.space in (Space.UB, Space.L1):
            self.add(move.TLOAD, target, tensor, 0, 0, r, c)
        elif kind.space is Space.L0C:
            eye = self.eyes[S8 if integer else F32]
            left, right = self.staged(Space.L0A, r, c, tensor), self.staged(Space.L0B, c, c, eye)
            self.add(cube.TMATMUL, target, left, right, r, c, c, 0)
        else:
            source = TileRef(self.tile(TileType(kind.dtype, r, c, Space.L1), APART[Space.L1]))
            self.add(move.TLOAD, source, tensor, 0, 0, r, c)
            self.add(move.TEXTRACT, target, source, 0, 0, r, c)

    def drain(self, tile: int, offset: int) -> None:
        """Store every element of a tile: what is in L1, L0A or L0B by way of a product with ones."""
        kind, source = self.tiles[tile].type, TileRef(tile, offset)
        if kind.space in (Space.UB, Space.L0C):
            tensor = self.drained[tile] = self.tensor(np.zeros((kind.rows, kind.cols), numpy_dtype(kind.dtype)))
            self.add(move.TSTORE, tensor, source, 0, 0, kind.rows, kind.cols)
            return
        if kind.dtype is not F32:  # its bytes, as integers
            rows, cols = kind.rows, kind.cols * kind.dtype.size
            if kind.layout is Layout.PANEL:
                rows, cols = kind.rows * kind.dtype.size, kind.cols
            address, slots = self.tiles[tile].address, self.tiles[tile].slots
            kind = TileType(S8, rows, cols, kind.space, kind.layout)
            source = TileRef(self.tile(kind, address, slots), offset)
        r, c, eye = kind.rows, kind.cols, self.eyes[kind.dtype]
        result = F32 if kind.dtype is F32 else S32
        tensor = self.drained[tile] = self.tensor(np.zeros((r, c), result.numpy))
        wide = -(-c // PANEL_COLS) * PANEL_COLS
        product = TileRef(self.tile(TileType(result, r, wide, Space.L0C, Layout.PANEL), APART[Space.L0C]))
        if kind.space is Space.L0B:
            self.add(cube.TMATMUL, product, self.staged(Space.L0A, r, r, eye), source, r, c, r, 0)
        else:
            if kind.space is Space.L1:
                left = TileRef(self.tile(TileType(kind.dtype, r, c, Space.L0A), APART[Space.L0A]))
                self.add(move.TEXTRACT, left, source, 0, 0, r, c)
                source = left
            self.add(cube.TMATMUL, product, source, self.staged(Space.L0B, c, c, eye), r, c, c, 0)
        self.add(move.TSTORE, tensor, product, 0, 0, r, c)

    def program(self) -> Program:
        written = {number for inst in self.code for number in self.written(inst)}
        tensors = tuple(replace(t, written=i in written) for i, t in enumerate(self.tensors))
        decls = {"tensors": tensors, "tiles": tuple(self.tiles), "views": tuple(v for v, _ in self.views)}
        return Program("case", "V2", code=tuple(map(self.numbered, self.code)), **decls)

    def written(self, inst: Inst) -> Iterator[int]:
        """Tensors that an instruction stores to, by themselves or by a view: only loads from others can be loans."""
        for operand, arg in zip(inst.spec.operands, inst.args, strict=True):
            if operand.kind is Kind.TENSOR and Role.OUT in operand.role:
                yield arg if arg >= 0 else self.views[-1 - arg][0].tensor

    def numbered(self, inst: Inst) -> Inst:
        """The instruction with views numbered behind all tensors."""
        surfaces = [i for i, o in enumerate(inst.spec.operands) if o.kind in (Kind.TENSOR, Kind.SLOT)]
        args = [len(self.tensors) - 1 - a if i in surfaces and a < 0 else a for i, a in enumerate(inst.args)]
        return Inst(inst.spec, tuple(args), inst.attrs)


def joined(cases: list[Case]) -> tuple[Program, list[np.ndarray], list[int]]:
    """The cases one after the other, as one program; its arrays, and where those of each case begin."""
    tensors: list[TensorDecl] = []
    tiles: list[TileDecl] = []
    views: list[ViewDecl] = []
    code: list[Inst] = []
    starts: list[int] = []
    count = sum(len(case.tensors) for case in cases)
    for number, case in enumerate(cases):
        own = case.program()
        starts.append(len(tensors))
        for inst in case.code[:-1]:
            args = []
            for operand, arg in zip(inst.spec.operands, inst.args, strict=True):
                if isinstance(arg, TileRef):
                    arg = TileRef(arg.tile + len(tiles), arg.offset)
                elif operand.kind in (Kind.TENSOR, Kind.SLOT):
                    arg = arg + len(tensors) if arg >= 0 else count + len(views) - 1 - arg
                args.append(arg)
            code.append(Inst(inst.spec, tuple(args), inst.attrs))
        tiles += [replace(tile, name=f"{tile.name}_{number}") for tile in own.tiles]
        views += [ViewDecl(f"{view.name}_{number}", view.tensor + len(tensors)) for view in own.views]
        tensors += [replace(tensor, name=f"{tensor.name}_{number}") for tensor in own.tensors]
    program = Program("cases", "V2", tensors=tuple(tensors), tiles=tuple(tiles), views=tuple(views),
                      code=(*code, Inst(scalar.HALT)))
    return program, [array for case in cases for array in case.arrays], starts
