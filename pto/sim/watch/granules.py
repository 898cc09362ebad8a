"""Which access touched each byte last, compiled: exact to the byte, and as quick as the regions are regular.

A granule of 64 bytes has a list of entries: an access and a mask of bytes. Bytes that one access after another
touches as the same region form a group, which has one list for all its granules; it is taken apart when another
region cuts it. An access replaces those that it is ordered behind and that nothing can race with any more unless
it races with this one, too: a write replaces all, a read the reads of its own pipe.
"""

from __future__ import annotations

from typing import Any

from pto.sim.layout import WORD
from pto.sim.vec import called, inline, set_word, word
from pto.sim.watch.pools import entry, give_entry, give_group, group, take_entry, take_group
from pto.sim.watch.runs import any_set, set_all
from pto.sim.watch.words import (
    A_CHAIN,
    A_CLOCK,
    A_GROUP,
    A_NOW,
    A_PC,
    A_START,
    A_STOP,
    A_WRITES,
    ACCESS_AT,
    E_CHAIN,
    E_CLOCK,
    E_MASK,
    E_NEXT,
    E_PC,
    E_WRITES,
    ENTRIES_LEFT,
    G_HEAD,
    G_PIECE,
    P_COUNT,
    P_FIRST,
    P_INNER,
    P_INNER_COUNT,
    P_LENGTH,
    P_OUTER,
    PLACE_HEADS,
    PLACE_WRITTEN,
)

ACCESS, HEAD, NEXT, PIECE = WORD * ACCESS_AT, WORD * G_HEAD, WORD * E_NEXT, WORD * G_PIECE
PIECE_WORDS = 6
NO_ROOM = -1


@inline
def mask_of(low: int, high: int) -> int:
    """The bytes from `low` to `high` of one granule."""
    return -1 if high - low == 64 else ~(-1 << (high - low)) << (low & 63)


def over(action: Any) -> Any:
    """A function that acts on each granule of a region, with the bytes in it, until an action gives another than 0."""
    @called
    def run(watch: int, place: int, piece: int) -> int:
        start, length = word(piece, P_FIRST), word(piece, P_LENGTH)
        for _ in range(word(piece, P_COUNT)):
            at = start
            for _ in range(word(piece, P_INNER_COUNT)):
                low, stop = at, at + length
                while low < stop:
                    high = min(stop, (low | 63) + 1)
                    result = action(watch, place, low, high)
                    if result != 0:
                        return result
                    low = high
                at += word(piece, P_INNER)
            start += word(piece, P_OUTER)
        return 0
    return run


@inline
def head(place: int, at: int) -> int:
    """The address of the head of the granule of a byte."""
    return word(place, PLACE_HEADS) + WORD * (at >> 6)


@inline
def granules(at: int, length: int) -> int:
    """How many granules some bytes lie in."""
    return (at + length - 1 >> 6) - (at >> 6) + 1


@inline
def is_mine(watch: int, number: int) -> bool:
    """Whether an entry is of the present access."""
    e, a = entry(watch, number), watch + ACCESS
    return (word(e, E_CHAIN) == word(a, A_CHAIN) and word(e, E_CLOCK) == word(a, A_CLOCK)
            and word(e, E_WRITES) == word(a, A_WRITES))


@inline
def races(watch: int, e: int) -> bool:
    """Whether an entry that shares bytes with the present access is not ordered before it."""
    a, chain = watch + ACCESS, word(e, E_CHAIN)
    if chain == word(a, A_CHAIN) or word(e, E_CLOCK) <= word(word(a, A_NOW), chain):
        return False
    return (word(a, A_WRITES) | word(e, E_WRITES)) != 0


@inline
def is_replaced(watch: int, e: int) -> bool:
    """Whether the present access, behind which an entry is ordered, takes its place."""
    a = watch + ACCESS
    return word(a, A_WRITES) != 0 or (word(e, E_CHAIN) == word(a, A_CHAIN) and word(e, E_WRITES) == 0)


@inline
def add_entry(watch: int, link: int, mask: int) -> int:
    """Put the present access at the front of a list."""
    first = word(link, 0)
    if first != 0 and is_mine(watch, first):
        e = entry(watch, first)
        set_word(e, E_MASK, word(e, E_MASK) | mask)
        return 0
    number = take_entry(watch)
    if number == 0:
        return NO_ROOM
    e, a = entry(watch, number), watch + ACCESS
    set_word(e, E_CHAIN, word(a, A_CHAIN))
    set_word(e, E_CLOCK, word(a, A_CLOCK))
    set_word(e, E_PC, word(a, A_PC))
    set_word(e, E_WRITES, word(a, A_WRITES))
    set_word(e, E_MASK, mask)
    set_word(e, E_NEXT, first)
    set_word(link, 0, number)
    return 0


@called
def touch(watch: int, link: int, mask: int) -> int:
    """Add the present access to a list: gives the number of an entry that it races with, 0, or NO_ROOM."""
    before, number = link, word(link, 0)
    while number != 0:
        e = entry(watch, number)
        following, theirs = word(e, E_NEXT), word(e, E_MASK)
        if theirs & mask != 0:
            if races(watch, e):
                return number
            if is_replaced(watch, e):
                set_word(e, E_MASK, theirs & ~mask)
                if theirs & ~mask == 0:
                    set_word(before, 0, following)
                    give_entry(watch, number)
                    number = following
                    continue
        before, number = e + NEXT, following
    return add_entry(watch, link, mask)


@inline
def copy_entry(watch: int, link: int, source: int, mask: int) -> None:
    """Put some bytes of an entry of a group into the list of a granule."""
    s, number = entry(watch, source), word(link, 0)
    while number != 0:
        e = entry(watch, number)
        if (word(e, E_CHAIN) == word(s, E_CHAIN) and word(e, E_CLOCK) == word(s, E_CLOCK)
                and word(e, E_WRITES) == word(s, E_WRITES)):
            set_word(e, E_MASK, word(e, E_MASK) | mask)
            return
        number = word(e, E_NEXT)
    number = take_entry(watch)
    e = entry(watch, number)
    for i in (E_CHAIN, E_CLOCK, E_PC, E_WRITES):
        set_word(e, i, word(s, i))
    set_word(e, E_MASK, mask)
    set_word(e, E_NEXT, word(link, 0))
    set_word(link, 0, number)


@inline
def leave_group(watch: int, place: int, low: int, high: int) -> int:
    """Give a granule the entries of the group that is taken apart."""
    link, number = head(place, low), word(watch + ACCESS, A_GROUP)
    if word(link, 0) == -number:
        set_word(link, 0, 0)
    source = word(group(watch, number), G_HEAD)
    while source != 0:
        copy_entry(watch, link, source, mask_of(low, high))
        source = word(entry(watch, source), E_NEXT)
    return 0


leave_groups = over(leave_group)


@inline
def visits(piece: int) -> int:
    """At least as many as the granules that a walk over a region comes to."""
    return word(piece, P_COUNT) * word(piece, P_INNER_COUNT) * ((word(piece, P_LENGTH) >> 6) + 2)


@called
def take_apart(watch: int, place: int, number: int) -> int:
    """Give a group's entries to its granules; 0 or NO_ROOM."""
    g, count = group(watch, number), 0
    source = word(g, G_HEAD)
    while source != 0:
        count, source = count + 1, word(entry(watch, source), E_NEXT)
    if count * visits(g + PIECE) > word(watch, ENTRIES_LEFT):
        return NO_ROOM
    set_word(watch + ACCESS, A_GROUP, number)
    leave_groups(watch, place, g + PIECE)
    source = word(g, G_HEAD)
    while source != 0:
        following = word(entry(watch, source), E_NEXT)
        give_entry(watch, source)
        source = following
    give_group(watch, number)
    return 0


@inline
def touch_granule(watch: int, place: int, low: int, high: int) -> int:
    """One granule of an access whose region is no group."""
    link = head(place, low)
    if word(link, 0) < 0 and take_apart(watch, place, -word(link, 0)) != 0:
        return NO_ROOM
    mask = mask_of(low, high)
    result = touch(watch, link, mask)
    if result > 0:
        both = word(entry(watch, result), E_MASK) & mask
        first = low & -64
        while (both & 1) == 0:
            both, first = both >> 1, first + 1
        last = first
        while (both & 1) == 1 and last < (low | 63) + 1:
            both, last = both >> 1, last + 1
        set_word(watch + ACCESS, A_START, first)
        set_word(watch + ACCESS, A_STOP, last)
    return result


@called
def any_touched(place: int, piece: int) -> bool:
    """Whether any granule of a region has a history."""
    start, length = word(piece, P_FIRST), word(piece, P_LENGTH)
    for _ in range(word(piece, P_COUNT)):
        at = start
        for _ in range(word(piece, P_INNER_COUNT)):
            if any_set(head(place, at), granules(at, length)):
                return True
            at += word(piece, P_INNER)
        start += word(piece, P_OUTER)
    return False


@called
def found_group(place: int, piece: int, number: int) -> None:
    """Make every granule of a region, none of which has a history, part of a group."""
    start, length = word(piece, P_FIRST), word(piece, P_LENGTH)
    for _ in range(word(piece, P_COUNT)):
        at = start
        for _ in range(word(piece, P_INNER_COUNT)):
            set_all(head(place, at), granules(at, length), -number)
            at += word(piece, P_INNER)
        start += word(piece, P_OUTER)


@inline
def join_group(watch: int, place: int, low: int, high: int) -> int:
    """Make a granule part of the present group; what it had is dropped."""
    link = head(place, low)
    number = word(link, 0)
    while number > 0:
        following = word(entry(watch, number), E_NEXT)
        give_entry(watch, number)
        number = following
    set_word(link, 0, -word(watch + ACCESS, A_GROUP))
    return 0


@inline
def has_others(watch: int, place: int, low: int, high: int) -> int:
    """Whether a granule has any entry but one of the present access."""
    number = word(head(place, low), 0)
    if number <= 0:
        return 1
    return 0 if is_mine(watch, number) and word(entry(watch, number), E_NEXT) == 0 else 1


touch_granules, join_groups, any_others = map(over, (touch_granule, join_group, has_others))


@inline
def is_same(one: int, two: int) -> bool:
    """Whether two regions are given by the same words."""
    return (word(one, P_FIRST) == word(two, P_FIRST) and word(one, P_LENGTH) == word(two, P_LENGTH)
            and word(one, P_COUNT) == word(two, P_COUNT) and word(one, P_OUTER) == word(two, P_OUTER)
            and word(one, P_INNER_COUNT) == word(two, P_INNER_COUNT) and word(one, P_INNER) == word(two, P_INNER))


@called
def form_group(watch: int, place: int, piece: int, fresh: bool) -> int:
    """Make a region a group that only the present access has touched, or that is `fresh`; 0 or NO_ROOM."""
    number = take_group(watch)
    if number == 0:
        return NO_ROOM
    g = group(watch, number)
    for i in range(PIECE_WORDS):
        set_word(g + PIECE, i, word(piece, i))
    set_word(g, G_HEAD, 0)
    set_word(watch + ACCESS, A_GROUP, number)
    if fresh:
        found_group(place, piece, number)
    else:
        join_groups(watch, place, piece)
    return add_entry(watch, g + HEAD, -1)


@called
def touch_region(watch: int, place: int, piece: int) -> int:
    """The present access to a region: gives the number of an entry that it races with, 0, or NO_ROOM."""
    if word(piece, P_COUNT) == 0:
        return 0
    first = word(head(place, word(piece, P_FIRST)), 0)
    if first < 0:
        g = group(watch, -first)
        if is_same(g + PIECE, piece):
            result = touch(watch, g + HEAD, -1)
            if result > 0:
                set_word(watch + ACCESS, A_START, word(piece, P_FIRST))
                set_word(watch + ACCESS, A_STOP, word(piece, P_FIRST) + word(piece, P_LENGTH))
            return result
    elif first == 0 and not any_touched(place, piece):
        return form_group(watch, place, piece, True)
    result = touch_granules(watch, place, piece)
    if result == 0 and word(watch + ACCESS, A_WRITES) != 0 and any_others(watch, place, piece) == 0:
        result = form_group(watch, place, piece, False)
    return result


@inline
def mark_some(written: int, low: int, high: int) -> None:
    """Note that bytes of one granule have been written."""
    set_word(written, low >> 6, word(written, low >> 6) | mask_of(low, high))


@called
def mark_written(piece: int, place: int) -> None:
    """Note that a region has been written."""
    written, start, length = word(place, PLACE_WRITTEN), word(piece, P_FIRST), word(piece, P_LENGTH)
    for _ in range(word(piece, P_COUNT)):
        low, stop = start, start + length
        if low & 63:
            middle = min(stop, (low | 63) + 1)
            mark_some(written, low, middle)
            low = middle
        for granule in range(low >> 6, stop >> 6):
            set_word(written, granule, -1)
        if max(low, stop & -64) < stop:
            mark_some(written, stop & -64, stop)
        start += word(piece, P_OUTER)


@inline
def first_missing(written: int, low: int, high: int) -> int:
    """The first byte of some of one granule that nothing has written, plus 1; or 0."""
    missing = mask_of(low, high) & ~word(written, low >> 6)
    if missing == 0:
        return 0
    first = low & -64
    while (missing & 1) == 0:
        missing, first = missing >> 1, first + 1
    return first + 1


@called
def first_unwritten(piece: int, place: int) -> int:
    """The first byte of a region that nothing has written, plus 1; or 0."""
    written, start, length = word(place, PLACE_WRITTEN), word(piece, P_FIRST), word(piece, P_LENGTH)
    for _ in range(word(piece, P_COUNT)):
        low, stop = start, start + length
        while low < stop:
            if word(written, low >> 6) == -1:
                low = (low | 63) + 1
                continue
            high = min(stop, (low | 63) + 1)
            missing = first_missing(written, low, high)
            if missing != 0:
                return missing
            low = high
        start += word(piece, P_OUTER)
    return 0
