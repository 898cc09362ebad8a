"""The watch of a checked run: its tables, their growth, and what it found, in words."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import require_known
from pto.core.target import BY_NAME
from pto.core.types import PANEL_COLS, Layout, TileType
from pto.isa.program import Program, TileRef
from pto.isa.spec import Pipe
from pto.sim.access import Access, Race
from pto.sim.layout import EVENTS, FLAGS
from pto.sim.link import flag_name
from pto.sim.traps import MachineTrap, TrapKind, trap_error
from pto.sim.waiting import event_name
from pto.sim.watch import words as w
from pto.sim.watch.footprints import footprints

PIPES = len(Pipe)
MODES = {"uninitialised": w.UNINITIALISED, "races": w.RACES}
POOLS = {  # table: free list, count of what is free, words of an item, the link in it
    w.ENTRIES: (w.ENTRIES_FREE, w.ENTRIES_LEFT, w.E_WORDS, w.E_NEXT, 1 << 12),
    w.GROUPS: (w.GROUPS_FREE, w.GROUPS_LEFT, w.G_WORDS, w.G_NEXT, 1 << 8),
    w.NODES: (w.NODES_FREE, w.NODES_LEFT, 0, w.N_NEXT, 1 << 4),
}
Table = NDArray[np.int64]


def chosen(check: str | Collection[str]) -> frozenset[str]:
    """The checks of a machine, from their names or ``all``.

    Raises:
        UsageError: there is no such check.
    """
    names = frozenset(filter(None, check.split(","))) if isinstance(check, str) else frozenset(check)
    for name in sorted(names):
        require_known((*sorted(MODES), "all"), name, "check")
    return frozenset(MODES) if "all" in names else names


class Watch:
    """What one checked launch keeps."""

    def __init__(self, program: Program, cores: int, check: frozenset[str], nbytes: list[int]) -> None:
        self.program, self.cores = program, cores
        self.words = np.zeros(w.WATCH_WORDS, np.int64)
        self.tables: dict[int, Table] = {}
        self.clocks = clocks = cores * PIPES
        self.words[w.MODES], self.words[w.CLOCKS] = sum(MODES[name] for name in check), clocks
        flags = cores * PIPES ** 2 * FLAGS
        sizes = {
            w.NOW: clocks ** 2, w.JOINED: clocks, w.VERSION: cores, w.FLAG_CLOCKS: flags * clocks,
            w.FLAG_LAST: flags * w.L_WORDS, w.BARRIERS: 2 * clocks, w.CHANNELS: cores ** 2 * EVENTS * w.C_WORDS,
        }
        for table, size in sizes.items():
            self._place(table, np.zeros(size, np.int64))
        self._place(w.FOOTPRINTS, footprints(program, cores))
        capacity = BY_NAME[program.target].capacity
        self.words[w.MEMORIES], self.memories = len(capacity), list(capacity) * cores
        self.shadows = [self._shadow(size, True) for _, size in self.memories]
        self.shadows += [self._shadow(size, False) for size in nbytes]
        places = [table.ctypes.data for shadow in self.shadows for table in shadow]
        self._place(w.PLACES, np.array(places, np.int64))
        for pool in POOLS:
            self._fill(pool, POOLS[pool][-1])

    @property
    def address(self) -> int:
        """Where its words are."""
        return self.words.ctypes.data

    def grow(self) -> None:
        """Double the pools that are half used up: one of them was used up when the run stopped.

        Where none is, an instruction asked for more entries at once than there are.
        """
        sizes = {pool: len(self.tables[pool]) // self._width(pool) for pool in POOLS}
        scarce = [pool for pool, (_, left, *_) in POOLS.items() if 2 * self.words[left] <= sizes[pool]]
        for pool in scarce or [w.ENTRIES]:
            self._fill(pool, 2 * sizes[pool])

    def _place(self, table: int, array: Table) -> None:
        self.tables[table] = array
        self.words[table] = array.ctypes.data

    @staticmethod
    def _shadow(nbytes: int, on_chip: bool) -> tuple[Table, Table]:
        granules = -(-nbytes // 64)
        return np.zeros(granules, np.int64), np.zeros(granules if on_chip else 0, np.int64)

    def _width(self, pool: int) -> int:
        return POOLS[pool][2] or w.N_CLOCK + self.clocks

    def _fill(self, pool: int, size: int) -> None:
        """Make a pool larger; item 0 is none."""
        first, left, _, link, _ = POOLS[pool]
        old, width = self.tables.get(pool, np.zeros(0, np.int64)), self._width(pool)
        table = np.zeros(size * width, np.int64)
        table[:len(old)] = old
        start = max(1, len(old) // width)
        links = table.reshape(size, width)[start:, link]
        links[:-1] = np.arange(start + 1, size)
        links[-1], self.words[first] = self.words[first], start
        self.words[left] += size - start
        self._place(pool, table)

    def race(self, pc: int, core: int) -> MachineTrap:
        """The trap of the race that stopped the run."""
        found = self._race(pc)
        return trap_error(self.program, TrapKind.RACE, pc, core, detail=str(found), race=found)

    def _race(self, pc: int) -> Race:
        r = self.words[w.REPORT_AT:].tolist()
        start, stop = (r[w.R_START], r[w.R_STOP]) if r[w.R_PLACE] >= 0 else (0, 1)
        place = self._place_name(r[w.R_PLACE], r[w.R_START], r[w.R_MINE] // PIPES)
        sides = ((r[w.R_PC], r[w.R_CHAIN], r[w.R_WRITES]), (pc, r[w.R_MINE], r[w.R_MY_WRITES]))
        first, second = (
            Access(at, Pipe(chain % PIPES), chain // PIPES, self.program.code[at].spec.mnemonic, bool(writes),
                   place, start, stop, self.program.span(at))
            for at, chain, writes in sides
        )
        return Race(first, second)

    def _place_name(self, place: int, number: int, core: int) -> str:
        if place == w.FLAG_PLACE:
            pair, flag = divmod(number, FLAGS)
            return flag_name(*divmod(pair, PIPES), flag)
        if place == w.EVENT_PLACE:
            return event_name((core, *divmod(number, EVENTS)))
        if place < len(self.memories):
            return self.memories[place][0].value
        return f"tensor {self.program.tensors[place - len(self.memories)].name}"

    def uninitialised(self, pc: int, core: int, position: int, byte: int) -> MachineTrap:
        """The trap of a read of a byte of an operand's memory that nothing has written."""
        arg = self.program.code[pc].args[position]
        assert isinstance(arg, TileRef)
        tile = self.program.tiles[arg.tile]
        assert tile.type.space is not None
        detail = f"{tile.type.space.value} byte {byte:#x}, {_element(tile.type, byte - tile.address)}"
        return trap_error(self.program, TrapKind.UNINITIALISED, pc, core, position, detail=detail)


def _element(kind: TileType, byte: int) -> str:
    """Which element of a tile a byte of its slots is in."""
    slot, rest = divmod(byte, kind.nbytes)
    at = rest // kind.dtype.size
    if kind.layout is Layout.PANEL:
        panel, at = divmod(at, PANEL_COLS * kind.rows)
        row, col = at // PANEL_COLS, panel * PANEL_COLS + at % PANEL_COLS
    elif kind.layout is Layout.COL:
        col, row = divmod(at, kind.rows)
    else:
        row, col = divmod(at, kind.cols)
    return f"slot {slot}, row {row}, column {col}"
