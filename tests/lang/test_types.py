"""Every element type in kernels: conversions, products, arithmetic, predicates and reductions against NumPy."""

from __future__ import annotations

import itertools
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.core.dtypes import DTYPES, F32, PRED, promoted
from tests.kernels import bind, on_fast, on_graph, on_slow

BF16 = np.dtype(ml_dtypes.bfloat16)
TWINS = {row: np.dtype(row.numpy) for row in DTYPES.values()}
FLOATS = [pt.f32, pt.f16, pt.bf16]
INTEGERS = [pt.s32, pt.s16, pt.s8, pt.u8]
ARITHMETIC = [*FLOATS, *INTEGERS]
LEVELS = ["tensor", "tile", "block", "execution"]

extent = st.sampled_from([1, 2, 7, 16, 33, 100, 257])
seeds = st.integers(0, 2**16)


def draw(seed: int, dtype, *shape: int, scale: float = 20.0) -> np.ndarray:
    """Elements of a type; integers over its range, or what a half can hold."""
    rng = np.random.default_rng(seed)
    if dtype == PRED:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind == "f":
        return (rng.standard_normal(shape) * scale).astype(TWINS[dtype])
    limits = np.iinfo(TWINS[dtype])
    return rng.integers(max(limits.min, -30000), min(limits.max, 30000) + 1, shape).astype(TWINS[dtype])


def equal(got: np.ndarray, want: np.ndarray) -> None:
    assert got.dtype == want.dtype
    assert np.array_equal(got.astype(np.float64), want.astype(np.float64), equal_nan=True)


def wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) if x.dtype in (np.float16, BF16) else x


def kernel(function):
    """A kernel of its own for each use: a test may call it with any types."""
    return pt.tile_kernel(function)


# types of results


def test_promotion_is_that_of_pytorch():
    f32, f16, bf16, s32, s16, s8, u8 = ARITHMETIC
    want = {(f16, f32): f32, (f16, bf16): f32, (s32, f16): f16, (u8, bf16): bf16, (s8, u8): s16, (s16, u8): s16,
            (PRED, u8): u8, (s8, s32): s32}
    for (a, b), c in want.items():
        assert promoted(a, b) == promoted(b, a) == c
    for a, b, c in itertools.product(DTYPES.values(), repeat=3):
        assert promoted(a, a) == a
        if {a, b, c}.isdisjoint((f16, bf16)):
            assert promoted(promoted(a, b), c) == promoted(a, promoted(b, c))


def test_numbers_do_not_promote():
    add = kernel(lambda x: x * 2 + 1)
    for dtype in ARITHMETIC:
        x = draw(0, dtype, 3, 5)
        assert add(x).dtype == x.dtype


# conversions


@kernel
def convert(x, dtype: pt.constexpr):
    return x.to(dtype)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(DTYPES.values())), st.sampled_from(list(DTYPES.values())), extent, extent, seeds)
def test_conversions(source, target, m, n, seed):
    x = draw(seed, source, m, n, scale=20)
    if source.kind == "f" and target.kind == "u":
        x = np.abs(x)
    equal(convert(x, target), x.astype(TWINS[target]))


ROUNDED = {"rne": np.rint, "rtz": np.trunc, "rdn": np.floor, "rup": np.ceil, "rhb": lambda x: np.floor(x + 0.5)}


@pytest.mark.parametrize("mode", ROUNDED)
def test_rounding_and_saturation(mode):
    @pt.tile_kernel
    def convert(x, mode: pt.constexpr):
        return pt.cast(x, pt.s32, mode), pt.cast(x, pt.s8, rounding=mode, saturate=True)

    x = np.concatenate([np.arange(-400, 400, dtype=np.float32) / 2, draw(1, F32, 200)])
    whole, small = convert(x, mode)
    equal(whole, ROUNDED[mode](x).astype(np.int32))
    equal(small, ROUNDED[mode](x).clip(-128, 127).astype(np.int8))


# arithmetic

BINARY = {
    "+": (kernel(lambda x, y: x + y), np.add, ARITHMETIC), "-": (kernel(lambda x, y: x - y), np.subtract, ARITHMETIC),
    "*": (kernel(lambda x, y: x * y), np.multiply, ARITHMETIC), "/": (kernel(lambda x, y: x / y), np.divide, FLOATS),
    "max": (kernel(lambda x, y: pt.maximum(x, y)), np.maximum, ARITHMETIC),
    "min": (kernel(lambda x, y: pt.minimum(x, y)), np.minimum, ARITHMETIC),
    "&": (kernel(lambda x, y: x & y), np.bitwise_and, [*INTEGERS, PRED]),
    "|": (kernel(lambda x, y: x | y), np.bitwise_or, [*INTEGERS, PRED]),
    "^": (kernel(lambda x, y: x ^ y), np.bitwise_xor, [*INTEGERS, PRED]),
    "<": (kernel(lambda x, y: x < y), np.less, ARITHMETIC),
    "<=": (kernel(lambda x, y: x <= y), np.less_equal, ARITHMETIC),
    ">": (kernel(lambda x, y: x > y), np.greater, ARITHMETIC),
    ">=": (kernel(lambda x, y: x >= y), np.greater_equal, ARITHMETIC),
    "==": (kernel(lambda x, y: x == y), np.equal, ARITHMETIC),
    "!=": (kernel(lambda x, y: x != y), np.not_equal, ARITHMETIC),
}
COMPARISONS = {"<", "<=", ">", ">=", "==", "!="}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(BINARY)), st.data(), extent, extent, st.booleans(), st.booleans(), seeds)
def test_two_operands_meet(name, data, m, n, row, column, seed):
    run, meaning, types = BINARY[name]
    a, b = (data.draw(st.sampled_from(types)) for _ in range(2))
    x = draw(seed, a, m, n)
    y = draw(seed + 1, b, 1 if row else m, 1 if column else n)
    common = promoted(a, b)
    left, right = (wide(z.astype(TWINS[common])) for z in (x, y))
    if name == "/":
        right = np.where(right == 0, 1, right)
        y = np.where(wide(y) == 0, 1, wide(y)).astype(y.dtype)
    with np.errstate(over="ignore"):
        want = meaning(left, right)
    equal(run(x, y), want if name in COMPARISONS else want.astype(TWINS[common]))


NUMBERS = {
    "x + 3": kernel(lambda x: x + 3), "x - 3": kernel(lambda x: x - 3), "5 - x": kernel(lambda x: 5 - x),
    "x * 3": kernel(lambda x: x * 3), "-x": kernel(lambda x: -x), "x > 7": kernel(lambda x: x > 7),
    "3 >= x": kernel(lambda x: x <= 3), "x == 2": kernel(lambda x: x == 2), "abs(x)": kernel(lambda x: pt.abs(x)),
    "np.clip(x, 1, 9)": kernel(lambda x: pt.clamp(x, 1, 9)), "np.maximum(x, 0)": kernel(lambda x: pt.relu(x)),
}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(NUMBERS)), st.sampled_from(ARITHMETIC), extent, extent, seeds)
def test_numbers(text, dtype, m, n, seed):
    x = draw(seed, dtype, m, n)
    with np.errstate(over="ignore"):
        want = eval(text, {"np": np, "x": x})  # noqa: S307
    equal(NUMBERS[text](x), want if want.dtype == bool else want.astype(x.dtype))


def test_bits_of_integers():
    shift = kernel(lambda x, y: ((x << 3) >> 2, x << y, x >> y, ~x, x | 5, x & 3))
    for dtype in INTEGERS:
        x, y = draw(2, dtype, 20, 30), draw(3, dtype, 20, 30) & np.array(3, TWINS[dtype])
        three, two = (np.array(k, x.dtype) for k in (3, 2))
        wanted = (x << three) >> two, x << y, x >> y, ~x, x | np.array(5, x.dtype), x & three
        for got, want in zip(shift(x, y), wanted, strict=True):
            equal(got, want)


# predicates

CHOOSE = kernel(lambda m, x, y: (pt.where(m, x, y), pt.where(m, x, 2), pt.where(m, 3, y), pt.where(m, 1, 0),
                                 pt.masked_fill(x, ~m, 4), pt.where(m, 0.5, 2)))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ARITHMETIC), st.sampled_from(ARITHMETIC), extent, extent, st.booleans(), st.booleans(), seeds)
def test_choosing(a, b, m, n, row, column, seed):
    mask, x = draw(seed, PRED, 1 if row else m, 1 if column else n), draw(seed + 1, a, m, n)
    y, common = draw(seed + 2, b, m, n), TWINS[promoted(a, b)]
    wanted = (np.where(mask, x.astype(common), y.astype(common)), np.where(mask, x, np.array(2, x.dtype)),
              np.where(mask, np.array(3, y.dtype), y), np.where(mask, 1, 0).astype(np.int32),
              np.where(mask, x, np.array(4, x.dtype)), np.where(mask, np.float32(0.5), np.float32(2)))
    for got, want in zip(CHOOSE(mask, x, y), wanted, strict=True):
        equal(got, want)


# reductions and what is composed

REDUCE = kernel(lambda x: (pt.sum(x, keepdims=True), pt.max(x, keepdims=True)))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ARITHMETIC), extent, st.sampled_from([1, 2, 31, 1025, 2500]), seeds)
def test_reductions(dtype, m, n, seed):
    x = draw(seed, dtype, m, n)
    total, largest = REDUCE(x)
    equal(largest, x.max(axis=1, keepdims=True))
    exact = x.astype(np.float64).sum(axis=1, keepdims=True)
    if dtype.kind != "f":
        equal(total, x.astype(np.int32).sum(axis=1, keepdims=True, dtype=np.int32))
        return
    assert total.dtype == x.dtype
    unit = {pt.f32: 2.0**-24, pt.f16: 2.0**-11, pt.bf16: 2.0**-8}[dtype]
    bound = n * 2.0**-24 * np.abs(x.astype(np.float64)).sum(axis=1, keepdims=True) + 2 * unit * np.abs(exact) + 1e-7
    assert (np.abs(total.astype(np.float64) - exact) <= bound).all()


def norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


COMPOSED = {
    "softmax": softmax,
    "gelu": lambda x: x / (1 + np.exp(-2 * 0.7978845608028654 * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + np.exp(-x)), "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "layer_norm": norm,
    "rms_norm": lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5),
}


@pytest.mark.parametrize("dtype", [pt.f16, pt.bf16], ids=str)
@pytest.mark.parametrize("name", COMPOSED)
def test_composed_functions_are_rounded_once(name, dtype):
    """In float32 and rounded: nothing but the neighbours of the exact value."""
    x = draw(5, dtype, 20, 300, scale=2)
    function = getattr(pt, name)
    got, want = kernel(lambda x: function(x))(x), COMPOSED[name](x.astype(np.float64))
    assert got.dtype == x.dtype
    unit = 2.0**-11 if dtype == pt.f16 else 2.0**-8
    assert (np.abs(got.astype(np.float64) - want) <= np.abs(want) * unit * 1.02 + 2.0**-24).all()


# products

PRODUCT = kernel(lambda a, b: pt.matmul(a, b))
LINEAR = kernel(lambda x, w: pt.matmul(x, w.T))
PAIRS = [(a, b) for a, b in itertools.product(ARITHMETIC, repeat=2)
         if "f" in a.kind + b.kind or (a, b) in ((pt.s8, pt.s8), (pt.s16, pt.s8))]


def close(got: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Within gamma of k times the sum of magnitudes; integers are equal."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    if got.dtype == np.int32:
        assert np.array_equal(got, x @ y)
        return
    assert got.dtype == np.float32
    k = a.shape[-1] * 2.0**-24
    assert (np.abs(got - x @ y) <= k / (1 - k) * (np.abs(x) @ np.abs(y))).all()


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(PAIRS), extent, extent, extent, st.booleans(), seeds)
def test_products_have_the_accumulators_type(pair, m, k, n, across, seed):
    a, b = draw(seed, pair[0], m, k, scale=1), draw(seed + 1, pair[1], *((n, k) if across else (k, n)), scale=1)
    met = promoted(*pair)
    if (pair[0].kind == "f") != (pair[1].kind == "f") and not (pair[0] == pt.f32 and pair[1] == pt.s8):
        a, b = (z.astype(TWINS[met]) for z in (a, b))  # halves have not every integer
    got = (LINEAR if across else PRODUCT)(a, b)
    close(got, a, b.T if across else b)


@pytest.mark.parametrize("dtype", [pt.f16, pt.bf16, pt.s8], ids=str)
def test_products_of_loops_over_tiles(dtype):
    @pt.tile_kernel(tile_m=32, tile_n=48, tile_k=16)
    def loops(A, B, kind: pt.constexpr):
        C = pt.empty((A.shape[0], B.shape[1]), kind)
        for i in pt.range(0, A.shape[0], tile_m):  # noqa: F821
            for j in pt.range(0, B.shape[1], tile_n):  # noqa: F821
                acc = pt.zeros((tile_m, tile_n), kind)  # noqa: F821
                for k in pt.range(0, A.shape[1], tile_k):  # noqa: F821
                    acc += pt.tile_matmul(A[i:i + tile_m, k:k + tile_k], B[k:k + tile_k, j:j + tile_n])  # noqa: F821
                C[i:i + tile_m, j:j + tile_n] = acc  # noqa: F821
        return C

    a, b = draw(0, dtype, 70, 37), draw(1, dtype, 37, 100)
    close(loops(a, b, pt.f32 if dtype.kind == "f" else pt.s32), a, b)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_attention(dtype, causal):
    attend = kernel(lambda q, k, v: pt.attention(q, k, v, causal=causal))
    for name, heads in (("q", 4), ("k", 2), ("v", 2)):
        attend.declare(name, dtype[heads, "N", 32])
    q, k, v = (draw(i, dtype, heads, 150, 32, scale=1) for i, heads in enumerate((4, 2, 2)))
    got = attend(q, k, v)
    x, y, z = (t.astype(np.float64) for t in (q, np.repeat(k, 2, 0), np.repeat(v, 2, 0)))
    scores = x @ y.swapaxes(1, 2) / np.sqrt(32)
    scores = np.where(np.tril(np.ones((150, 150))) > 0, scores, -np.inf) if causal else scores
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    want = weights / weights.sum(-1, keepdims=True) @ z
    unit = {pt.f32: 2.0**-20, pt.f16: 2.0**-10, pt.bf16: 2.0**-7}[dtype]
    assert got.dtype == q.dtype
    assert np.abs(got.astype(np.float64) - want).max() <= 4 * unit


# levels, rows of a table


@kernel
def all_kinds(x, w):
    """Conversions, predicates, a product and a reduction of halves, in one kernel."""
    y = pt.matmul(x, w.T)
    mask = (y > 0) & ~(y == 1)
    small = pt.cast(y, pt.s8, saturate=True)
    return pt.where(mask, y.to(pt.bf16), 0), small, pt.softmax(x), mask, pt.sum(mask, keepdims=True)


@pytest.mark.parametrize("level", LEVELS)
def test_levels_agree(level):
    bound = bind(all_kinds, [draw(0, pt.f16, 20, 35, scale=2), draw(1, pt.f16, 40, 35, scale=2)])
    for slow, fast, found in zip(on_slow(bound), on_fast(bound), on_graph(all_kinds.graph(level), bound), strict=True):
        equal(slow, fast)
        assert np.abs(found.astype(np.float64) - slow.astype(np.float64)).max() <= 2.0**-8


def test_verification_is_for_every_type():
    x, w = draw(0, pt.f16, 20, 35, scale=2), draw(1, pt.f16, 40, 35, scale=2)
    assert all_kinds.verify(x, w, tolerance=1e-2)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_tables_of_any_type(dtype):
    rows = kernel(lambda ids, table: pt.embedding(ids, table))
    rows.declare("ids", pt.s32["n"])
    ids, table = np.array([3, 0, 3, 9], np.int32), draw(0, dtype, 10, 70)
    equal(rows(ids, table), table[ids])


# a planted defect: the slow machine, which obeys the program, shows it


@pytest.mark.parametrize(("row", "attrs"), [("tcvt", ("rtz", "on")), ("tcvt", ("rne", "off")), ("tcmps", ("ge",))])
def test_another_choice_of_an_instruction_is_found(row, attrs):
    @pt.tile_kernel
    def choose(x):
        return pt.cast(x, pt.s8, rounding="rne", saturate=True).to(pt.f32) + (x > 2).to(pt.f32)

    x = np.arange(-400, 400, dtype=np.float32) / 2
    bound = bind(choose, [x])
    [right] = on_slow(bound)
    code = tuple(replace(i, attrs=attrs) if i.spec.mnemonic == row else i for i in bound.program.code)
    assert code != bound.program.code
    [wrong] = on_slow(replace(bound, program=replace(bound.program, code=code)))
    assert not np.array_equal(right, wrong)


# mistakes


@pytest.mark.parametrize(("function", "dtype", "said"), [
    (lambda x: x / x, pt.s32, "/ is not for int32, but for float32, float16, bfloat16"),
    (lambda x: pt.exp(x), pt.s8, "exp is not for int8, but for float32"),
    (lambda x: x + x, PRED, r"\+ is not for bool, but for float32"),
    (lambda x: x & x, F32, "& is not for float32, but for int32"),
    (lambda x: x * 2.5, pt.s32, "2.5 is no int32"),
    (lambda x: x + 300, pt.u8, "300 is no uint8"),
    (lambda x: x < 0.5, pt.s16, "0.5 is no int16"),
    (lambda x: pt.where(x, x, x), F32, "a condition is a tensor or tile of predicates"),
    (lambda x: pt.where(x > 0, "1", x), F32, "not from str"),
    (lambda x: x == "a", F32, "not with str"),
    (lambda x: x == None, F32, "not with NoneType"),  # noqa: E711
    (lambda x: x.to("f16"), F32, "'f16' is no element type"),
    (lambda x: pt.cast(x, pt.s8, "up"), F32, "there is no rounding 'up'"),
    (lambda x: pt.matmul(x, x.T), pt.s32, "there is no matrix product of int32 and int32"),
    (lambda x: x if x > 0 else -x, F32, "not known when the kernel is traced"),
    (lambda x: x in [1, 2], F32, "not known when the kernel is traced"),
], ids=lambda p: p if isinstance(p, str) else "")
def test_mistakes_are_located(function, dtype, said):
    with pytest.raises(pt.PtoError, match=said) as caught:
        kernel(function)(draw(0, dtype, 5, 7))
    assert caught.value.loc.file == __file__


def test_a_store_converts_only_where_it_is_asked_to():
    def put(x, out):
        out[:] = x

    out = np.zeros((5, 7), np.float16)
    with pytest.raises(pt.PtoError, match="a tensor of f32 cannot be stored to a tensor of f16") as caught:
        kernel(put)(draw(0, F32, 5, 7), out)
    assert "value.to(pt.f16)" in caught.value.hint
