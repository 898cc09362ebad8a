"""Runs of words, eight at a time: whether any is other than 0, and the same value for all."""

from __future__ import annotations

from llvmlite import ir

from pto.sim.layout import WORD
from pto.sim.vec import I64, INT, VOID, broadcast, called, declared, emits, emits_int, load, set_word, store, word

SEVERAL = 8
WORDS = ir.VectorType(I64, SEVERAL)


@emits_int(INT)
def any_of_several(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
    """The bits that any of eight words has."""
    function = declared(b.module, ir.FunctionType(I64, [WORDS]), f"llvm.vector.reduce.or.v{SEVERAL}i64")
    return b.call(function, [load(b, at, WORDS)])


@emits(VOID, INT, INT)
def set_several(b: ir.IRBuilder, at: ir.Value, value: ir.Value) -> None:
    """Write a value to eight words."""
    store(b, at, broadcast(b, value, WORDS))


@called
def any_set(at: int, count: int) -> bool:
    """Whether any of so many words is other than 0."""
    while count >= SEVERAL:
        if any_of_several(at) != 0:
            return True
        at += WORD * SEVERAL
        count -= SEVERAL
    bits = 0
    for i in range(count):
        bits |= word(at, i)
    return bits != 0


@called
def set_all(at: int, count: int, value: int) -> None:
    """Write a value to so many words."""
    while count >= SEVERAL:
        set_several(at, value)
        at += WORD * SEVERAL
        count -= SEVERAL
    for i in range(count):
        set_word(at, i, value)
