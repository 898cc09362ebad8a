import pto as pt

ARGUMENTS = {'n': 1, 'x': ('f32', 1, 1)}
EXACT, SEED = True, 32


@pt.tile_kernel
def k(n: pt.index, x):
    v = x
    for i in pt.range(n):
        if i == 1:
            break
        v = v + v
    return v
