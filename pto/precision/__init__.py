"""Precisions for arrays: casts, a quantiser and integer products; ``from pto import precision as pp``."""

from __future__ import annotations

from dataclasses import dataclass
from types import FunctionType
from typing import Any
from typing import cast as cast_type

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import numpy_dtype
from pto.core.dtypes import BF16, F16, F32, DType
from pto.core.errors import DTypeError, Loc, PtoError, ShapeError, UsageError
from pto.lang import bytes4
from pto.lang.trace import is_tracing
from pto.lang.values import Array, cast
from pto.lang.values import matmul as product
from pto.quant.calibrate import Calibration
from pto.quant.forms import ROWS, T2_FORM, T3_FORM, Packed
from pto.quant.schemes import BY_NAME
from pto.quant.tensor import Quantised, quantise
from pto.runtime.kernel import Kernel, tile_kernel

__all__ = ["Quantizer", "cast_to_bf16", "cast_to_fp16", "cast_to_fp32", "dot_int8x4", "int8_gemm", "load_int8x4",
           "ternary_gemm"]


def cast_to_fp16(x: Any) -> Any:
    """An array, or a tensor or tile of a kernel, in float16; to nearest, ties to even."""
    return _cast(x, F16)


def cast_to_bf16(x: Any) -> Any:
    """The same in bfloat16."""
    return _cast(x, BF16)


def cast_to_fp32(x: Any) -> Any:
    """The same in float32."""
    return _cast(x, F32)


def _cast(x: Any, dtype: DType) -> Any:
    return cast(x, dtype) if isinstance(x, Array) else np.asarray(x).astype(numpy_dtype(dtype))


@dataclass(frozen=True, slots=True)
class Quantizer:
    """Floats as integers that share a scale, and back.

    Attributes:
        bits: 8 or 4.
        symmetric: 0.0 is code 0; else the codes cover the range of the values.
        axis: "tensor": all values share a scale; "channel": those of a row do; or the extent of a group of a row.
        calibration: "minmax", "percentile" or "optimal" (`pto.quant.calibrate`).
    """

    bits: int = 8
    symmetric: bool = True
    axis: str | int = "tensor"
    calibration: str = "minmax"

    def encode(self, values: NDArray[Any]) -> Quantised:
        """Values as a quantised tensor, offsets included.

        Raises:
            UsageError: there is no such scheme, or a value is not finite.
        """
        share = self.axis if isinstance(self.axis, str) else f"g{self.axis}"
        name = f"int{self.bits}{'' if self.symmetric else '_asymmetric'}_{share}"
        if name not in BY_NAME:
            raise UsageError(f"there is no quantiser of {self.bits} bits by {self.axis}",
                             hint="bits are 8 or 4; axis is tensor, channel, 32, 64 or 128")
        return quantise(values, BY_NAME[name], Calibration(self.calibration))

    def quantize(self, values: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Codes in int8, and scales: one number for the tensor, else [..., rows, groups].

        Raises:
            UsageError: as `encode`; or the quantiser is asymmetric, and codes need an offset besides.
        """
        if not self.symmetric:
            raise UsageError("codes of an asymmetric quantiser need an offset besides", hint="encode(values)")
        made = self.encode(values)
        return np.asarray(made.codes, np.int8), made.scale.reshape(()) if self.axis == "tensor" else made.scale

    def dequantize(self, codes: NDArray[np.int8], scale: NDArray[np.float32]) -> NDArray[np.float32]:
        """The values that codes of `quantize` stand for, float32.

        Raises:
            ShapeError: the codes have other rows than the scales, or the groups of a row no common length.
        """
        scales = np.asarray(scale, np.float32)
        if scales.ndim == 0:
            return np.asarray(codes * scales, np.float32)
        *rows, groups = scales.shape
        if list(codes.shape[:-1]) != rows or codes.shape[-1] % groups:
            raise ShapeError(f"codes {codes.shape} and scales {scales.shape} are not of one quantize",
                             loc=Loc.of_user(), hint="scales are [..., rows, groups] of codes [..., rows, columns]")
        return np.asarray(codes * np.repeat(scales, codes.shape[-1] // groups, -1), np.float32)


def _multiply(a: Any, b: Any) -> Any:
    return product(a, b)


def _weigh(x: Any, w: Any) -> Any:
    return product(x, w.T)


def _dot(a: Any, b: Any) -> Any:
    return bytes4.dot_int8x4(a, b)


def _add_dot(a: Any, b: Any, acc: Any) -> Any:
    return bytes4.dot_int8x4(a, b, acc)


_integers, _weighted, _fours, _more_fours = (
    tile_kernel(cast_type(FunctionType, f)) for f in (_multiply, _weigh, _dot, _add_dot))


def _launched(kernel: Kernel, *values: Any) -> Any:
    """What a kernel of this file gives; its author's mistakes are the caller's."""
    loc = Loc.of_user()
    try:
        return kernel(*values)
    except PtoError as err:
        err.loc = loc
        raise


def int8_gemm(a: Any, b: Any) -> Any:
    """a [m, k] times b [k, n] in int8, exactly, as int32; on arrays, or in a kernel.

    Raises:
        DTypeError: an operand is not int8.
    """
    for name, x in (("a", a), ("b", b)):
        found = x.dtype.numpy if isinstance(x, Array) else np.asarray(x).dtype.name
        if found != "int8":
            raise DTypeError(f"{name} is {found}; int8_gemm takes int8", hint="Quantizer(bits=8).quantize(x)")
    return product(a, b) if isinstance(a, Array) else _launched(_integers, a, b)


def load_int8x4(x: Any, axis: int = -1) -> Any:
    """Four neighbouring int8 along an axis as one int32, the first in its lowest byte: of an array, or in a kernel.

    See `pto.lang.bytes4.load_int8x4`.

    Raises:
        DTypeError: it is not int8.
        ShapeError: the extent is no multiple of four.
    """
    if is_tracing():
        return bytes4.load_int8x4(x, axis)
    array = np.asarray(x)
    if array.dtype != np.int8:
        raise DTypeError(f"load_int8x4 takes int8, not {array.dtype.name}", loc=Loc.of_user(),
                         hint="Quantizer(bits=8).quantize(x)")
    if not -array.ndim <= axis < array.ndim or array.shape[axis] % bytes4.COUNT:
        raise ShapeError(f"axis {axis} of {array.shape} is no multiple of four", loc=Loc.of_user(),
                         hint="pad it with zeros: numpy.pad")
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, axis, -1)).view("<i4"), -1, axis)


def dot_int8x4(a: Any, b: Any, acc: Any = None) -> Any:
    """The exact sums of products of the four int8 in elements of a and b, plus acc, where given: of arrays, or in a
    kernel; see `pto.lang.bytes4.dot_int8x4`.

    Raises:
        DTypeError: one of them is not int32.
    """
    if is_tracing():
        return bytes4.dot_int8x4(a, b, acc)
    return _launched(_fours, a, b) if acc is None else _launched(_more_fours, a, b, acc)


def _is_ternary(weights: Packed) -> bool:
    """Records of digits; or, of rows that are no whole records, codes that are digits."""
    codes = weights.parts[0]
    return weights.form in (T2_FORM, T3_FORM) or (weights.form is ROWS and -1 <= codes.min() <= codes.max() <= 1)


def ternary_gemm(x: Any, weights: Any) -> Any:
    """x [m, k] in float32 times the transpose of packed ternary weights [n, k]: on arrays, or in a kernel.

    Raises:
        UsageError: the weights are not packed, or not ternary.
    """
    if isinstance(x, Array):
        return product(x, weights.T)
    if not (isinstance(weights, Packed) and _is_ternary(weights)):
        found = f"in the form {weights.form.name}" if isinstance(weights, Packed) else f"as {type(weights).__name__}"
        raise UsageError(f"weights {found} are not packed ternary ones", loc=Loc.of_user(),
                         hint='pack(quantise(w, find("ternary_mean_channel")))')
    return _launched(_weighted, x, weights)
