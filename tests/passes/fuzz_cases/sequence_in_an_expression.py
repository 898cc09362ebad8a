import pto as pt

ARGUMENTS = {'x': ('f32', 9, 17)}
EXACT, SEED = True, 6


@pt.tile_kernel
def k(x: pt.f32[9, 17]):
    return x + pt.arange(8, 42, 2)
