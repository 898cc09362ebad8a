"""No flag relation is redundant in kernels of other kinds than examples: each goes through its loops often."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import pto as pt
from pto.models.config import LlamaConfig
from pto.models.llama.decoder import decode_kernel, typed
from pto.models.llama.precision import EXACT
from tests.fuzz.flags import redundant

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = {"tile_m": 3, "tile_n": 4, "tile_k": 2}
MANY = (13, 1, 2, 5, 9)
ROWS, COLUMNS = (50, 1, 16, 17, 33), (50000, 1, 1024, 1025, 2049, 16385)  # through tiles of 16 rows, and of 16384


@pt.tile_kernel
def sums_of_columns(x: pt.f32[20, "n"]):
    return pt.sum(x, axis=0)


@pt.tile_kernel
def wide_softmax(x: pt.f32["m", 2100]):
    return pt.softmax(x)


@pt.tile_kernel
def wide_layer_norm(x: pt.f32["m", 1500], w: pt.f32[1500], b: pt.f32[1500]):
    return pt.layer_norm(x, w, b)


@pt.tile_kernel
def large_product(a: pt.f32["m", 130], b: pt.f32[130, 260]):
    return pt.relu(pt.matmul(a, b))


@pt.tile_kernel
def long_attention(q: pt.f32[1, "m", 16], k: pt.f32[1, "n", 16], v: pt.f32[1, "n", 16]):
    return pt.attention(q, k, v)


@pt.tile_kernel
def causal_attention(q: pt.f32[4, "m", 5], k: pt.f32[2, "n", 5], v: pt.f32[2, "n", 3]):
    return pt.attention(q, k, v, causal=True, tile_m=3, tile_n=4)


@pt.tile_kernel
def attention_of_halves(q: pt.f16[2, "m", 16], k: pt.f16[2, "n", 16], v: pt.f16[2, "n", 16]):
    return pt.attention(q, k, v, tile_m=3, tile_n=4)


@pt.tile_kernel(**SMALL)
def convolution(x: pt.f32[8, 9, 5], w: pt.f32[3, 3, 5, 6], b: pt.f32[6]):
    return pt.relu(pt.conv2d(x, w, b, padding=1, layout="NHWC"))


@pt.tile_kernel(**SMALL)
def lookup(table: pt.f32[20, 6], ids: pt.s32["n"]):
    return pt.embedding(ids, table) * 2.0


@pt.tile_kernel(**SMALL)
def position(x: pt.f32["m", "n"]):
    return pt.argmax(x, axis=1)


@pt.tile_kernel(**SMALL)
def row_times_matrix(x: pt.f32["m"], w: pt.f32["m", 9]):
    return pt.matmul(x, w)


@pt.tile_kernel(**SMALL)
def matrix_times_column(w: pt.f32["n", "m"], x: pt.f32["m"]):
    return pt.matmul(w, x)


# Relations that are kept though no extents need them: of two loops beside each other the second runs once each time,
# and the first once more each time, which bounds do not say; they are looked at as loops that run as they like.
CAUTIOUS = {causal_attention: 4}


def scalar_loops():
    return pt.tile_kernel(**SMALL)(runpy.run_path(str(EXAMPLES / "scalar_loops.py"))["normalised"].__wrapped__)


def decoder():
    config = LlamaConfig(layers=3, embed=12, ffn=10, heads=4, kv_heads=2, head_dim=6, vocab=30, context=40,
                         rope_base=1e4, eps=1e-5, tied=False)
    kernel = pt.tile_kernel(**SMALL)(decode_kernel(config, config.context).__wrapped__)
    return typed(kernel, config, config.context, EXACT, pt.f32)


@pytest.mark.parametrize(("kernel", "sizes"), [
    (sums_of_columns, COLUMNS), (wide_softmax, ROWS), (wide_layer_norm, ROWS), (large_product, (600, 1, 256, 257)),
    (long_attention, (700, 1, 129, 257, 300)), (causal_attention, MANY), (attention_of_halves, MANY),
    (convolution, MANY), (lookup, MANY), (position, MANY), (row_times_matrix, MANY),
    (matrix_times_column, MANY),
], ids=lambda value: getattr(value, "__name__", ""))
def test_no_relation_is_redundant(kernel, sizes):
    count, useless = redundant(kernel.program(), sizes)
    assert count
    assert len(useless) <= CAUTIOUS.get(kernel, 0)


@pytest.mark.parametrize(("make", "sizes"), [(scalar_loops, MANY), (decoder, (39, 1, 2, 13, 20))])
def test_no_relation_of_these_is_redundant(make, sizes):
    count, useless = redundant(make().program(), sizes)
    assert count
    assert not useless
