"""Products with streamed matrices: of more rows than kernels ask for, and of the integers that sums must not lose."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pto.core.dtypes import F16, F32, S8, S16, S32
from pto.core.types import Layout, Space, TileType
from pto.isa.program import Inst, Program, TensorDecl, TileDecl, TileRef
from pto.isa.table import BY_MNEMONIC
from pto.sim.machine import Machine

MANY = 700  # rows of a tile of which a single line each fits
TYPES = {(F32, F32): F32, (F16, F16): F32, (S8, S8): S32}


@pytest.mark.parametrize(("x_type", "w_type"), TYPES, ids=str)
@pytest.mark.parametrize("rows", [11, 12, 13, 24, MANY])
@pytest.mark.parametrize(("n", "k"), [(9, 37), (4, 64), (1, 1)])
@pytest.mark.parametrize("turned", [True, False], ids=["its transpose", "itself"])
def test_any_number_of_rows_meets_the_matrix(x_type, w_type, rows, n, k, turned):
    y_type, line = TYPES[x_type, w_type], 32 // x_type.size
    cols = 64 if rows < MANY else line
    k = min(k, cols)
    tiles = [TileDecl("x", TileType(x_type, rows, cols, Space.UB, Layout.ROW), 0),
             TileDecl("y", TileType(y_type, rows, 16, Space.UB, Layout.ROW), rows * cols * x_type.size)]
    tensors = [TensorDecl("x", x_type, (rows, k)), TensorDecl("w", w_type, (n, k) if turned else (k, n)),
               TensorDecl("y", y_type, (rows, n), written=True)]
    code = [("tload", TileRef(0), 0, 0, 0, rows, k), ("pipe_barrier",),
            ("texpands", TileRef(1), 1.0, rows, n), ("pipe_barrier",),
            ("tgemm_stream", TileRef(1), TileRef(0), 1, 0, rows, n, k) if turned else
            ("tgemm_stream_rows", TileRef(1), TileRef(0), 1, 0, rows, k, n), ("pipe_barrier",),
            ("tstore", 2, TileRef(1), 0, 0, rows, n), ("halt",)]
    program = Program("few", "V2", (), tuple(tensors), tuple(tiles),
                      tuple(Inst(BY_MNEMONIC[name], tuple(args)) for name, *args in code))
    rng = np.random.default_rng(rows)
    x, w = (rng.integers(-9, 9, decl.dims).astype(decl.dtype.numpy) for decl in tensors[:2])
    y = np.zeros((rows, n), y_type.numpy)
    Machine(program).run([x, w, y])
    right = w.T if turned else w
    np.testing.assert_array_equal(y, x.astype(np.int64) @ right.astype(np.int64) + (not turned))  # to what is there


EXTENTS = st.integers(1, 300) | st.sampled_from([511, 512, 513, 576, 1100, 1536, 2065])  # and around what is held
LOW, HIGH = {S8: -128, S16: -32768}, {S8: 127, S16: 32767}


def numbers(rng, dtype, shape, kind):
    """Integers of a type: any, or nothing but one of its ends, ones, or both ends."""
    ends = {"any": range(LOW[dtype], HIGH[dtype] + 1), "low": [LOW[dtype]], "high": [HIGH[dtype]], "ones": [1],
            "both": [LOW[dtype], HIGH[dtype]]}
    return rng.choice(np.array(ends[kind]), shape).astype(dtype.numpy)


def product(name, x, w, y, j=0):
    """What an instruction makes of rows x, of the window of w from column j on, and of y."""
    (m, k), n = x.shape, len(w)
    x_type, w_type = S8 if x.dtype == np.int8 else S16, S8
    cols, across = -(-k // 64) * 64, -(-n // 8) * 8
    tiles = [TileDecl("x", TileType(x_type, m, cols, Space.UB, Layout.ROW), 0),
             TileDecl("y", TileType(S32, m, across, Space.UB, Layout.ROW), m * cols * x_type.size)]
    tensors = [TensorDecl("x", x_type, (m, k)), TensorDecl("w", w_type, w.shape),
               TensorDecl("y", S32, (m, n), written=True)]
    where = (0, m, n, k) if name == "tgemm_stream" else (0, j, n, k)
    code = [("tload", TileRef(0), 0, 0, 0, m, k), ("tload", TileRef(1), 2, 0, 0, m, n), ("pipe_barrier",),
            (name, TileRef(1), TileRef(0), 1, *where), ("pipe_barrier",),
            ("tstore", 2, TileRef(1), 0, 0, m, n), ("halt",)]
    program = Program("one", "V2", (), tuple(tensors), tuple(tiles),
                      tuple(Inst(BY_MNEMONIC[name], tuple(args)) for name, *args in code))
    made = y.copy()
    Machine(program).run([x, w, made])
    return made


KINDS = st.sampled_from(["any", "low", "high", "ones", "both"])


@pytest.mark.parametrize("x_type", [S8, S16], ids=str)
@given(n=st.integers(1, 9), k=EXTENTS, before=st.integers(0, 70), behind=st.integers(0, 70), x_kind=KINDS, w_kind=KINDS)
@example(n=9, k=2065, before=0, behind=0, x_kind="low", w_kind="low")
@example(n=5, k=576, before=0, behind=0, x_kind="both", w_kind="both")
def test_sums_of_integers_are_exact(x_type, n, k, before, behind, x_kind, w_kind):
    """Also where rows are windows of longer ones, with anything around them; sums wrap."""
    rng = np.random.default_rng(k)
    x, whole = numbers(rng, x_type, (1, k), x_kind), numbers(rng, S8, (n, before + k + behind), "any")
    whole[:, before:before + k] = w = numbers(rng, S8, (n, k), w_kind)
    y = rng.integers(-2**31, 2**31, (1, n)).astype(np.int32)
    wanted = (x.astype(np.int64) @ w.T.astype(np.int64)).astype(np.int32)
    np.testing.assert_array_equal(product("tgemv_stream", x, whole, y, before), wanted)
    np.testing.assert_array_equal(product("tgemv_stream_acc", x, whole, y, before), y + wanted)


@pytest.mark.parametrize("x_type", [S8, S16], ids=str)
@given(m=st.integers(1, 14), n=st.integers(1, 9), k=EXTENTS, behind=st.integers(0, 70), x_kind=KINDS, w_kind=KINDS)
def test_sums_of_several_rows_of_integers_are_exact(x_type, m, n, k, behind, x_kind, w_kind):
    rng = np.random.default_rng(k)
    x, whole = numbers(rng, x_type, (m, k), x_kind), numbers(rng, S8, (n, k + behind), "any")
    whole[:, :k] = w = numbers(rng, S8, (n, k), w_kind)
    wanted = (x.astype(np.int64) @ w.T.astype(np.int64)).astype(np.int32)
    np.testing.assert_array_equal(product("tgemm_stream", x, whole, np.zeros((m, n), np.int32)), wanted)
