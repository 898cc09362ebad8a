"""One decoder layer as an operation, for programs that keep their own loop: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import ShapeError, UsageError
from pto.models.config import LlamaConfig
from pto.models.llama.decoder import layer_kernel
from pto.models.tensors import LAYER

Array = NDArray[Any]
WEIGHTS = tuple(kind.name for kind in LAYER)
INPUTS = ("hidden", *WEIGHTS, "positions", "cos", "sin", "mask", "past_key", "past_value")
OPTIONAL = ("mask", "past_key", "past_value")
OUTPUTS = ("hidden", "key", "value")

_kernel = cache(layer_kernel)


class LlamaDecoderLayer:
    """A layer of a Llama: one launch for each text of a batch. It keeps nothing but its program.

    Args:
        config: shapes and constants; the number of layers, the vocabulary and the context are of no account.
    """

    def __init__(self, config: LlamaConfig) -> None:
        self.config = config

    def execute(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """The layer of some tokens.

        Args:
            inputs: float32 arrays by name: ``hidden`` [batch, count, embed]; the weights, matrices as [out, in];
                ``positions`` [batch, count] integers, rows of the tables ``cos`` and ``sin`` [any, head_dim / 2];
                ``mask`` [batch or 1, count, past + count], added to the scores (left out: causal); ``past_key`` and
                ``past_value`` [batch, kv_heads, past, head_dim] (left out: nothing is known yet).

        Returns:
            ``hidden`` [batch, count, embed]; ``key`` and ``value`` [batch, kv_heads, past + count, head_dim].

        Raises:
            UsageError: an input is missing or unknown, or a position is no row of the tables.
            ShapeError, DTypeError: arrays do not fit each other or the configuration.
        """
        self._require(inputs)
        hidden = np.asarray(inputs["hidden"])
        if hidden.ndim != 3:
            raise ShapeError(f"hidden has {hidden.ndim} axes; it is batch x count x embed")
        batch, count = hidden.shape[:2]
        keys, values = (self._known(inputs.get(name), batch, count) for name in ("past_key", "past_value"))
        if keys.shape != values.shape:
            raise ShapeError("past_key and past_value have different shapes")
        mask = self._mask(inputs.get("mask"), count, keys.shape[2])
        positions = self._positions(inputs, (batch, count))
        weights = [inputs[name] for name in WEIGHTS]
        out = np.empty(hidden.shape, np.float32)
        for row in range(batch):
            turn = (np.asarray(inputs[name])[positions[row]] for name in ("cos", "sin"))
            out[row] = _kernel(self.config)(hidden[row], *weights, *turn, mask[row % len(mask)], keys[row], values[row])
        return dict(zip(OUTPUTS, (out, keys, values), strict=True))

    @staticmethod
    def _require(inputs: Mapping[str, Any]) -> None:
        for name in inputs:
            if name not in INPUTS:
                raise UsageError(f"a layer has no input {name}", hint=f"its inputs are {', '.join(INPUTS)}")
        for name in INPUTS:
            if inputs.get(name) is None and name not in OPTIONAL:
                raise UsageError(f"the layer needs the input {name}")

    def _known(self, past: Any, batch: int, count: int) -> Array:
        """Room for the keys or values of all tokens, with those of the past in it."""
        c = self.config
        length = 0 if past is None else past.shape[2]
        if past is not None and past.shape != (batch, c.kv_heads, length, c.head_dim):
            raise ShapeError(f"the past is {past.shape}; it is batch x {c.kv_heads} x past x {c.head_dim}")
        found = np.empty((batch, c.kv_heads, length + count, c.head_dim), np.float32)
        if past is not None:
            found[:, :, :length] = past
        return found

    @staticmethod
    def _mask(mask: Any, count: int, known: int) -> Array:
        if mask is None:
            return np.triu(np.full((count, known), -np.inf, np.float32), known - count + 1)[None]
        return np.asarray(mask)

    @staticmethod
    def _positions(inputs: Mapping[str, Any], shape: tuple[int, int]) -> Array:
        positions, rows = np.asarray(inputs["positions"]), len(inputs["cos"])
        if positions.shape != shape:
            raise ShapeError(f"positions are {positions.shape}, for tokens of {shape}")
        if positions.size and not 0 <= positions.min() <= positions.max() < rows:
            raise UsageError(f"a position is not within the tables of {rows} rows")
        return positions
