"""Memory asked for before it is read: weights that are streamed, and rows of windows.

A stream lies in one piece, and the host guesses what comes next; but some hosts stay too close to what is read, where
memory is slow to answer: 20 lines ahead is half of what memory could give. Rows of a window are short pieces of many
pages, each of which these hosts find anew. There programs ask themselves.
"""

from __future__ import annotations

from pto.sim.loader import host
from pto.sim.vec import inline, prefetch

LINE = 64  # bytes that the host fetches together
# Bytes ahead of what is read of a stream, and of what is copied of a window.
FAR, WINDOW = (16384, 4096) if host().asks_far_ahead else (0, 0)
MOST = 1024  # bytes of a row: longer ones the host sees coming


@inline
def ask_far(w: int, nbytes: int) -> None:
    """Ask for what comes some time after so many bytes of a stream, where the host does not."""
    if FAR:
        for at in range(FAR, FAR + nbytes, LINE):
            prefetch(w + at)


@inline
def rows_ahead(rows: int, nbytes: int, pitch: int) -> int:
    """How many rows ahead of a copy of a window's rows to ask; 0 where the host does better, as with one piece."""
    return min(WINDOW // max(nbytes, 1), rows) if nbytes <= MOST and pitch != nbytes else 0


@inline
def ask_row(s: int, pitch: int, row: int, rows: int, nbytes: int) -> None:
    """Ask for a row of a window; of those past its end, for a row of the window beside it, which mostly comes next."""
    at = s + row * pitch if row < rows else s + (row - rows) * pitch + nbytes
    for line in range(0, nbytes, LINE):
        prefetch(at + line)
