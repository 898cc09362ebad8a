"""A small matrix product as a program, built by hand: what the golden text and the mutants start from."""

from __future__ import annotations

from pto.core.dtypes import F32
from pto.core.errors import Loc
from pto.core.types import Layout, Space, TileType
from pto.isa.program import Inst, Parameter, Program, Reg, TensorDecl, TileDecl, TileRef
from pto.isa.spec import Pipe
from pto.isa.table import BY_MNEMONIC

A1, B1, A0, B0, ACC = map(TileRef, range(5))
A, B, C = range(3)
M, K, N, LO, ROWS, COLS, DEPTH, MORE = map(Reg, range(2, 10))
MTE2, MTE1, CUBE, FIX = (int(p) for p in (Pipe.MTE2, Pipe.MTE1, Pipe.M, Pipe.FIX))
HEAD, BODY, LAST = 0, 1, 2
LOOP, DONE = 4, 22

TILES = (
    TileDecl("a1", TileType(F32, 64, 64, Space.L1), 0),
    TileDecl("b1", TileType(F32, 64, 64, Space.L1), 32768, 2),
    TileDecl("a0", TileType(F32, 64, 64, Space.L0A), 0),
    TileDecl("b0", TileType(F32, 64, 64, Space.L0B, Layout.PANEL), 0),
    TileDecl("acc", TileType(F32, 64, 64, Space.L0C, Layout.PANEL), 0),
)
CODE: tuple[tuple[int, str, tuple[object, ...]], ...] = (
    (HEAD, "min", (ROWS, M, 64)),
    (HEAD, "min", (COLS, N, 64)),
    (HEAD, "mov", (LO, 0)),
    (HEAD, "bge", (LO, K, DONE)),
    (BODY, "sub", (DEPTH, K, LO)),
    (BODY, "min", (DEPTH, DEPTH, 64)),
    (BODY, "tload", (A1, A, 0, LO, ROWS, DEPTH)),
    (BODY, "tload", (TileRef(1, 16384), B, LO, 0, DEPTH, COLS)),
    (BODY, "set_flag", (MTE2, MTE1, 0)),
    (BODY, "wait_flag", (MTE2, MTE1, 0)),
    (BODY, "textract", (A0, A1, 0, 0, ROWS, DEPTH)),
    (BODY, "textract", (B0, TileRef(1, 16384), 0, 0, DEPTH, COLS)),
    (BODY, "set_flag", (MTE1, CUBE, 0)),
    (BODY, "wait_flag", (MTE1, CUBE, 0)),
    (BODY, "lt", (MORE, 0, LO)),
    (BODY, "tmatmul", (ACC, A0, B0, ROWS, COLS, DEPTH, MORE)),
    (BODY, "set_flag", (CUBE, MTE1, 0)),
    (BODY, "wait_flag", (CUBE, MTE1, 0)),
    (BODY, "set_flag", (MTE1, MTE2, 0)),
    (BODY, "wait_flag", (MTE1, MTE2, 0)),
    (BODY, "add", (LO, LO, 64)),
    (BODY, "blt", (LO, K, LOOP)),
    (LAST, "set_flag", (CUBE, FIX, 0)),
    (LAST, "wait_flag", (CUBE, FIX, 0)),
    (LAST, "tstore", (C, ACC, 0, 0, ROWS, COLS)),
    (LAST, "halt", ()),
)
GEMM = Program(
    "gemm", "V2",
    (Parameter("M", 1, 64), Parameter("K", 1), Parameter("N", 1, 64)),
    (TensorDecl("A", F32, ("M", "K")), TensorDecl("B", F32, ("K", "N")), TensorDecl("C", F32, ("M", "N"), True, False)),
    TILES,
    tuple(Inst(BY_MNEMONIC[name], args) for _, name, args in CODE),
    (
        Loc("/home/me/gemm.py", 5, 0, 31, "def gemm(A, B, C, tile_k=64):"),
        Loc("/home/me/gemm.py", 7, 8, 41, "        acc += pt.tile_matmul(A[:, k], B[k])"),
        Loc("/home/me/gemm.py", 8, 4, 16, "    C[:] = acc  # \"done\"; é"),
    ),
    tuple((span,) if span != BODY else (span, HEAD) for span, _, _ in CODE),
)
