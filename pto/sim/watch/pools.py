"""Pools of the watch, compiled: what is taken from a free list and given back to it."""

from __future__ import annotations

from typing import Any

from pto.sim.layout import WORD
from pto.sim.vec import inline, set_word, word
from pto.sim.watch.words import (
    CLOCKS,
    E_NEXT,
    E_WORDS,
    ENTRIES,
    ENTRIES_FREE,
    ENTRIES_LEFT,
    G_NEXT,
    G_WORDS,
    GROUPS,
    GROUPS_FREE,
    GROUPS_LEFT,
    N_CLOCK,
    N_NEXT,
    NODES,
    NODES_FREE,
    NODES_LEFT,
)


@inline
def entry(watch: int, number: int) -> int:
    """The address of an entry."""
    return word(watch, ENTRIES) + WORD * E_WORDS * number


@inline
def group(watch: int, number: int) -> int:
    """The address of a group."""
    return word(watch, GROUPS) + WORD * G_WORDS * number


@inline
def node(watch: int, number: int) -> int:
    """The address of a node."""
    return word(watch, NODES) + WORD * (N_CLOCK + word(watch, CLOCKS)) * number


def pool(item: Any, first: int, left: int, link: int) -> tuple[Any, Any]:
    """Functions that take an item (0: none is left) and give one back."""

    @inline
    def take(watch: int) -> int:
        number = word(watch, first)
        if number != 0:
            set_word(watch, first, word(item(watch, number), link))
            set_word(watch, left, word(watch, left) - 1)
        return number

    @inline
    def give(watch: int, number: int) -> None:
        set_word(item(watch, number), link, word(watch, first))
        set_word(watch, first, number)
        set_word(watch, left, word(watch, left) + 1)
    return take, give


take_entry, give_entry = pool(entry, ENTRIES_FREE, ENTRIES_LEFT, E_NEXT)
take_group, give_group = pool(group, GROUPS_FREE, GROUPS_LEFT, G_NEXT)
take_node, give_node = pool(node, NODES_FREE, NODES_LEFT, N_NEXT)
