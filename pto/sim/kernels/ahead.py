"""Weights that are streamed, asked for before they are read.

They lie in one piece, and the host guesses what comes next; but some hosts stay too close to what is read, where memory
is slow to answer: 20 lines ahead is half of what memory could give. There a stream asks itself.
"""

from __future__ import annotations

from pto.sim.formats import asks_far_ahead
from pto.sim.vec import inline, prefetch

LINE = 64  # bytes that the host fetches together
FAR = 16384 if asks_far_ahead() else 0  # bytes ahead of what is read


@inline
def ask_far(w: int, nbytes: int) -> None:
    """Ask for what comes some time after so many bytes of a stream, where the host does not."""
    if FAR:
        for at in range(FAR, FAR + nbytes, LINE):
            prefetch(w + at)
