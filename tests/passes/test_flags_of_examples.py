"""No flag relation of an example is redundant."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

import pto as pt
from tests.fuzz.flags import MANY, redundant
from tests.kernels import bind

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = {"tile_m": 3, "tile_n": 4, "tile_k": 2}
E2 = (MANY, MANY)
KERNELS = {  # file and name: shapes of the arguments
    ("01_vector_add", "add"): ((MANY,), (MANY,)), ("01_vector_add", "add_by_hand"): ((MANY,),) * 3,
    ("02_softmax", "softmax"): (E2,), ("02_softmax", "softmax_by_hand"): (E2, E2),
    ("03_matmul", "matmul"): (E2, E2), ("03_matmul", "matmul_by_hand"): (E2, E2),
    ("04_layer_norm", "layer_norm"): ((MANY, 768), (768,), (768,)),
    ("05_flash_attention", "flash_attention"): ((MANY, 64),) * 3,
    ("attention_layer", "attention_layer"): (E2,) * 3,
}
TILES = {"layer_norm": {"tile_m": 3, "tile_n": 200}}


@pytest.mark.parametrize(("file", "name"), KERNELS)
def test_no_relation_of_an_example_is_redundant(file, name):
    kernel = runpy.run_path(str(EXAMPLES / f"{file}.py"))[name]
    directed = pt.tile_kernel(**TILES.get(name, SMALL))
    small = directed(kernel.__wrapped__)
    if name == "attention_layer":  # without its mask

        @directed
        def small(Q, K, V):
            return kernel(Q, K, V)

    bound = bind(small, [np.ones(shape, np.float32) for shape in KERNELS[file, name]])
    count, useless = redundant(bound.program, (MANY, 1, 2, 5, 9))
    assert count
    assert not useless
