"""Integers of a program under tracing, and what all values that a kernel author holds have in common."""

from __future__ import annotations

from numbers import Real
from typing import Any

from pto.core.errors import CaptureError, Loc
from pto.core.types import Type
from pto.ir.graph import Val
from pto.lang.trace import tracer, uncaptured

JOINED = ("for `a and b`, `a or b`, `not a` and `a < b < c` write `a & b`, `a | b`, `a != 1` and `(a < b) & (b < c)`, "
          "in a plain `if`")

ASSERTED = ('annotate the argument, as x: pt.f32["M", 64]: each call is then checked; pt.static_assert is for '
            "constants")


EXTREMES = "of integers write pt.minimum(a, b) and pt.maximum(a, b)"


class Proxy:
    """What an author's name is bound to while a kernel is traced: it stands for one value of the graph."""

    __slots__ = ("val",)

    def __init__(self, val: Val) -> None:
        self.val = val

    @property
    def type(self) -> Type:
        return self.val.type

    def __repr__(self) -> str:
        return f"<{self.type} of a kernel that is being traced>"


def unwrap(value: Any) -> Any:
    """The value that a proxy stands for; anything else as it is."""
    return value.val if isinstance(value, Proxy) else value


class Index(Proxy):
    """An integer known at run time: an extent, a loop counter, an offset. Conditions on it are 0 or 1."""

    __slots__ = ()

    def _op(self, name: str, other: Any, flip: bool = False) -> Any:
        if not isinstance(other, Index | int):
            return NotImplemented
        a, b = self.val, unwrap(int(other) if isinstance(other, bool) else other)
        tracer().require_seen((a, b))
        return tracer().wrap(tracer().graph.index(name, *((b, a) if flip else (a, b))))

    def __add__(self, other: Any) -> Any:
        return self._op("add", other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._op("sub", other)

    def __rsub__(self, other: Any) -> Any:
        return self._op("sub", other, flip=True)

    def __mul__(self, other: Any) -> Any:
        return self._op("mul", other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return self._op("div", other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._op("div", other, flip=True)

    def __mod__(self, other: Any) -> Any:
        return self._op("mod", other)

    def __rmod__(self, other: Any) -> Any:
        return self._op("mod", other, flip=True)

    def __neg__(self) -> Any:
        return 0 - self

    def __lt__(self, other: Any) -> Any:
        return self._op("lt", other)

    def __gt__(self, other: Any) -> Any:
        return self._op("lt", other, flip=True)

    def __le__(self, other: Any) -> Any:
        found = self._op("lt", other, flip=True)
        return found if found is NotImplemented else 1 - found

    def __ge__(self, other: Any) -> Any:
        found = self._op("lt", other)
        return found if found is NotImplemented else 1 - found

    def __eq__(self, other: object) -> Any:
        found = self._op("lt", other)
        return found if found is NotImplemented else (1 - found) * (1 - self._op("lt", other, flip=True))

    def __ne__(self, other: object) -> Any:
        found = self == other
        return found if found is NotImplemented else 1 - found

    def __and__(self, other: Any) -> Any:
        """Both conditions."""
        return self * other

    __rand__ = __and__

    def __or__(self, other: Any) -> Any:
        """Either condition."""
        return self._op("max", other)

    __ror__ = __or__

    def __hash__(self) -> int:
        return hash(self.val)

    def _python(self, what: str, hint: str) -> Any:
        raise CaptureError(
            f"{what} needs a number when the kernel is traced, but this is known at run time only",
            loc=Loc.of_user(), hint=hint)

    def __bool__(self) -> bool:
        loc = Loc.of_user()
        word = loc.source().partition(":")[0].split(None, 1)[:1]
        hint = {"assert": ASSERTED, "if": uncaptured(), "while": uncaptured()}.get("".join(word), "")
        if loc.source()[loc.col:].startswith(("min(", "max(")):
            hint = EXTREMES
        return bool(self._python("a condition", hint or JOINED))

    def __float__(self) -> float:
        """The number that an extent has in this call: the program is then for that."""
        symbols, name = tracer().symbols, tracer().extent(self)
        value = None if name is None else symbols.value(name)
        if name is None or value is None:
            return float(self._python("a Python number", "an extent is one, where the kernel is called with arrays or "
                                      "annotated with a number; other integers are known at run time only"))
        symbols.pin(name)
        return float(value)

    def __truediv__(self, other: Any) -> Any:
        return float(self) / float(other) if isinstance(other, Index | Real) else NotImplemented

    def __rtruediv__(self, other: Any) -> Any:
        return (float(other) if isinstance(other, Index) else other) / float(self)

    def __pow__(self, other: Any) -> Any:
        return float(self) ** other

    def __index__(self) -> int:
        return int(self._python("Python", "loop with `for ... in pt.range(...)`; give what must be constant as an "
                                          "option of @pt.tile_kernel"))


def are_integers(*values: Any) -> bool:
    """Is each an integer, of Python or of the program?"""
    return all(isinstance(v, Index | int) for v in values)


def larger(a: Any, b: Any) -> Any:
    """The larger of two integers."""
    if not isinstance(a, Index):
        a, b = b, a
    return a._op("max", b) if isinstance(a, Index) else max(a, b)


def smaller(a: Any, b: Any) -> Any:
    """The smaller of two integers.

    Not by the machine's own instruction for it: the compiler cuts tiles with that, and takes it to be 1 at least.
    """
    return -larger(-a, -b)
