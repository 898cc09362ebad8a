"""As masked_keys_then_only_seen_ones, from a position on and with other tiles."""
import pto as pt

ARGUMENTS = {'x1': ('f32', 4, 17, 8), 'x2': ('f32', 2, 8, 8), 'x3': ('f32', 2, 8, 8), 'n4': 1}
EXACT, SEED = False, 4331


@pt.tile_kernel(tile_m=5, tile_n=8, tile_k=3)
def k(x1: pt.f32[4, 17, 8], x2: pt.f32[2, 8, 8], x3: pt.f32[2, 8, 8], n4: pt.index):
    return pt.attention(x1, x2, x3, tile_m=8, tile_n=4, causal=True, start=n4)
