import pto as pt

ARGUMENTS = {'x1': ('f32', 5), 'x3': ('f32', 1, 16, 8), 'x4': ('f32', 1, 3, 8), 'x5': ('f32', 1, 3, 8), 'n6': 0}
EXACT, SEED = False, 127


@pt.tile_kernel(tile_m=4, tile_n=2, tile_k=4)
def k(x1: pt.f32[5], x3: pt.f32[1, 16, 8], x4: pt.f32[1, 3, 8], x5: pt.f32[1, 3, 8], n6: pt.index):
    v2 = x1.view(5)
    v7 = pt.attention(x3, x4, x5, tile_m=8, tile_n=8, causal=True, start=n6)
    return v7, v2
