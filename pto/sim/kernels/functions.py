"""Transcendental functions of tiles: exact mode's fixed sequences, and fast mode's short forms."""

from __future__ import annotations

from functools import partial

from llvmlite import ir

from pto.core.types import Layout
from pto.isa.spec import Instr
from pto.isa.table import vector
from pto.sim.exponential import BLOCK, FAST_LIMIT, exp_exact, exp_fast, exp_short, filled
from pto.sim.fast_functions import FUNCTIONS, from_to, with_exact
from pto.sim.fast_functions import Emit as Unary
from pto.sim.kernels.exponential import in_mode
from pto.sim.kernels.operands import Body, Form
from pto.sim.kernels.registry import kernel
from pto.sim.lanes import Emit
from pto.sim.operations import EXACT

ROW = Layout.ROW
LANES = 16  # of a step: enough to hide latency, few enough for thirty-two registers


def of_one(emit: Emit) -> Emit:
    """An operation without choices."""
    return lambda b, how, x: emit(b, x)


def transcendental(form: Form, name: str) -> Body:
    """dst[i, j] = function(a[i, j])"""
    short, ordinary = FUNCTIONS[name]
    return in_mode(form, of_one(EXACT[name]), of_one(with_exact(short, ordinary, EXACT[name])), LANES)


def silu_exponent(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """-x"""
    return b.fneg(x)


def gelu_exponent(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """x (x x p + q)"""
    square, linear = (filled(number, x.type) for number in vector.GELU)
    return b.fmul(x, b.fadd(b.fmul(b.fmul(x, x), square), linear))


def over_one_and_exp(form: Form, exponent: Unary) -> Body:
    """dst[i, j] = a[i, j] / (1 + e to a power of a[i, j])"""
    def by(exp: Unary) -> Emit:
        def emit(b: ir.IRBuilder, how: ir.Value, x: ir.Value) -> ir.Value:
            return b.fdiv(x, b.fadd(exp(b, exponent(b, x)), filled(1.0, x.type)))
        return emit
    return in_mode(form, by(exp_exact), by(with_exact(exp_short, from_to(-FAST_LIMIT, FAST_LIMIT), exp_fast)), BLOCK)


kernel(vector.TSILU, ROW, ROW)(partial(over_one_and_exp, exponent=silu_exponent))
kernel(vector.TGELU, ROW, ROW)(partial(over_one_and_exp, exponent=gelu_exponent))
for _row in vars(vector).values():
    if isinstance(_row, Instr) and _row.tensor_op in FUNCTIONS:
        kernel(_row, ROW, ROW)(partial(transcendental, name=_row.tensor_op))
