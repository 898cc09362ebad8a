import pto as pt

ARGUMENTS = {'a': ('f32', 9, 9), 'b': ('f32', 9, 9), 'c': ('f32', 9, 9), 'd': ('f32', 9, 9), 'e': ('f32', 9, 9),
             'f': ('f32', 9, 9), 'g': ('f32', 9, 9), 'h': ('f32', 9, 9), 'i': ('f32', 9, 9)}
EXACT, SEED = True, 2


@pt.tile_kernel(tile_m=2, tile_n=4, tile_k=4)
def k(a, b, c, d, e, f, g, h, i):
    one = pt.sum(a, keepdims=True) + pt.sum(b, keepdims=True) + pt.sum(c, keepdims=True)
    two = pt.sum(d, keepdims=True) + pt.sum(e, keepdims=True) + pt.sum(f, keepdims=True)
    return one + two + pt.sum(g, keepdims=True) + pt.sum(h, keepdims=True) + pt.sum(i, keepdims=True)
