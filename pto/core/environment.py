"""Environment variables that are looked at often."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

_VALUES = getattr(os.environ, "_data", None)  # what `os.environ` looks in; that tells by two exceptions what is not set


@cache
def _key(name: str) -> Any:
    return os.environ.encodekey(name)


def is_set(name: str) -> bool:
    """Is there an environment variable, perhaps? Where Python does not let us look there may be."""
    return _VALUES is None or _key(name) in _VALUES
