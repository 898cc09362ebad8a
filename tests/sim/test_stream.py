"""Products with streamed matrices that have more rows than kernels ask for."""

import numpy as np
import pytest

from pto.core.dtypes import F16, F32, S8, S32
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
