"""Programs of the machine benchmark, as assembly for AI_Accelerator_V2. Every extent is a multiple of its tile."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from pto.isa.asm import assemble
from pto.isa.program import Program

SIZES = {"f32": 4, "f16": 2, "bf16": 2, "s32": 4, "s16": 2, "s8": 1}


def program(name: str, lines: Iterable[str]) -> Program:
    """The program of some lines of assembly, statically checked."""
    return assemble("\n".join((f".program {name}", ".target V2", *lines)), f"{name}.ptoas")


def order(source: str, destination: str, number: str = "0") -> tuple[str, str]:
    """What the one pipe has done before comes before what the other does after."""
    return f"set_flag {source}, {destination}, {number}", f"wait_flag {source}, {destination}, {number}"


def loop(register: str, start: str | int, stop: str | int, step: str | int, body: Iterable[str]) -> list[str]:
    """A loop that runs at least once; its label has the register's name."""
    head = f"mov {register}, {start}", f"top_{register}:"
    return [*head, *body, f"add {register}, {register}, {step}", f"blt {register}, {stop}, top_{register}"]


@cache
def gemm(m: int, n: int, k: int, tile: tuple[int, int, int], types: tuple[str, str, str] = ("f32",) * 3) -> Program:
    """C = A B, rows of tiles dealt to the cores; loads of the next step wait only for the extracts of this one."""
    (tm, tn, tk), (left, right, result) = tile, types
    a_bytes = tm * tk * SIZES[left]
    step = (
        "wait_flag MTE1, MTE2, 0", f"tload %a1, %A, r5, r7, {tm}, {tk}", f"tload %b1, %B, r7, r6, {tk}, {tn}",
        *order("MTE2", "MTE1"), "wait_flag M, MTE1, 0", f"textract %a0, %a1, 0, 0, {tm}, {tk}",
        f"textract %b0, %b1, 0, 0, {tk}, {tn}", "set_flag MTE1, MTE2, 0", *order("MTE1", "M"),
        "lt r8, 0, r7", f"tmatmul %c, %a0, %b0, {tm}, {tn}, {tk}, r8", "set_flag M, MTE1, 0",
    )
    block = (
        "wait_flag FIX, M, 0", *loop("r7", 0, k, tk, step), *order("M", "FIX"),
        f"tstore %C, %c, r5, r6, {tm}, {tn}", "set_flag FIX, M, 0",
    )
    primed = ("MTE1, MTE2", "M, MTE1", "FIX, M")
    return program("gemm", (
        f".tensor %A {left}[{m}, {k}] read", f".tensor %B {right}[{k}, {n}] read",
        f".tensor %C {result}[{m}, {n}] write",
        f".tile %a1 tile<l1, {tm}x{tk}x{left}> at 0x0 slots 1",
        f".tile %b1 tile<l1, {tk}x{tn}x{right}> at {a_bytes:#x} slots 1",
        f".tile %a0 tile<l0a, {tm}x{tk}x{left}> at 0x0 slots 1",
        f".tile %b0 tile<l0b, {tk}x{tn}x{right}, panel> at 0x0 slots 1",
        f".tile %c tile<l0c, {tm}x{tn}x{result}, panel> at 0x0 slots 1",
        *(f"set_flag {pair}, 0" for pair in primed),
        f"mul r9, r1, {tm}", f"mul r10, r0, {tm}", f"bge r10, {m}, end",
        *loop("r5", "r10", m, "r9", loop("r6", 0, n, tn, block)),
        "end:", *(f"wait_flag {pair}, 0" for pair in primed), "halt",
    ))


@cache
def gemv(n: int, k: int, copies: int, vector: str = "f32", weights: str = "f32", result: str = "f32") -> Program:
    """y = W x for one matrix after the other, each result over the last."""
    return program("gemv", (
        f".tensor %x {vector}[{k}] read", *(f".tensor %w{i} {weights}[{n}, {k}] read" for i in range(copies)),
        f".tensor %y {result}[{n}] write", f".tile %xs tile<ub, 1x{k}x{vector}> at 0x0 slots 1",
        f".tile %ys tile<ub, 1x{n}x{result}> at {k * SIZES[vector]:#x} slots 1",
        f"tload %xs, %x, 0, 0, 1, {k}", *order("MTE2", "M"),
        *(f"tgemv_stream %ys, %xs, %w{i}, 0, 0, {n}, {k}" for i in range(copies)),
        *order("M", "MTE3"), f"tstore %y, %ys, 0, 0, 1, {n}", "halt",
    ))


def by_rows(name: str, rows: int, cols: int, tile: int, tensors: dict[str, str], work: Iterable[str],
            tiles: Iterable[str], before: Iterable[str] = ()) -> Program:
    """Some rows of every matrix loaded, worked on and stored, two tiles of each in turn."""
    size = tile * cols * 4
    inputs = [tensor for tensor, use in tensors.items() if use == "read"]
    output = next(tensor for tensor, use in tensors.items() if use == "write")
    body = (
        "wait_flag MTE3, MTE2, r6", *(f"tload %{t}s[r7], %{t}, r5, 0, {tile}, {cols}" for t in inputs),
        *order("MTE2", "V", "r6"), *work, *order("V", "MTE3", "r6"),
        f"tstore %{output}, %{inputs[0]}s[r7], r5, 0, {tile}, {cols}", "set_flag MTE3, MTE2, r6",
        "xor r6, r6, 1", f"mul r7, r6, {size}",
    )
    return program(name, (
        *(f".tensor %{t} f32[{rows}, {cols}] {use}" for t, use in tensors.items()),
        *(f".tile %{t}s tile<ub, {tile}x{cols}xf32> at {i * 2 * size:#x} slots 2" for i, t in enumerate(inputs)),
        *tiles, *before, "set_flag MTE3, MTE2, 0", "set_flag MTE3, MTE2, 1", *loop("r5", 0, rows, tile, body),
        "wait_flag MTE3, MTE2, 0", "wait_flag MTE3, MTE2, 1", "halt",
    ))


@cache
def softmax(rows: int, cols: int, tile: int) -> Program:
    """The softmax of each row."""
    region, column = f"{tile}, {cols}", f"{tile}, 1"
    return by_rows("softmax", rows, cols, tile, {"x": "read", "y": "write"}, (
        f"trowmax %m, %xs[r7], {region}", f"trowexpandexpdif %t, %xs[r7], %m, {region}",
        f"trowsum %m, %t, {region}", f"trdivs %m, %m, 1, {column}", f"trowexpandmul %xs[r7], %t, %m, {region}",
    ), (
        f".tile %m tile<ub, {tile}x1xf32, col> at 0x30000 slots 1",
        f".tile %t tile<ub, {tile}x{cols}xf32> at 0x20000 slots 1",
    ))


@cache
def exp(rows: int, cols: int, tile: int) -> Program:
    """e to the power of each element."""
    work = (f"texp %xs[r7], %xs[r7], {tile}, {cols}",)
    return by_rows("exp", rows, cols, tile, {"x": "read", "y": "write"}, work, ())


@cache
def vadd(rows: int, cols: int, tile: int) -> Program:
    """The sum of two matrices."""
    work = (f"tadd %xs[r7], %xs[r7], %ys[r7], {tile}, {cols}",)
    return by_rows("vadd", rows, cols, tile, {"x": "read", "y": "read", "z": "write"}, work, ())


@cache
def dispatch(count: int) -> Program:
    """A short vector instruction with a set and a wait, so many times in a row, in a loop of a hundred."""
    pair = ("tadd %a, %a, %a, 1, 16", *order("V", "MTE3")) * count
    return program("dispatch", (
        ".tile %a tile<ub, 1x16xf32> at 0x0 slots 1", "texpands %a, 1, 1, 16", *loop("r5", 0, 100, 1, pair), "halt",
    ))


@cache
def rmsnorm(rows: int, cols: int, tile: int, eps: float = 1e-5) -> Program:
    """Each row divided by the root of its mean square, then multiplied by weights."""
    region, column = f"{tile}, {cols}", f"{tile}, 1"
    return by_rows("rmsnorm", rows, cols, tile, {"x": "read", "y": "write"}, (
        f"trowdot %m, %xs[r7], %xs[r7], {region}", f"tmuls %m, %m, {1 / cols!r}, {column}",
        f"tadds %m, %m, {eps!r}, {column}", f"tsqrt %m, %m, {column}", f"trdivs %m, %m, 1, {column}",
        f"trowexpandmul %t, %xs[r7], %m, {region}", f"tcolexpandmul %xs[r7], %t, %ws, {region}",
    ), (
        f".tile %m tile<ub, {tile}x1xf32, col> at 0x30000 slots 1",
        f".tile %t tile<ub, {tile}x{cols}xf32> at 0x20000 slots 1",
        f".tile %ws tile<ub, 1x{cols}xf32> at 0x38000 slots 1", f".tensor %w f32[{cols}] read",
    ), (f"tload %ws, %w, 0, 0, 1, {cols}", *order("MTE2", "V", "2")))
