import pto as pt

ARGUMENTS = {'x': ('f32', 1), 'n': 0}
EXACT, SEED = False, 429


@pt.tile_kernel
def k(x, n: pt.index):
    v = x
    if n < 1:
        v = pt.softmax(x)
    else:
        v = pt.softmax(x)
    return v
