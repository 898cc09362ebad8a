import pto as pt

ARGUMENTS = {'x': (('s32', 5), 4), 'y': ('f32', 5, 3), 'z': ('f32', 2, 4, 3)}
EXACT, SEED = True, 2


@pt.tile_kernel
def k(x, y, z):
    return pt.embedding(x, y) + z
