import pto as pt

ARGUMENTS = {'a': ('f32', 9, 9), 'b': ('f32', 9, 9), 'c': ('f32', 9, 9), 'd': ('f32', 9, 9), 'e': ('f32', 9, 9),
             'f': ('f32', 9, 9), 'g': ('f32', 9, 9), 'h': ('f32', 9, 9), 'i': ('f32', 9, 9)}
EXACT, SEED = False, 1


@pt.tile_kernel(tile_m=2, tile_n=4, tile_k=4)
def k(a, b, c, d, e, f, g, h, i):
    one = pt.softmax(a) + pt.softmax(b) + pt.softmax(c) + pt.softmax(d) + pt.softmax(e)
    two = pt.softmax(f) + pt.softmax(g) + pt.softmax(h) + pt.softmax(i)
    return one + two
