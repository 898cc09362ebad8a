"""A quantised tensor: codes with the scales of a scheme. How values become codes, and codes values again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import UsageError
from pto.quant.blocks import BY_NAME as STORAGES
from pto.quant.blocks import Records, codes, put_codes, to_blocks
from pto.quant.calibrate import Calibration
from pto.quant.schemes import Codes, Floats, Scheme, blocks, to_planes
from pto.quant.ternary import RULES


@dataclass(frozen=True, eq=False)
class Quantised:
    """A tensor with a scheme.

    Attributes:
        scheme: what the codes mean.
        codes: int8 or int16, of the tensor's shape.
        scale: float32, the tensor's shape with the last axis counted in groups: [..., rows, groups], one group where
            a row shares its scale, [1, 1] where all elements do.
        offset: what is added after scaling, of the same shape; None for symmetric schemes.
    """

    scheme: Scheme
    codes: Codes
    scale: Floats
    offset: Floats | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents of the tensor."""
        return self.codes.shape

    @property
    def nbytes(self) -> int:
        """Bytes of codes, as many bits as the scheme needs, and of scales and offsets in float16."""
        bits = 2 * self.scheme.planes or (self.scheme.levels - 1).bit_length()
        return self.codes.size * bits // 8 + 2 * self.scale.size * (1 if self.offset is None else 2)

    def dequantise(self) -> Floats:
        """The values that the codes stand for, float32."""
        parts = blocks(self.codes, self.scheme).astype(np.float32) * self.scale[..., None]
        if self.offset is not None:
            parts += self.offset[..., None]
        return np.asarray(parts.reshape(self.codes.shape), np.float32)

    def planes(self) -> NDArray[np.int8]:
        """The ternary digits of the codes, [planes, ...].

        Raises:
            UsageError: the scheme has none.
        """
        if not self.scheme.planes:
            raise UsageError(f"{self.scheme.name} has no ternary planes")
        return to_planes(self.codes, self.scheme.planes)


def quantise(values: NDArray[np.floating], scheme: Scheme, calibration: Calibration | None = None) -> Quantised:
    """Values as codes of a scheme, to nearest with ties to even; what lies beyond the range becomes its end.

    Args:
        values: finite, of one axis or more.
        calibration: how the range that codes cover is found; None: from least to largest.

    Raises:
        UsageError: a value is not finite, or a row is no whole number of groups.
    """
    array = np.asarray(values, np.float32)
    if not array.size or not np.isfinite(array).all():
        raise UsageError("only finite numbers can be quantised", hint="look for NaN and infinities first")
    parts = np.asarray(blocks(array, scheme), np.float32)
    if scheme.storage:
        return from_records(to_blocks(array, STORAGES[scheme.storage]).reshape(*parts.shape[:-1]), scheme)
    if scheme.ternary:
        trits, scale = RULES[scheme.ternary](parts)
        return Quantised(scheme, trits.reshape(array.shape), scale)
    scale, zero = (calibration or Calibration()).grid(parts, scheme)
    found = to_codes(parts, scale, zero, scheme).reshape(array.shape)
    if scheme.symmetric:
        return Quantised(scheme, found, scale)
    return Quantised(scheme, found, scale, np.asarray(-(zero * scale), np.float32))


def from_records(records: Records, scheme: Scheme) -> Quantised:
    """Blocks of a file [..., rows, groups] as they are."""
    flat = codes(records.reshape(-1))
    low = scheme.low if records.dtype["q"].base == np.uint8 else 0  # codes of bytes are stored from 0 on
    found = (flat + np.int8(low)).reshape(*records.shape[:-1], -1)
    offset = None if scheme.symmetric else records["m"].astype(np.float32)
    return Quantised(scheme, found, records["d"].astype(np.float32), offset)


def to_records(weights: Quantised, scheme: Scheme) -> Records:
    """Codes as they are in blocks of a file [..., rows, groups], whose scales are float16: what `from_records` reads.

    Args:
        scheme: a symmetric one with blocks; those of its groups that share a scale in `weights` repeat it.

    Raises:
        UsageError: the scheme has not all of the codes, or a row is no whole number of its groups.
    """
    whole = weights.codes
    if weights.offset is not None or not scheme.symmetric or whole.min() < scheme.low or whole.max() > scheme.high:
        raise UsageError(f"{scheme.name} has not the codes of {weights.scheme.name}")
    parts = blocks(whole, scheme)
    records = np.empty(parts.shape[:-1], STORAGES[scheme.storage].record)
    records["d"] = np.repeat(weights.scale, parts.shape[-2] // weights.scale.shape[-1], -1)
    low = scheme.low if records.dtype["q"].base == np.uint8 else 0
    put_codes((parts - low).reshape(-1, scheme.share), records.reshape(-1))
    return records


def to_codes(parts: Floats, scale: Floats, zero: Floats, scheme: Scheme) -> Codes:
    """The codes of blocks [..., n], given their scales and the codes of 0.0."""
    grid = np.divide(parts, scale[..., None], out=np.zeros_like(parts), where=scale[..., None] != 0)
    return np.asarray(np.clip(np.rint(grid) + zero[..., None], scheme.low, scheme.high), scheme.dtype)
