"""How kernels compute: roundings, what overflows, which types meet in which, and what is watched while they run.

A configuration is of the process (`set_numeric_config`) or of a block (`numeric_config`). A kernel that is compiled
under one is a program of its own: nothing is decided, or costs anything, at run time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from operator import index
from typing import Any

from pto.core.dtypes import BF16, BY_NUMPY, DTYPES, F16, F32, PRED, S8, S16, S32, U8, DType, promoted
from pto.core.errors import DTypeError, Loc, UsageError

STOCHASTIC, NEAREST, TRUNCATE = "stochastic", "rne", "rtz"
ROUNDINGS = {  # by what they are called; the machine's own names are right too
    "nearest_even": NEAREST, "truncate": TRUNCATE, "floor": "rdn", "ceil": "rup", "nearest_away": "rna", "odd": "rto",
    "nearest_up": "rhb", STOCHASTIC: STOCHASTIC,
}
SATURATE = "saturate"
WATCHED = ("overflow", "nan")
ON_DETECT = ("log", "raise")
WIDER = {F16: F32, BF16: F32, S16: S32, S8: S32, U8: S32}  # where what has another rounding, or saturates, is computed
DIGITS = {F32: 24, F16: 11, BF16: 8, S32: 31, S16: 15, S8: 7, U8: 8}  # integers so long are all values of a type


def rounding_called(name: object) -> str:
    """The machine's name of a rounding, or `STOCHASTIC`.

    Raises:
        UsageError: there is none of this name.
    """
    found = str(name).replace("-", "_")
    if found not in ROUNDINGS and found not in ROUNDINGS.values():
        raise UsageError(f"there is no rounding {name!r}", loc=Loc.of_user(), hint="roundings are "
                         + ", ".join(f"{ours} ({theirs})" if ours != theirs else ours
                                     for ours, theirs in ROUNDINGS.items()))
    return ROUNDINGS.get(found, found)


def holding(a: DType, b: DType) -> DType:
    """The smallest type that has all values of two.

    Raises:
        DTypeError: there is none.
    """
    if PRED in (a, b):
        return b if a == PRED else a

    def has(wide: DType, one: DType) -> bool:
        if wide.kind == "f":
            return DIGITS[wide] >= DIGITS[one] and (one.kind != "f" or wide in (F32, one))
        signed = wide.kind == "i" or one.kind == "u"
        return one.kind != "f" and signed and DIGITS[wide] >= DIGITS[one]

    found = [row for row in (U8, S8, S16, S32, F16, BF16, F32) if has(row, a) and has(row, b)]
    if not found:
        raise DTypeError(f"no element type has all values of {a.title} and {b.title}", loc=Loc.of_user(),
                         hint=f"convert one: x.to(pt.{F32.public})")
    return min(found, key=lambda row: row.bits)


def alike(a: DType, b: DType) -> DType:
    """The type of two that are of one type.

    Raises:
        DTypeError: they differ.
    """
    if a != b:
        raise DTypeError(f"{a.title} and {b.title} meet, and the numeric configuration mixes no types",
                         loc=Loc.of_user(), hint=f"convert one: x.to(pt.{a.public})")
    return a


PROMOTIONS = {"pytorch": promoted, "conservative": holding, "strict": alike}


@dataclass(frozen=True, slots=True)
class NumericConfig:
    """A configuration; the default one is the machine as it is.

    Attributes:
        rounding: of results and conversions, by element type: the machine's name, or `STOCHASTIC`.
        saturates: element types whose results and conversions stay at the nearest finite value.
        detect: which of `WATCHED` are looked for.
        on_detect: "log", or "raise".
        promotion: a name of `PROMOTIONS`.
        seed: of random rounding; 64 bits.
    """

    rounding: tuple[tuple[DType, str], ...] = ()
    saturates: frozenset[DType] = frozenset()
    detect: tuple[str, ...] = ()
    on_detect: str = "log"
    promotion: str = "pytorch"
    seed: int = 0

    def rounding_to(self, dtype: DType) -> str | None:
        """The rounding to a type, if it is not the usual one."""
        return dict(self.rounding).get(dtype)

    def computed_in(self, dtype: DType) -> DType:
        """The type in which operations on a type are computed, to be rounded as it is said here."""
        own = self.rounding_to(dtype) not in (None, NEAREST) and dtype.kind == "f"
        return WIDER.get(dtype, dtype) if own or dtype in self.saturates else dtype

    def met(self, a: DType, b: DType) -> DType:
        """The type in which two meet.

        Raises:
            DTypeError: they do not.
        """
        return PROMOTIONS[self.promotion](a, b)


@dataclass(frozen=True, slots=True)
class NumericEvent:
    """Where a value that is no number, or is out of range, first came up in a launch.

    Attributes:
        kind: "overflow" or "nan".
        kernel: its name.
        tensor: what it is assigned to, or the argument it came with.
        op: the operation, as in the graph.
        loc: the line, and the expression in it.
        element: its coordinates in the tensor, or in the tile.
        value: the result; of a conversion, what was converted.
        at: the counters of the loops around it.
    """

    kind: str
    kernel: str
    tensor: str
    op: str
    loc: Loc
    element: tuple[int, ...]
    value: float
    at: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.loc}: {self.said}"

    @property
    def said(self) -> str:
        """In words, without the place."""
        loops = f" with the loops at {', '.join(map(str, self.at))}" if self.at else ""
        what = "overflow" if self.kind == "overflow" else "no number"
        return (f"{self.kernel}: {what} in {self.tensor}, by {self.op}: element "
                f"({', '.join(map(str, self.element))}){loops} is {self.value}")


DEFAULT = NumericConfig()


@dataclass(frozen=True, slots=True)
class Active:
    """A configuration that is in force, and what was found under it."""

    config: NumericConfig
    events: list[NumericEvent] = field(default_factory=list)


_process = Active(DEFAULT)
_BLOCK: ContextVar[Active | None] = ContextVar("numeric", default=None)


def active() -> Active:
    """What is in force here."""
    return _BLOCK.get() or _process


def set_numeric_config(config: Any = None, /, **options: Any) -> list[NumericEvent]:
    """Let kernels compute so from now on, in the whole process; without arguments, as they did at first.

    Args:
        config: a mapping of the options; or a `NumericConfig`.
        rounding: a rounding for each element type, or one for all that can have it: "nearest_even", "truncate",
            "floor", "ceil", "nearest_away", "odd", "nearest_up", "stochastic".
        overflow: "wrap" (floats: "infinity") or "saturate" for each element type, or for all that can.
        detect: True, or some of "overflow" and "nan".
        on_detect: "log", or "raise" an error at the line.
        promotion: "pytorch"; "conservative", the smallest type that has all values of both; "strict", none.
        seed: of stochastic rounding.

    Returns:
        The list to which launches add what they detect.

    Raises:
        UsageError, DTypeError: there is no such option, or the machine cannot do it.
    """
    global _process
    _process = Active(configured(config, options))
    return _process.events


@contextmanager
def numeric_config(config: Any = None, /, **options: Any) -> Iterator[list[NumericEvent]]:
    """The same in a block: ``with pt.numeric_config(detect=True) as events:``."""
    here = Active(configured(config, options))
    token = _BLOCK.set(here)
    try:
        yield here.events
    finally:
        _BLOCK.reset(token)


def configured(config: Any, options: Mapping[str, Any]) -> NumericConfig:
    """A configuration of what a user says; see `set_numeric_config`."""
    if isinstance(config, NumericConfig):
        if options:
            raise UsageError("a NumericConfig has all its options already", loc=Loc.of_user(),
                             hint="dataclasses.replace(config, seed=1) gives another one")
        return config
    if not isinstance(config, Mapping | None):
        raise UsageError(f"a numeric configuration is a mapping, not a {type(config).__name__}", loc=Loc.of_user())
    said = {**(config or {}), **options}
    if unknown := [name for name in said if name not in READERS]:
        raise UsageError(f"there is no numeric option {unknown[0]!r}", loc=Loc.of_user(),
                         hint=f"options are {', '.join(READERS)}")
    made = NumericConfig(**dict(READERS[name](value) for name, value in said.items()))
    return DEFAULT if made == DEFAULT else made


def _by_type(value: Any) -> dict[DType, Any] | None:
    """What is said for each element type; None where one thing is said for all."""
    if not isinstance(value, Mapping):
        return None
    return {_type_called(name): said for name, said in value.items()}


def _type_called(name: Any) -> DType:
    found = name if isinstance(name, DType) else DTYPES.get(str(name)) or BY_NUMPY.get(str(name))
    if found is None or found == PRED:
        raise DTypeError(f"{name!r} is no element type of numbers", loc=Loc.of_user(),
                         hint=f"types are {', '.join(row.title for row in DTYPES.values() if row != PRED)}")
    return found


def _rounding(value: Any) -> tuple[str, Any]:
    said = _by_type(value)
    if said is None:
        said = {row: value for row in DTYPES.values() if row not in (F32, PRED)}
    found = {dtype: rounding_called(name) for dtype, name in said.items()}
    if found.get(F32, NEAREST) != NEAREST:
        raise DTypeError("the machine rounds results in float32 to nearest, ties to even", loc=Loc.of_user(),
                         hint="leave float32 out; pt.cast(x, pt.f32, rounding=...) rounds a conversion otherwise")
    return "rounding", tuple(sorted(found.items(), key=lambda item: item[0].name))


def _overflow(value: Any) -> tuple[str, Any]:
    said = _by_type(value)
    if said is None:
        said = {row: value if value == SATURATE or row.kind != "f" else "infinity" for row in WIDER}
    for dtype, what in said.items():
        other = "infinity" if dtype.kind == "f" else "wrap"
        if what not in (SATURATE, other):
            raise UsageError(f"{dtype.title} does not {what} where it overflows" if what in ("wrap", "infinity") else
                             f"there is no overflow {what!r}", loc=Loc.of_user(), hint=f"it is {other!r} or "
                             f"{SATURATE!r} for {dtype.title}")
        if what == SATURATE and dtype not in WIDER:
            raise DTypeError(f"results in {dtype.title} do not saturate: the machine has no wider type",
                             loc=Loc.of_user(), hint=f"pt.cast(x, pt.{dtype.public}, saturate=True) for a conversion; "
                             "detect=True tells where results overflow")
    return "saturates", frozenset(dtype for dtype, what in said.items() if what == SATURATE)


def _detect(value: Any) -> tuple[str, Any]:
    several = isinstance(value, Collection) and not isinstance(value, str)
    said = WATCHED if value is True else () if value in (False, None) else value if several else (value,)
    for one in said:
        if one not in WATCHED:
            raise UsageError(f"{one!r} cannot be detected", loc=Loc.of_user(), hint=f"detect: {', '.join(WATCHED)}")
    return "detect", tuple(one for one in WATCHED if one in said)


def _one_of(option: str, names: Any) -> Any:
    def read(value: Any) -> tuple[str, Any]:
        if value not in names:
            raise UsageError(f"{option} cannot be {value!r}", loc=Loc.of_user(), hint=f"it is {' or '.join(names)}")
        return option, value
    return read


def _seed(value: Any) -> tuple[str, Any]:
    if isinstance(value, bool) or not hasattr(value, "__index__") or not 0 <= index(value) < 2**64:
        raise UsageError(f"a seed is an integer of 64 bits, not {value!r}", loc=Loc.of_user())
    return "seed", index(value)


READERS = {
    "rounding": _rounding, "overflow": _overflow, "detect": _detect, "on_detect": _one_of("on_detect", ON_DETECT),
    "promotion": _one_of("promotion", tuple(PROMOTIONS)), "seed": _seed,
}
