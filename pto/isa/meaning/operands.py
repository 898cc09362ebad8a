"""What a meaning is given: the regions and numbers that an instruction names."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


class Operands(SimpleNamespace):
    """One attribute for each operand of the row, and three more.

    A tile or tensor that is read is an array of its region (columns of a PANEL tile extend to whole
    panels), an INDEX an int, a SCALAR a float. `shape` and `dtype` describe the region of the
    destination, `exact` is the numeric mode.
    """


Meaning = Callable[[Operands], Array]
