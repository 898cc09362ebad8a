"""Random programs of several pipes and cores, some ordered, some not: what the two judges of races are compared on."""

from __future__ import annotations

import numpy as np

from pto.core.dtypes import F32
from pto.core.types import Layout, Space
from pto.isa.program import Program, TensorDecl, TileRef, ViewDecl
from pto.isa.spec import Pipe
from pto.isa.table import cube, move, scalar, sync, vector
from tests.sim.programs import FIX, MTE1, MTE2, MTE3, SET, WAIT, Listing, M, R, S, V, tile

TILES = (
    tile("u", Space.UB, 8, 20, slots=2), tile("v", Space.UB, 16, 16, address=512), tile("q", Space.UB, 16, 1,
    layout=Layout.COL, address=1280), tile("l", Space.L1, 16, 36), tile("a", Space.L0A, 16, 20),
    tile("b", Space.L0B, 16, 32, layout=Layout.PANEL), tile("c", Space.L0C, 16, 32, layout=Layout.PANEL),
)
U, VV, Q, L, A, B, C = range(7)
TENSORS = (TensorDecl("x", F32, (24, 30), written=True), TensorDecl("y", F32, (24, 30), written=True))
VIEWS = (ViewDecl("w", 0),)
PIPES = (MTE2, MTE1, M, V, FIX, MTE3)


class Soup:
    """Builds one program."""

    def __init__(self, rng: np.random.Generator, cores: int, order: float) -> None:
        self.rng, self.cores, self.order, self.out = rng, cores, order, Listing()
        self.pending: list[tuple[Pipe, Pipe, int]] = []

    def below(self, *limits: int) -> list[int]:
        return [int(self.rng.integers(0, limit)) for limit in limits]

    def extent(self, most: int) -> int:
        """Often all of it, so that regions are often the same."""
        return most if self.rng.random() < 0.5 else 1 + self.below(most)[0]

    def window(self, rows: int, cols: int) -> list[object]:
        """Tensor or view, first row and column: of a core's own part, half of the time."""
        i, j = self.below(25 - rows, 29 - cols) if self.rng.random() < 0.3 else (0, 0)
        return [self.below(3)[0], i, j]

    def step(self) -> None:
        """One tile instruction."""
        rows, cols = self.extent(8), self.extent(16)
        u, v, q = TileRef(U, 640 * self.below(2)[0]), TileRef(VV), TileRef(Q)
        surface, i, j = self.window(rows, cols)
        flat = int(surface) if isinstance(surface, int) else 0
        choice = self.below(11)[0]
        rest: list[tuple] = [
            (move.TLOAD, u, surface, i, j, rows, cols), (move.TLOAD, TileRef(L), surface, i, j, rows, cols),
            (move.TSTORE, min(flat, 1), u, i, j, rows, cols), (vector.TADD, u, v, u, rows, cols),
            (vector.TADDS, v, v, 1.0, rows, cols), (vector.TROWSUM, q, u, rows, cols),
            (move.TSTORE, 1, q, i, j, rows, 1),
            (move.TEXTRACT, TileRef(A), TileRef(L), *self.below(4, 4), rows, cols),
            (move.TEXTRACT, TileRef(B), TileRef(L), *self.below(4, 4), rows, cols),
            (cube.TMATMUL, TileRef(C), TileRef(A), TileRef(B), rows, cols, rows, self.below(2)[0]),
            (move.TMOV, v, TileRef(C), rows, cols),
        ]
        self.out(*rest[choice])

    def flags(self) -> None:
        """Set a flag that is not set, or wait for one that is."""
        if self.pending and self.rng.random() < 0.6:
            self.out.flag(WAIT, *self.pending.pop(self.below(len(self.pending))[0]))
            return
        src, dst = self.rng.choice(len(PIPES), 2, replace=False).tolist()
        flag = (PIPES[src], PIPES[dst], self.below(2)[0])
        if flag not in self.pending:
            self.pending.append(flag)
            self.out.flag(SET, *flag)

    def between(self) -> None:
        """A barrier, or an event from every core to the next, taken at once or later."""
        draw = self.rng.random()
        if draw < 0.3:
            self.out(sync.PIPE_BARRIER)
        elif draw < 0.5:
            self.out(sync.SYNC_ALL)
        else:
            pipe = PIPES[self.below(len(PIPES))[0]] if draw < 0.9 else S
            number = self.below(2)[0]
            self.out(sync.EVENT_SET, int(pipe), R[10], number)
            for _ in range(self.below(4)[0]):
                self.step()
            self.out(sync.EVENT_WAIT, R[11], number)

    def program(self, length: int) -> Program:
        """The finished program."""
        out = self.out
        out(scalar.ADD, R[10], R[0], 1)
        out(scalar.MOD, R[10], R[10], R[1])
        out(scalar.ADD, R[11], R[0], self.cores - 1)
        out(scalar.MOD, R[11], R[11], R[1])
        out(scalar.TVIEW, 2, 0, *((5, 24, 28, 1, 24) if self.rng.random() < 0.5 else (0, 24, 30, 29, 1)))
        while len(out.code) < length:
            draw = self.rng.random()
            if draw < 0.45:
                self.step()
            elif draw < 0.45 + self.order * 0.5:
                self.flags()
            elif draw > 0.97 - 0.1 * self.order:
                self.between()
        for flag in self.pending:
            out.flag(WAIT, *flag)
        out(scalar.HALT)
        return out.program(tiles=TILES, tensors=TENSORS, views=VIEWS)


def soup(seed: int, cores: int, length: int = 24) -> Program:
    """A random program; some seeds give long ones with much order."""
    rng = np.random.default_rng([seed, cores])
    return Soup(rng, cores, float(rng.choice([0.3, 1.0]))).program(int(rng.integers(8, length)))


def arrays() -> list[np.ndarray]:
    """Arguments for it."""
    return [np.ones((24, 30), np.float32) for _ in TENSORS]
