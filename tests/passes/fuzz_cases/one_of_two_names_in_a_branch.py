"""A branch stores to one of two names of an array on each side."""
import pto as pt

ARGUMENTS = {'x': ('f32', 20)}
EXACT, SEED = False, 51


@pt.tile_kernel
def f(a, b):
    if a.shape[0] >= 3:
        pt.store(a, (4,), pt.load(a, (16,), (2,)))
    else:
        pt.store(b, (5,), pt.load(a, (12,), (5,)))


@pt.tile_kernel()
def k(x):
    f(x, x)
