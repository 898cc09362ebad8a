"""Meanings of the scalar unit: 64-bit integers that wrap, and division that rounds down."""

from __future__ import annotations

import operator
from collections.abc import Callable

from pto.isa.table import scalar

WORD, SIGN = 1 << 64, 1 << 63


def wrap(value: int) -> int:
    """An integer modulo 2**64, as a signed one."""
    return (value + SIGN) % WORD - SIGN


def wrapped(function: Callable[..., int]) -> Callable[..., int]:
    """A function of integers whose result is wrapped; division by zero raises ZeroDivisionError."""
    return lambda *sources: wrap(function(*sources))


MEANING: dict[str, Callable[..., int]] = {
    scalar.MOV.mnemonic: lambda a: a,
    scalar.ADD.mnemonic: wrapped(operator.add),
    scalar.SUB.mnemonic: wrapped(operator.sub),
    scalar.MUL.mnemonic: wrapped(operator.mul),
    scalar.DIV.mnemonic: wrapped(operator.floordiv),
    scalar.MOD.mnemonic: wrapped(operator.mod),
    scalar.MIN.mnemonic: min,
    scalar.MAX.mnemonic: max,
    scalar.LT.mnemonic: lambda a, b: int(a < b),
    scalar.XOR.mnemonic: operator.xor,
    scalar.MADD.mnemonic: wrapped(lambda a, b, c: a * b + c),
}

BRANCHES: dict[str, Callable[..., bool]] = {
    scalar.JMP.mnemonic: lambda: True,
    scalar.BLT.mnemonic: operator.lt,
    scalar.BGE.mnemonic: operator.ge,
}
