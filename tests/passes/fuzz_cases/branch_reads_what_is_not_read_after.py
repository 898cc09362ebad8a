import pto as pt

ARGUMENTS = {'x': ('f32', 5), 'n': 4}
EXACT, SEED = True, 41


@pt.tile_kernel
def k(x, n: pt.index):
    v = x * 2.0
    if n < 3:
        v = x + x
    else:
        v = v + x
    return x + 1.0
