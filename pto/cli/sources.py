"""What a command is pointed at: a program file, assembly, or kernels in a Python file."""

from __future__ import annotations

import re
import runpy
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pto.core.dtypes import DTYPES, TensorType
from pto.core.errors import CompilerBug, PtoError, PtoFormatError, UsageError
from pto.isa.file import load
from pto.isa.program import Program

if TYPE_CHECKING:
    from pto.runtime.kernel import Kernel

_SPEC = re.compile(r"(\w+)=(\w+)\[([\w, ]*)\]")
argument_types = click.option(
    "--arg", "specs", multiple=True, metavar="NAME=f32[M,K]",
    help="The type of an argument that is not annotated; once for each.")


@dataclass(frozen=True, slots=True)
class Place:
    """FILE or FILE:NAME."""

    file: Path
    name: str = ""

    @property
    def is_python(self) -> bool:
        return self.file.suffix == ".py"


def place(text: str) -> Place:
    """Split FILE[:NAME].

    Raises:
        UsageError: there is no such file, or a name in a file that defines no kernels.
    """
    file, colon, name = text.rpartition(":")
    if not colon or Path(text).exists():
        file, name = text, ""
    if not Path(file).is_file():
        raise UsageError(f"there is no file {file}")
    found = Place(Path(file), name)
    if name and not found.is_python:
        raise UsageError(f"{file} has no kernels to name", hint=f"{file} is one program: leave out :{name}")
    return found


def execute(where: Place, name: str) -> dict[str, Any]:
    """Run a Python file as the module `name`; gives its globals.

    What the file raises is shown as Python would show it, from the file's own frame on; the process then ends with 1.
    """
    sys.path.insert(0, str(where.file.resolve().parent))
    try:
        return runpy.run_path(str(where.file), run_name=name)
    except (PtoError, CompilerBug, BrokenPipeError):
        raise  # the command line's to answer
    except Exception as err:
        step = err.__traceback__
        while step is not None and step.tb_frame.f_code.co_filename != str(where.file):
            step = step.tb_next
        click.echo("".join(traceback.format_exception(err.with_traceback(step))), err=True, nl=False)
        sys.exit(1)


def kernels(where: Place, specs: Sequence[str] = ()) -> dict[str, Kernel]:
    """The kernels that a Python file defines, or the named one. The file runs, but not as the main program.

    Their arguments have the types given on the command line.

    Raises:
        UsageError: it defines none, or none of that name; a type is not of the form NAME=f32[M,K], or is for no
            argument.
    """
    Kernel = import_module("pto.runtime.kernel").Kernel  # commands that compile nothing import no compiler

    if not where.is_python:
        raise UsageError(f"{where.file} is no Python file of kernels", hint=f"pto disasm {where.file} shows a program")
    mine = {name: value for name, value in execute(where, "__pto__").items() if isinstance(value, Kernel)}
    if not mine:
        raise UsageError(f"{where.file} defines no kernel", hint="decorate a function with @pt.tile_kernel")
    if where.name and where.name not in mine:
        close = get_close_matches(where.name, mine, n=1) or list(mine)[:1]
        raise UsageError(f"{where.file} has no kernel {where.name}", hint=f"did you mean {close[0]}?")
    chosen = {where.name: mine[where.name]} if where.name else mine
    _declare(chosen, specs)
    return chosen


def _declare(chosen: dict[str, Kernel], specs: Sequence[str]) -> None:
    """Give arguments their types."""
    types: dict[str, TensorType] = {}
    for spec in specs:
        found = _SPEC.fullmatch(spec.replace(" ", ""))
        if found is None or found[2] not in DTYPES:
            raise UsageError(f"{spec} is not the type of an argument", hint="write NAME=f32[M,K]")
        dims = tuple(int(d) if d.isdigit() else d for d in found[3].split(",") if d)
        known(found[1], types, "--arg")
        types[found[1]] = DTYPES[found[2]][dims]
    names = list(dict.fromkeys(n for kernel in chosen.values() for n in kernel.source.parameters))
    for name, type in types.items():
        if name not in names:
            raise UsageError(f"{', '.join(chosen)} has no argument {name}", hint=f"arguments are {', '.join(names)}")
        for kernel in chosen.values():
            if name in kernel.source.parameters:
                kernel.declare(name, type)


def known(name: str, before: Mapping[str, object], option: str) -> None:
    """Refuse what an option says twice of one name."""
    if name in before:
        raise UsageError(f"{option} {name} is given twice")


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """NAME=VALUE options as a mapping.

    Raises:
        UsageError: one is not of that form, or a name occurs twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {text} is not of the form NAME=VALUE")
        known(name, found, option)
        found[name] = value
    return found


def integers(texts: Sequence[str], option: str) -> dict[str, int]:
    """NAME=N options as a mapping.

    Raises:
        UsageError: as `pairs`, or a value is no integer.
    """
    found = pairs(texts, option)
    for name, value in found.items():
        if not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise UsageError(f"{option} {name} is an integer, not {value}")
    return {name: int(value) for name, value in found.items()}


def programs(where: Place, specs: tuple[str, ...] = ()) -> list[Program]:
    """The programs of a program file, of assembly, or of the kernels in a Python file."""
    if where.is_python:
        return [k.program() for k in kernels(where, specs).values()]
    if where.file.suffix == ".pto":
        return [load(where.file)]
    if where.file.suffix == ".graph":
        return [import_module("pto.runtime.graphs").program(read(where.file).decode("utf-8", "replace"), where.file)]
    content = read(where.file)
    if b"\0" in content:
        raise PtoFormatError(f"{where.file} is neither a program file (.pto) nor text")
    assemble = import_module("pto.isa.asm").assemble  # a parser generator: only for text
    return [assemble(content.decode("utf-8", errors="replace"), str(where.file))]


def read(file: Path) -> bytes:
    """A file's bytes.

    Raises:
        PtoFormatError: it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as err:
        raise PtoFormatError(f"{file}: {err.strerror}") from None
