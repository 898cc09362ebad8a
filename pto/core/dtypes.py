"""Element types as rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DType:
    """One element type.

    Attributes:
        name: short name in IR and assembly, e.g. ``f32``.
        title: public name, as in NumPy and PyTorch, e.g. ``float32``.
        bits: size of one element.
        kind: ``f`` floating, ``i`` signed integer, ``u`` unsigned integer.
        numpy: name of NumPy's twin.
    """

    name: str
    title: str
    bits: int
    kind: str
    numpy: str

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return self.bits // 8

    def __str__(self) -> str:
        return self.name

    def __getitem__(self, dims: int | str | tuple[int | str, ...]) -> TensorType:
        """The type of a tensor with these extents, for annotations: ``A: pt.f32["M", 64]``."""
        return TensorType(self, dims if isinstance(dims, tuple) else (dims,))


@dataclass(frozen=True, slots=True)
class TensorType:
    """A whole tensor in global memory; an extent is an integer or the name of a symbol."""

    dtype: DType
    dims: tuple[int | str, ...]

    @property
    def rank(self) -> int:
        return len(self.dims)

    def __str__(self) -> str:
        return f"tensor<{' x '.join([*map(str, self.dims), self.dtype.name])}>"


F32 = DType("f32", "float32", 32, "f", "float32")

DTYPES = {row.name: row for row in (F32,)}
BY_NUMPY = {row.numpy: row for row in DTYPES.values()}
