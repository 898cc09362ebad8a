import pto as pt

ARGUMENTS = {'a': ('f32', 5, 5), 'b': ('f32', 5, 5), 'c': ('f32', 5, 5), 'd': ('f32', 5, 5), 'e': ('f32', 5, 5),
             'f': ('f32', 5, 5), 'g': ('f32', 5, 5), 'h': ('f32', 5, 5), 'i': ('f32', 5, 5)}
EXACT, SEED = False, 3


@pt.tile_kernel(tile_m=2, tile_n=4, tile_k=4)
def k(a, b, c, d, e, f, g, h, i):
    one = pt.matmul(a, a.T) + pt.matmul(b, b.T) + pt.matmul(c, c.T) + pt.matmul(d, d.T) + pt.matmul(e, e.T)
    two = pt.matmul(f, f.T) + pt.matmul(g, g.T) + pt.matmul(h, h.T) + pt.matmul(i, i.T)
    return one + two
