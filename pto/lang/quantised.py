"""Quantised weights in a kernel: an argument of several tensors that is multiplied with like one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pto.core.dtypes import F32
from pto.core.errors import DTypeError, Loc, ShapeError, located
from pto.core.types import TensorType
from pto.ir.ops import TENSOR_OPS
from pto.lang.trace import tracer
from pto.lang.values import Tensor, Weights


@dataclass(frozen=True)
class Parts:
    """What a kernel knows of an argument that is quantised weights: a constant of the program.

    Attributes:
        form, activation: as `pto.quant.forms` has them.
        shape: of the weights, [..., n, k].
        names: of the arguments that hold its parts.
    """

    form: str
    activation: str
    shape: tuple[int, ...]
    names: tuple[str, ...]

    def tensor(self, values: Mapping[str, Any]) -> QuantisedTensor:
        """What the kernel's author holds, given its arguments."""
        return QuantisedTensor(self.form, self.activation, self.shape, tuple(values[name] for name in self.names))


def assembled(values: Mapping[str, Any], constants: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a kernel's function: quantised weights instead of their parts."""
    found = {name: c.tensor(values) if isinstance(c, Parts) else c for name, c in constants.items()}
    hidden = {name for c in constants.values() if isinstance(c, Parts) for name in c.names}
    return {**{name: v for name, v in values.items() if name not in hidden}, **found}


class QuantisedTensor(Weights):
    """Weights [..., n, k] in a scheme. Select leading axes with integers; multiply: ``pt.matmul(x, w.T)``."""

    __array_ufunc__ = None

    def __init__(self, form: str, activation: str, shape: tuple[int, ...], parts: tuple[Tensor, ...],
                 turned: bool = False) -> None:
        self.form, self.activation, self.dims, self.parts, self.turned = form, activation, shape, parts, turned

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents, as the author sees them."""
        *lead, n, k = self.dims
        return (*lead, k, n) if self.turned else self.dims

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.dims)

    @property
    def T(self) -> QuantisedTensor:  # as in NumPy
        """The last two axes swapped."""
        return QuantisedTensor(self.form, self.activation, self.dims, self.parts, not self.turned)

    def transpose(self, a: int, b: int) -> QuantisedTensor:
        """The last two axes swapped.

        Raises:
            ShapeError: other axes are given.
        """
        if {a % self.ndim, b % self.ndim} != {self.ndim - 2, self.ndim - 1}:
            raise ShapeError("of quantised weights only the last two axes can be swapped", loc=Loc.of_user())
        return self.T

    def __getitem__(self, where: Any) -> QuantisedTensor:
        loc = Loc.of_user()
        places = where if isinstance(where, tuple) else (where,)
        with located(loc):
            if len(places) > self.ndim - 2 or any(isinstance(p, slice) for p in places):
                raise ShapeError("quantised weights are selected as whole matrices", hint="w[layer]")
            parts = tuple(part[where] for part in self.parts)
            return QuantisedTensor(self.form, self.activation, self.dims[len(places):], parts, self.turned)

    def multiplied(self, x: Any) -> Any:
        """x [..., m, k] times the transpose of one matrix: ``x @ w.T``.

        Raises:
            ShapeError: extents differ, or it is not one matrix, transposed.
            DTypeError: x is not float32.
        """
        loc = Loc.of_user()
        with located(loc):
            if not isinstance(x, Tensor) or x.ndim < 2:
                raise ShapeError("quantised weights are multiplied with whole tensors of two axes or more")
            if x.dtype != F32:
                raise DTypeError(f"activations are float32, not {x.dtype.title}", hint="x.to(pt.f32)")
            if self.ndim != 2 or not self.turned:
                raise ShapeError("quantised weights [n, k] are multiplied as one transposed matrix",
                                 hint="pt.matmul(x, w[layer].T)")
            n, k = self.dims
            found = tracer()
            channels = found.symbols.show(x.dims[-1])
            found.symbols.equal(x.dims[-1], k, f"inner extents differ: x has {channels} channels, the weights {k}")
            if found.symbols.is_one(x.dims[-2]):  # one token: weights are streamed, and the program is for that
                found.symbols.pin(x.dims[-2])
            return found.emit(TENSOR_OPS["quantised_matmul"], x, *self.parts, form=self.form,
                              activation=self.activation, type=found.symbols.type(TensorType(F32, (*x.dims[:-1], n))))
