"""The engine of checked runs."""

from __future__ import annotations

from pto.sim.engine import Watch, crew
from pto.sim.kernels.registry import FUNCTIONS
from pto.sim.names import WATCHED
from pto.sim.watch.clocks import arrived, event_set, event_taken, flag_set, flag_wait, left, pipes_drained
from pto.sim.watch.regions import tile_checked

FUNCTIONS[WATCHED] = crew(
    Watch(tile_checked, flag_set, flag_wait, event_set, event_taken, pipes_drained, arrived, left)
)
