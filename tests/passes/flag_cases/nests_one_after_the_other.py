import pto as pt

ARGUMENTS = {'x': ('f32', 3, 7), 'y': ('f32', 3, 7), 'z': ('f32', 3, 7), 'n': 1}
EXACT, SEED = True, 100429


@pt.tile_kernel(tile_m=2, tile_n=4)
def k(x, y, z, n: pt.index):
    a = pt.maximum(pt.sum(x, keepdims=True) + y, pt.sum(y, keepdims=True) + z)
    b = pt.maximum(pt.sum(a, keepdims=True) + x, pt.sum(z, keepdims=True) + a)
    c = -y
    for i in pt.range(n):
        c, b = b, pt.minimum(c, pt.sum(z, keepdims=True)) * 2.0
    return b
