"""`pto run`: a Python script of kernels, or a compiled program on arrays."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
from click.core import ParameterSource
from numpy.typing import NDArray

from pto.cli.sources import Place, execute, integers, pairs, place, programs
from pto.core.errors import PtoFormatError, UsageError
from pto.isa.program import Program
from pto.runtime.launch import run_program
from pto.sim.watch.state import chosen

OF_SCRIPTS = ("dump", "check")  # options that mean something for a script, too


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True})
@click.argument("file")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--arg", "arrays", multiple=True, metavar="NAME=FILE.npy", help="An array for a tensor of a program.")
@click.option("--arrays", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER",
              help="Take the other tensors that the program reads from NAME.npy in this folder.")
@click.option("--param", "parameters", multiple=True, metavar="NAME=N", help="A parameter that no array tells.")
@click.option("--out", "outputs", multiple=True, metavar="NAME=FILE.npy", help="Where to write a result.")
@click.option("--cores", default=1, show_default=True, help="Virtual cores of a program run.")
@click.option("--threads", default=1, show_default=True, help="Host threads of a program run.")
@click.option("--exact", is_flag=True, help="Reductions as left folds, bit for bit as the manual says.")
@click.option("--dump", type=click.Path(path_type=Path), help="Write every level of each kernel to this directory.")
@click.option("--fuel", type=click.IntRange(min=1), help="Stop a program after this much work.")
@click.option("--check", default="", metavar="NAMES", help="Look for races, uninitialised, or all: joined by commas.")
def command(file: str, arguments: tuple[str, ...], arrays: tuple[str, ...], parameters: tuple[str, ...],
            outputs: tuple[str, ...], cores: int, threads: int, exact: bool, dump: Path | None,
            fuel: int | None, check: str, folder: Path | None) -> None:
    """Run a Python script of kernels, or a compiled program on arrays.

    FILE.py runs as Python would run it, and gets the ARGUMENTS. FILE.pto (or assembly, FILE.ptoas, or a graph of any
    level, FILE.graph) takes its tensors from .npy files; what it writes is printed, or saved with --out.

    \b
    Examples:
      pto run examples/03_matmul.py
      pto run --check all examples/03_matmul.py
      pto run matmul.pto --arg A=a.npy --arg B=b.npy --out result2=c.npy
    """
    where = place(file)
    if dump is not None:
        if dump.exists() and not dump.is_dir():
            raise UsageError(f"{dump} is no folder", hint="--dump takes a folder, which it makes where there is none")
        os.environ["PTO_DUMP_DIR"] = str(dump)
    if where.is_python:
        if check:
            chosen(check)
            os.environ["PTO_CHECK"] = check
        return _script(where, arguments)
    if arguments:
        raise UsageError(f"{arguments[0]} means nothing to a program", hint="see pto run --help")
    [program] = programs(where)
    targets = {name: Path(path) for name, path in pairs(outputs, "--out").items()}
    _writable(program, targets)
    given = {name: _load(path) for name, path in pairs(arrays, "--arg").items()}
    given |= _beside(program, given, folder)
    results, stats = run_program(program, given, integers(parameters, "--param"), cores=cores, threads=threads,
                                 exact=exact, fuel=fuel, check=check)
    for name, array in results.items():
        if name in targets:
            _save(targets[name], array)
        else:
            click.echo(f"{name}: {array.dtype} {'x'.join(map(str, array.shape))}\n{array}")
    click.echo(f"{stats.tile:,} tile and {stats.scalar:,} scalar instructions", err=True)
    return None


def _script(where: Place, arguments: tuple[str, ...]) -> None:
    """As `python FILE` does: the file's folder comes first on the path, and the file is the main program."""
    if where.name:
        raise UsageError(f"a script runs as a whole, not {where.name} alone",
                         hint=f"pto run {where.file}; pto disasm {where.file}:{where.name} shows one kernel")
    context = click.get_current_context()
    for option in (o for o in context.command.params if isinstance(o, click.Option)):
        typed = context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
        if typed and option.name not in OF_SCRIPTS:
            raise UsageError(f"{option.opts[0]} is for program files; a script launches its kernels itself",
                             hint=f"options of the script follow --: pto run {where.file} -- {option.opts[0]} ...")
    sys.argv = [str(where.file), *arguments]
    execute(where, "__main__")


def _writable(program: Program, targets: Mapping[str, Path]) -> None:
    """Results that are to be saved exist, and so do their folders: known before anything runs.

    Raises:
        UsageError: not so.
    """
    written = [d.name for d in program.tensors if d.written and not d.scratch]
    for name, path in targets.items():
        if name not in written:
            raise UsageError(f"the program does not write {name}", hint=f"it writes {', '.join(written)}")
        if path.is_dir() or not path.parent.is_dir():
            raise UsageError(f"cannot write {path}", hint="--out takes a file in a folder that exists")


def _beside(program: Program, given: Mapping[str, object], folder: Path | None) -> dict[str, NDArray[np.generic]]:
    """The arrays of a folder that a program reads and that were not given by themselves."""
    if folder is None:
        return {}
    files = {d.name: folder / f"{d.name}.npy" for d in program.tensors if d.read and not d.scratch}
    return {name: _load(str(file)) for name, file in files.items() if name not in given and file.is_file()}


def _save(path: Path, array: NDArray[np.generic]) -> None:
    try:
        with open(path, "wb") as file:
            np.save(file, array, allow_pickle=False)
    except OSError as err:
        raise UsageError(f"cannot write {path}: {err.strerror}") from None


def _load(path: str) -> NDArray[np.generic]:
    try:
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise ValueError("it holds several arrays")
        return found
    except (OSError, ValueError, EOFError) as err:
        raise PtoFormatError(f"{path} is not a .npy array: {err}") from None
