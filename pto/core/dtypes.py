"""Element types as rows."""

from __future__ import annotations

from dataclasses import dataclass

from pto.core.errors import Loc, ShapeError


@dataclass(frozen=True, slots=True)
class DType:
    """One element type.

    Attributes:
        name: short name in IR and assembly, e.g. ``f32``.
        title: public name, as in NumPy and PyTorch, e.g. ``float32``.
        bits: size of one element.
        kind: ``f`` floating, ``i`` signed integer, ``u`` unsigned integer, ``p`` predicate.
        numpy: name of the twin among NumPy's types; `pto.core.arrays.numpy_dtype` gives it.
        nan: the bits of the one NaN that operations produce; 0 where the type has none.
    """

    name: str
    title: str
    bits: int
    kind: str
    numpy: str
    nan: int = 0

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return self.bits // 8

    @property
    def public(self) -> str:
        """What it is called in kernels, as `pt.f16`."""
        return "bool" if self.kind == "p" else self.name

    def __str__(self) -> str:
        return self.name

    def __getitem__(self, dims: int | str | tuple[int | str, ...]) -> TensorType:
        """The type of a tensor with these extents, for annotations: ``A: pt.f32["M", 64]``.

        Raises:
            ShapeError: an extent is neither a name nor a positive integer.
        """
        found = dims if isinstance(dims, tuple) else (dims,)
        for dim in found:
            if not (dim.isidentifier() if isinstance(dim, str) else type(dim) is int and dim > 0):
                raise ShapeError(f"{dim!r} is no extent", loc=Loc.of_user(),
                                 hint=f'an extent is a name or a positive integer: pt.{self.public}["M", 64]')
        return TensorType(self, found)


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


F32 = DType("f32", "float32", 32, "f", "float32", nan=0x7FC00000)
F16 = DType("f16", "float16", 16, "f", "float16", nan=0x7E00)
BF16 = DType("bf16", "bfloat16", 16, "f", "bfloat16", nan=0x7FC0)
S32 = DType("s32", "int32", 32, "i", "int32")
S16 = DType("s16", "int16", 16, "i", "int16")
S8 = DType("s8", "int8", 8, "i", "int8")
U8 = DType("u8", "uint8", 8, "u", "uint8")
PRED = DType("pred", "bool", 8, "p", "bool")  # a byte: 0 is false, all else true; operations make 0 and 1

DTYPES = {row.name: row for row in (F32, F16, BF16, S32, S16, S8, U8, PRED)}
BY_NUMPY = {row.numpy: row for row in DTYPES.values()}


def promoted(a: DType, b: DType) -> DType:
    """The element type in which two tensors meet, as in PyTorch.

    A floating type absorbs integers and predicates; of two floating types it is the larger, and float32 for float16
    with bfloat16. Of two integer types it is the larger, and int16 for int8 with uint8.
    """
    if a == b or b == PRED:
        return a
    if a == PRED:
        return b
    if "f" in a.kind + b.kind:
        floating = [x for x in (a, b) if x.kind == "f"]
        return floating[0] if len(floating) == 1 else F32
    return S16 if {a, b} == {S8, U8} else max(a, b, key=lambda x: x.bits)
