"""Of two nests over the same extents neither orders anything for the other where they have one tile each."""
import pto as pt

ARGUMENTS = {'x2': ('f32', 1), 'x5': ('f32', 1, 1, 1), 'x6': ('f32', 1, 1, 1), 'x7': ('f32', 1, 1, 1), 'n8': 0}
EXACT, SEED = False, 15899


@pt.tile_kernel()
def k(x2, x5: pt.f32[1, 1, 1], x6: pt.f32[1, 1, 1], x7: pt.f32[1, 1, 1], n8: pt.index):
    v3 = x2 * 2.0
    v4 = x2 - 1
    v9 = pt.attention(x5, x6, x7, tile_m=1, tile_n=1, causal=True, start=n8)
    return (v9, v3, v4)
