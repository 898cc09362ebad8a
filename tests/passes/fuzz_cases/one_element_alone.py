"""A tensor without axes, at every level."""
import pto as pt

ARGUMENTS = {'x1': ('f32', 4, 4)}
EXACT, SEED = True, 162


@pt.tile_kernel()
def k(x1):
    x1[2, 3] += 4.0
