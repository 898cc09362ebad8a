"""Schemes as rows: which integers stand for the elements of a matrix, and which elements share a scale.

An element is ``scale * code + offset``. A scale is shared by a whole tensor, by a row (an output channel of weights
[out, in], a token of activations [tokens, channels]), or by a group of neighbours in a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import UsageError, require_known

Floats = NDArray[np.float32]
Codes = NDArray[np.signedinteger[Any]]
TENSOR, ROW = -1, 0


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to write a matrix in fewer bits.

    Attributes:
        name: what it is called.
        low, high: least and largest code.
        share: which elements share a scale: `TENSOR`, `ROW`, or the extent of a group.
        symmetric: code 0 is 0.0, and there is no offset.
        ternary: how codes -1, 0, 1 are found, where it is not by rounding to a grid: ``mean`` (above 0.7 times the mean
            magnitude), ``absmean`` (rounded multiples of the mean magnitude; Ma et al., 2024), ``optimal`` (least
            squares).
        planes: ternary digits of a code, weighted 1, 3, 9, 27; 0: codes are binary.
        storage: the block of GGUF files that it is, whose scales are in float16 (`pto.quant.blocks`).
    """

    name: str
    low: int
    high: int
    share: int = ROW
    symmetric: bool = True
    ternary: str = ""
    planes: int = 0
    storage: str = ""

    @property
    def dtype(self) -> type[np.int8] | type[np.int16]:
        """What codes are kept in."""
        return np.int8 if self.low >= -128 and self.high <= 127 else np.int16

    @property
    def levels(self) -> int:
        """Number of codes."""
        return self.high - self.low + 1


def _shared(name: str, low: int, high: int, groups: tuple[int, ...] = (), symmetric: bool = True,
            planes: int = 0) -> tuple[Scheme, ...]:
    kinds = (("tensor", TENSOR), ("channel", ROW), *((f"g{n}", n) for n in groups))
    return tuple(Scheme(f"{name}_{kind}", low, high, share, symmetric, planes=planes) for kind, share in kinds)


GROUPS = (32, 64, 128)
TERNARY = ("mean", "absmean", "optimal")
SCHEMES = (
    *_shared("int8", -127, 127, GROUPS),
    *_shared("int8_asymmetric", -128, 127, GROUPS, symmetric=False),
    *_shared("int4", -7, 7, GROUPS),
    *_shared("int4_asymmetric", -8, 7, GROUPS, symmetric=False),
    *(Scheme(f"ternary_{how}_{kind}", -1, 1, share, ternary=how, planes=1)
      for how in TERNARY for kind, share in (("channel", ROW), *((f"g{n}", n) for n in GROUPS))),
    *(row for n in (2, 3, 4, 5)
      for row in _shared(f"planes{n}", -(3**n // 2), 3**n // 2, GROUPS, planes=n)),
    Scheme("q8_0", -127, 127, 32, storage="Q8_0"),
    Scheme("q4_0", -8, 7, 32, storage="Q4_0"),
    Scheme("q4_1", 0, 15, 32, symmetric=False, storage="Q4_1"),
    Scheme("a8", -127, 127),  # activations: a token has a scale
    Scheme("a14", -8191, 8191),  # in int16: with 8-bit weights, sums of 2064 products fit 32 bits
)
BY_NAME = {row.name: row for row in SCHEMES}
A8, A14 = BY_NAME["a8"], BY_NAME["a14"]


def find(name: str) -> Scheme:
    """The scheme with a name.

    Raises:
        UsageError: there is none.
    """
    require_known(BY_NAME, name, "scheme")
    return BY_NAME[name]


def blocks(values: NDArray[Any], scheme: Scheme) -> NDArray[Any]:
    """The elements that share a scale, a row each: [..., 1, all], [..., rows, 1, cols] or [..., rows, groups, group].

    Raises:
        UsageError: a row is no whole number of groups.
    """
    if scheme.share == TENSOR:
        return values.reshape(1, 1, values.size)
    group = scheme.share or values.shape[-1]
    if values.shape[-1] % group:
        raise UsageError(f"rows of {values.shape[-1]} elements are no groups of {group} ({scheme.name})")
    return values.reshape(*values.shape[:-1], -1, group)


def to_planes(codes: NDArray[Any], planes: int) -> NDArray[np.int8]:
    """The digits of codes in balanced ternary, [planes, ...]: a code is the sum of 3**p times digit p.

    Raises:
        UsageError: a code has more digits.
    """
    most = 3**planes // 2
    if codes.size and (codes.min() < -most or codes.max() > most):
        raise UsageError(f"{planes} ternary digits hold {-most} to {most}, not {codes.min()} to {codes.max()}")
    rest, found = codes.astype(np.int16) + most, np.empty((planes, *codes.shape), np.int8)
    for plane in range(planes):  # digits 0, 1, 2 of code + most, whose digits all are 1 for code 0
        rest, digit = np.divmod(rest, 3)
        found[plane] = digit - 1
    return found


def from_planes(planes: NDArray[np.int8]) -> NDArray[np.int16]:
    """The codes that digits stand for."""
    weights = 3 ** np.arange(len(planes), dtype=np.int16)
    return np.asarray(np.tensordot(weights, planes.astype(np.int16), 1), np.int16)
