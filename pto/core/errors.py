"""Errors a kernel author sees: what is wrong, where, and what to do about it."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType

_PACKAGE = str(Path(__file__).resolve().parent.parent / "_")[:-1]  # with the separator: not its neighbours
_KERNELS: ContextVar[frozenset[str]] = ContextVar("kernels", default=frozenset())  # files of kernels being traced


@dataclass(frozen=True, slots=True)
class Loc:
    """A span on one source line; columns count from 0, `end` is exclusive.

    `text` is the source line itself; None: it may be looked up in the file. What is read from disk always has
    text, so that an untrusted program cannot make a message quote another file.
    """

    file: str
    line: int
    col: int = 0
    end: int = 0
    text: str | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col + 1}"

    @property
    def short(self) -> str:
        """The span with the file's bare name, as graphs and listings print it."""
        return f"{Path(self.file).name}:{self.line}:{self.col + 1}-{self.end}"

    def source(self) -> str:
        """The source line, without its newline; empty where it is not known."""
        return linecache.getline(self.file, self.line).rstrip() if self.text is None else self.text

    def excerpt(self) -> str:
        """The line with the span underlined; empty where there is no line to show."""
        text = self.source()
        if not text:
            return ""
        width = max(1, min(self.end, len(text)) - self.col)
        return f"    {text}\n    {' ' * self.col}{'^' * width}"

    @classmethod
    def of_user(cls) -> Loc:
        """The span of the innermost expression under evaluation outside this package."""
        frame = user_frame()
        return cls._at(frame.f_code, frame.f_lasti, frame.f_lineno)

    @classmethod
    def of_error(cls, err: BaseException) -> Loc | None:
        """The span of the innermost expression outside this package that raised it."""
        found, step = None, err.__traceback__
        while step is not None:
            code = step.tb_frame.f_code
            if _is_users(code.co_filename):
                found = cls._at(code, step.tb_lasti, step.tb_lineno)
            step = step.tb_next
        return found

    @classmethod
    def _at(cls, code: CodeType, instruction: int, number: int) -> Loc:
        line, last, col, end = next(islice(code.co_positions(), max(0, instruction // 2), None))
        if line is None:
            return cls(code.co_filename, number)
        if line != last or end is None:  # a call over several lines: underline up to the line's end
            end = len(linecache.getline(code.co_filename, line).rstrip())
        return cls(code.co_filename, line, col or 0, end)


def _is_users(file: str) -> bool:
    return not file.startswith(_PACKAGE) or file in _KERNELS.get()


def user_frame() -> FrameType:
    """The innermost frame outside this package, or in a kernel of its own that is being traced."""
    frame = sys._getframe(1)
    while frame.f_back is not None and not _is_users(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


@contextmanager
def kernel_in(file: str) -> Iterator[None]:
    """A kernel in this file is being traced: its lines are an author's, also where they come with the package."""
    token = _KERNELS.set(_KERNELS.get() | {file})
    try:
        yield
    finally:
        _KERNELS.reset(token)


class PtoError(Exception):
    """Base of every error that the user's program or input can cause.

    Attributes:
        code: stable identifier of the kind of mistake, e.g. ``PTO-E0201``.
        exit_code: what the command line exits with.
    """

    code = "PTO-E0001"
    exit_code = 1

    def __init__(self, message: str, *, loc: Loc | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.loc, self.hint = message, loc, hint

    def __str__(self) -> str:
        head = f"{self.loc}: " if self.loc else ""
        excerpt = self.loc.excerpt() if self.loc else ""
        hint = f"help: {self.hint}" if self.hint else ""
        return "\n".join(filter(None, (f"{head}error[{self.code}]: {self.message}", excerpt, hint)))


class UsageError(PtoError):
    """A command or a public function was called in a way that cannot work."""

    code, exit_code = "PTO-E0002", 2


def require_known(names: Collection[str], name: str, what: str, *, loc: Loc | None = None) -> None:
    """Refuse a name that is none of those that there are; the message lists these.

    Raises:
        UsageError: it is none of them.
    """
    if name not in names:
        raise UsageError(f"there is no {what} {name!r}", loc=loc, hint=f"there are {', '.join(names)}")


class PtoFormatError(PtoError):
    """A file is not what it claims to be; nothing of it was used."""

    code, exit_code = "PTO-E0101", 3


class AssemblyError(PtoError):
    """The text is not a program in this instruction set."""

    code, exit_code = "PTO-E0102", 3


class GraphTextError(PtoError):
    """The text is not a graph."""

    code, exit_code = "PTO-E0103", 3


class ProgramError(PtoError):
    """A program breaks a static rule of the machine."""

    code, exit_code = "PTO-E0104", 5


class ShapeError(PtoError):
    """Extents do not fit together."""

    code, exit_code = "PTO-E0201", 4


class DTypeError(PtoError):
    """Element types do not fit together, or the machine does not have them."""

    code, exit_code = "PTO-E0202", 4


class CapacityError(PtoError):
    """Tiles do not fit the memory they must live in."""

    code, exit_code = "PTO-E0203", 4


class CaptureError(PtoError):
    """A construct of Python that the tracer cannot turn into a graph."""

    code, exit_code = "PTO-E0204", 4


class UnsupportedError(PtoError):
    """A valid request that this version cannot compile."""

    code, exit_code = "PTO-E0205", 4


class TypeMismatch(PtoError):
    """Operands do not satisfy the type rule of an operation."""

    code, exit_code = "PTO-E0206", 4


class TrapError(PtoError):
    """The machine stopped a program: the reason names pc, pipe, core and address."""

    code, exit_code = "PTO-E0301", 6


class AssertionFailed(TrapError):
    """A condition that a kernel states did not hold when it ran: the message gives the values."""

    code, exit_code = "PTO-E0303", 6


class NumericError(TrapError):
    """A value that is no number, or is out of range, in a kernel that is watched for such."""

    code, exit_code = "PTO-E0304", 6


class FuelError(PtoError):
    """A program did not finish within its fuel."""

    code, exit_code = "PTO-E0302", 8


class ModelError(PtoError):
    """A sound file of a model that this version does not run."""

    code, exit_code = "PTO-E0401", 3


class MemoryLimitError(PtoError):
    """Something needs more memory than there is."""

    code, exit_code = "PTO-E0402", 8


class MissingPackageError(PtoError):
    """A package that only some commands need is not installed."""

    code, exit_code = "PTO-E0403", 9


class DownloadError(PtoError):
    """A file could not be fetched, or is not the one that was asked for. Nothing of it was kept."""

    code, exit_code = "PTO-E0404", 1


class CompilerBug(Exception):
    """Ours, not the user's: a pass broke an invariant. The message names the pass."""


@contextmanager
def located(loc: Loc | None) -> Iterator[None]:
    """Give any PtoError that leaves the block a location, unless a deeper one already did."""
    try:
        yield
    except PtoError as err:
        err.loc = err.loc or loc
        raise
