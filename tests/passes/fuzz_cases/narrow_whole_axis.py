import pto as pt

ARGUMENTS = {'x': ('f32', 3, 2)}
EXACT, SEED = True, 64


@pt.tile_kernel
def k(x: pt.f32[3, 2]):
    v = x.narrow(0, 0, 3)
    return v
