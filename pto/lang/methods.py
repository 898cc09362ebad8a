"""Operators and methods of tensors and tiles that are functions of the language: one row each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pto.core.dtypes import BF16, F16, F32, PRED, S8, S32
from pto.lang import functions, language, reductions, selection, shapes
from pto.lang.values import Array, Tensor, cast


def swapped(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The same with its operands the other way round."""
    return lambda a, b: function(b, a)


OPERATORS: dict[str, Callable[..., Any]] = {
    "__pow__": functions.power, "__rpow__": swapped(functions.power),
    "__floordiv__": functions.floor_divide, "__rfloordiv__": swapped(functions.floor_divide),
    "__mod__": functions.remainder, "__rmod__": swapped(functions.remainder),
    "__abs__": language.abs, "__pos__": lambda x: x,
}
METHODS: dict[str, Callable[..., Any]] = {
    **{name: getattr(reductions, name) for name in (
        "sum", "prod", "max", "min", "mean", "var", "std", "argmax", "argmin", "any", "all")},
    **{name: getattr(language, name) for name in (
        "exp", "log", "sqrt", "rsqrt", "reciprocal", "tanh", "sigmoid", "relu", "sin", "cos", "abs", "floor", "ceil",
        "round", "softmax", "log_softmax", "matmul")},
    **{name: getattr(functions, name) for name in ("square", "sign", "trunc")},
    "pow": functions.power, "masked_fill": selection.masked_fill, "clamp": selection.clamp, "clip": selection.clamp,
    "float": lambda x: cast(x, F32), "half": lambda x: cast(x, F16), "bfloat16": lambda x: cast(x, BF16),
    "int": lambda x: cast(x, S32), "char": lambda x: cast(x, S8), "bool": lambda x: cast(x, PRED),
}
OF_TENSORS: dict[str, Callable[..., Any]] = {
    **{name: getattr(shapes, name) for name in (
        "flatten", "repeat_interleave", "roll", "flip", "gather", "index_select", "tril", "triu", "chunk")},
    "repeat": shapes.tile, "split": language.split, "dim": lambda x: x.ndim, "t": lambda x: x.T,
    "swapaxes": lambda x, a, b: x.transpose(a, b),
}


def attach() -> None:
    """Give tensors and tiles what they lack."""
    for kind, rows in ((Array, OPERATORS), (Array, METHODS), (Tensor, OF_TENSORS)):
        for name, function in rows.items():
            setattr(kind, name, function)


attach()
