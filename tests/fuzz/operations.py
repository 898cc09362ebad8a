"""The operations of which random kernels are made: rows of text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """An operation of expressions: its text, whether it keeps integers whole, and whether it needs exact operands."""

    name: str
    text: str
    whole: bool = False
    exact: bool = False


def rows(whole: bool, *pairs: tuple[str, str], exact: bool = False) -> tuple[Row, ...]:
    """Operations that all keep integers whole, or all do not."""
    return tuple(Row(name, text, whole, exact) for name, text in pairs)


BINARY = (
    *rows(True, ("add", "({a} + {b})"), ("sub", "({a} - {b})"), ("mul", "({a} * {b})"),
          ("maximum", "pt.maximum({a}, {b})"), ("minimum", "pt.minimum({a}, {b})"),
          ("where", "pt.where({a} > {b}, {a}, {b} + 1.0)"), ("masked_fill", "pt.masked_fill({a}, {b} <= 1.0, 2.0)"),
          ("mask and", "pt.where(({a} >= 0.0) & ({b} < 2.0), {b}, {a})"),
          ("mask or", "pt.where(({a} > 1.0) | ~({b} > 0.0), {a}, -1.0)"),
          ("f16", "(({a}).to(pt.f16) + ({b}).to(pt.f16)).to(pt.f32)")),
    *rows(True, ("where ==", "pt.where({a} == {b}, 4.0, {a})"),
          ("s32", "(pt.floor({a}).to(pt.s32) * 2 + pt.floor({b}).to(pt.s32)).to(pt.f32)"),
          ("bf16", "(({a}).to(pt.bf16) - ({b}).to(pt.bf16)).to(pt.f32)"),
          ("s16", "(({a}).to(pt.s16) - ({b}).to(pt.s16)).to(pt.f32)"), exact=True),
    *rows(False, ("div", "({a} / (pt.abs({b}) + 1.0))")),
)
UNARY = (
    *rows(True, ("neg", "(-{a})"), ("relu", "pt.relu({a})"), ("abs", "pt.abs({a})"), ("muls", "({a} * 2.0)"),
          ("adds", "({a} + 3.0)"), ("rsubs", "(1.0 - {a})"), ("subs", "({a} - 2)"), ("divs", "({a} / 2.0)"),
          ("clamp", "pt.clamp({a}, -2.0, 5.0)"), ("through f16", "({a}).to(pt.f16).to(pt.f32)"),
          ("floor", "pt.floor({a} * 0.5)"), ("ceil", "pt.ceil({a} * 0.5)"), ("round", "pt.round({a} * 0.5)")),
    *rows(True, ("through s32", "pt.floor({a}).to(pt.s32).to(pt.f32)"), ("through s8", "({a}).to(pt.s8).to(pt.f32)"),
          exact=True),
    *rows(False, ("exp", "pt.exp({a} * 0.25)"), ("sqrt", "pt.sqrt(pt.abs({a}) + 1.0)"), ("sigmoid", "pt.sigmoid({a})"),
          ("silu", "pt.silu({a})"), ("log", "pt.log(pt.abs({a}) + 0.5)"), ("tanh", "pt.tanh({a})"),
          ("rsqrt", "pt.rsqrt(pt.abs({a}) + 1.0)"), ("recip", "pt.reciprocal(pt.abs({a}) + 1.0)"),
          ("rdivs", "(2.0 / (pt.abs({a}) + 1.0))"), ("erf", "pt.erf({a})"), ("sin", "pt.sin({a})"),
          ("cos", "pt.cos({a})")),
)
ROWS = rows(True, ("sum", "pt.sum({a}, keepdims=True)"), ("max", "pt.max({a}, keepdims=True)"))
AXES = (*rows(True, ("sum of an axis", "pt.sum({a}, {axis}, keepdims=True)"),
              ("max of an axis", "pt.max({a}, {axis}, keepdims=True)"),
              ("min", "pt.min({a}, {axis}, keepdims=True)")),
        *rows(True, ("argmax", "pt.argmax({a}, {axis}, keepdims=True).to(pt.f32)"), exact=True))
NORMS = (Row("softmax", "pt.softmax({a})"), Row("layer_norm", "pt.layer_norm({a})"),
         Row("rms_norm", "pt.rms_norm({a})"), Row("mean", "pt.mean({a}, keepdims=True)"))
