"""Extents of tiles that an author computes from what is compiled: `@pt.tile_optimizer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pto.core.dtypes import DType
from pto.core.errors import Loc, UsageError
from pto.core.target import Target

DIRECTIONS = ("tile_m", "tile_n", "tile_k")  # how whole-tensor expressions are cut


@dataclass(frozen=True, slots=True)
class TileConfig:
    """What a tile optimizer is told.

    Attributes:
        hardware: name of the target, as "AI_Accelerator_V1".
        cores: of the target.
        memory: bytes of each memory of a core, by name: "ub", "l1", "l0a", "l0b", "l0c".
        kernel: name of the kernel.
        shapes: extents of each argument in the call that it is compiled for.
        dtypes: element type of each argument.
        options: the options of the kernel.
    """

    hardware: str
    cores: int
    memory: Mapping[str, int]
    kernel: str
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, DType]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class TileOptimizer:
    """A function that gives extents of tiles. Put it on a kernel, above `@pt.tile_kernel`, or give it as `tiles=`."""

    function: Callable[[TileConfig], Mapping[str, int]]

    def __call__(self, subject: Any) -> Any:
        """Of a kernel: the kernel with these tiles; of a `TileConfig`: the extents.

        Raises:
            UsageError: it is neither, or the function gives no extents.
        """
        if isinstance(subject, TileConfig):
            return self.tiles(subject)
        if not hasattr(subject, "with_tiles"):
            raise UsageError(f"a tile optimizer is for a kernel, not for a {type(subject).__name__}",
                             loc=Loc.of_user(), hint="put it above @pt.tile_kernel")
        return subject.with_tiles(self)

    def tiles(self, config: TileConfig) -> dict[str, int]:
        """The extents for a configuration.

        Raises:
            UsageError: the function gives something else than positive integers by name.
        """
        found, code = self.function(config), self.function.__code__
        loc = Loc(code.co_filename, code.co_firstlineno, 0, 0)
        hint = 'return {"tile_m": 128, "tile_n": 128, "tile_k": 32}, or some of these and other options of the kernel'
        if not isinstance(found, Mapping):
            raise UsageError(f"{self.function.__name__} returns a {type(found).__name__}, not a dict of extents",
                             loc=loc, hint=hint)
        for name, value in found.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"{self.function.__name__} gives {name} = {value!r}, not a positive integer",
                                 loc=loc, hint=hint)
            if name not in DIRECTIONS and name not in config.options:
                raise UsageError(f"{self.function.__name__} gives {name}, which is no option of {config.kernel}",
                                 loc=loc, hint=hint)
        return dict(found)


def tile_optimizer(function: Callable[[TileConfig], Mapping[str, int]]) -> TileOptimizer:
    """Make a function of a `TileConfig` one that directs the tiles of kernels: it is asked when one is compiled."""
    return TileOptimizer(function)


def config_of(target: Target, kernel: str, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, DType],
              options: Mapping[str, Any]) -> TileConfig:
    """What an optimizer is told of a call."""
    memory = {space.value: size for space, size in target.capacity}
    return TileConfig(target.name, target.cores, memory, kernel, shapes, dtypes, options)
