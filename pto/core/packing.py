"""Integers to records of packed weights and back, see `packed.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.packed import COLS, HALF, LANES, ROWS, STEPS, Packing


def _steps(codes: NDArray[Any]) -> NDArray[Any]:
    """[rows, cols] to [panels, groups, steps, lanes]."""
    n, k = codes.shape
    parts = codes.reshape(n // ROWS, ROWS, k // COLS, STEPS, 2)
    return np.ascontiguousarray(parts.transpose(0, 2, 3, 1, 4)).reshape(n // ROWS, k // COLS, STEPS, LANES)


def _digits(codes: NDArray[Any], packing: Packing) -> list[NDArray[Any]]:
    """The codes of each plane."""
    rest, found = codes.astype(np.int16) + packing.zero, []
    if packing.planes == 1:
        return [rest]
    for _ in range(packing.planes):
        rest, digit = np.divmod(rest, 3)
        found.append(digit)
    return found


def packed(values: NDArray[Any], packing: Packing, scale: NDArray[np.float16] | None = None,
           offset: NDArray[np.float16] | None = None) -> NDArray[np.uint8]:
    """Records of a matrix of integers, [rows / 16, bytes]; rows are a multiple of 16, columns of 32.

    Args:
        scale, offset: [rows, cols / 32], for formats that have them.
    """
    n, k = values.shape
    panels, groups = n // ROWS, k // COLS
    parts: list[NDArray[np.uint8]] = []
    for numbers in (scale, offset):
        if numbers is not None:
            turned = np.ascontiguousarray(numbers.reshape(panels, ROWS, groups).transpose(0, 2, 1), "<f2")
            parts.append(turned.view(np.uint8).reshape(panels, groups, ROWS * HALF))
    for codes in _digits(values, packing):
        steps = _steps(codes)
        if packing.bits == 8:
            parts.append(steps.astype(np.int8).view(np.uint8).reshape(panels, groups, packing.plane))
            continue
        each = packing.lane // packing.bits
        shifted = steps.reshape(panels, groups, STEPS // each, each, LANES).astype(np.uint16)
        shifts = np.arange(each, dtype=np.uint16)[:, None] * np.uint16(packing.bits)
        lanes = np.bitwise_or.reduce(shifted << shifts, axis=3).astype("<u2")
        parts.append(lanes.view(np.uint8).reshape(panels, groups, packing.plane))
    return np.ascontiguousarray(np.concatenate(parts, -1).reshape(panels, groups * packing.record))


def unpacked(records: NDArray[np.uint8], packing: Packing) -> tuple[NDArray[np.int32], list[NDArray[np.float32]]]:
    """The integers of whole records of [panels, bytes], [rows, cols]; scales and offsets, [rows, cols / 32] each."""
    panels, groups = len(records), records.shape[1] // packing.record
    table = np.ascontiguousarray(records[:, :groups * packing.record]).reshape(panels, groups, packing.record)
    count = packing.head // (ROWS * HALF)
    heads = np.ascontiguousarray(table[..., :packing.head]).view("<f2").reshape(panels, groups, count, ROWS)
    numbers = [heads[:, :, n].transpose(0, 2, 1).reshape(panels * ROWS, groups).astype(np.float32)
               for n in range(count)]
    total = np.full((panels * ROWS, groups * COLS), -packing.zero, np.int32)
    for plane in range(packing.planes):
        start = packing.head + plane * packing.plane
        total += 3**plane * _plane(np.ascontiguousarray(table[..., start:start + packing.plane]), packing)
    return total, numbers


def _plane(codes: NDArray[np.uint8], packing: Packing) -> NDArray[Any]:
    """The codes of one plane, [rows, cols]."""
    panels, groups, _ = codes.shape
    if packing.bits == 8:
        steps: NDArray[Any] = codes.view(np.int8)
    else:
        each = packing.lane // packing.bits
        shifts = np.arange(each, dtype=np.uint16)[:, None] * np.uint16(packing.bits)
        lanes = codes.view("<u2").reshape(panels, groups, STEPS // each, 1, LANES)
        steps = lanes >> shifts & np.uint16(2**packing.bits - 1)
    parts = steps.reshape(panels, groups, STEPS, ROWS, 2).transpose(0, 3, 1, 2, 4)
    return parts.reshape(panels * ROWS, groups * COLS)
