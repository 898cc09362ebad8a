"""Convolutions as sums of matrix products over windows of the image, which are views: no columns are copied.

With stride 1 the positions of the output are counted along the whole width of the image, so that one product serves all
lines; what a line has too much at its end is never looked at. With channels last, the taps of a line and their channels
lie one after the other and are one inner axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pto.core.errors import Loc, ShapeError, located
from pto.lang import values
from pto.lang.integers import unwrap
from pto.lang.language import pinned
from pto.lang.shapes import pad
from pto.lang.views import Strided, layout

Pair = int | tuple[int, int]
LAYOUTS = ("NCHW", "NHWC")


@dataclass(frozen=True)
class _Image:
    """Where the elements of an image are, and what of it a convolution reads."""

    found: Strided
    last: bool  # channels last
    channels: int
    size: tuple[int, int]  # lines and columns of the output
    width: int  # of the image
    taps: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def strides(self) -> tuple[Any, Any, Any]:
        """Of a line, of a column and of a channel."""
        lines, columns, channel = (1, 2, 3) if self.last else (2, 3, 1)
        return self.found.strides[lines], self.found.strides[columns], self.found.strides[channel]

    @property
    def flat(self) -> bool:
        """Are the positions of the output one axis?"""
        down, across, _ = map(unwrap, self.strides)
        return self.stride == (1, 1) and isinstance(across, int) and bool(across * self.width == down)

    @property
    def joined(self) -> bool:
        """Are the taps of a line and their channels one axis?"""
        _, across, channel = map(unwrap, self.strides)
        return self.last and self.dilation[1] == 1 and bool(channel == 1) and bool(across == self.channels)

    @property
    def windows(self) -> Any:
        """Taps, images, (lines of the output,) positions and inner axis, as a view of the image."""
        (down, across, channel), (lines, columns) = self.strides, self.size
        taps = [(self.taps[0], self.dilation[0] * down)]
        inner = (self.channels * self.taps[1], channel)
        if not self.joined:
            taps, inner = [*taps, (self.taps[1], self.dilation[1] * across)], (self.channels, channel)
        places = [((lines - 1) * self.width + columns, across)] if self.flat else [
            (lines, self.stride[0] * down), (columns, self.stride[1] * across)]
        axes = [*taps, (self.found.dims[0], self.found.strides[0]), *places, inner]
        found = self.found.made([n for n, _ in axes], [step for _, step in axes], self.found.offset)
        return found if self.last else found.transpose(-2, -1)

    def weights(self, weight: Any) -> Any:
        """Taps, as many axes of extent 1 as the windows have others, and a matrix for each tap."""
        weight = weight if self.last else weight.permute(2, 3, 0, 1)
        if self.joined:
            weight = weight.contiguous().view(self.taps[0], self.taps[1] * self.channels, weight.shape[-1])
        for _ in range(1 if self.flat else 2):
            weight = weight.unsqueeze(-3)
        return weight

    def seen(self, found: Any) -> Any:
        """The sum of the products as an image."""
        if not self.flat:
            return found if self.last else found.transpose(1, 2)
        lines, columns = self.size
        made = layout(found)
        (count, a, b), (first, up, by) = made.dims, made.strides
        if self.last:
            return made.made((count, lines, columns, b), (first, up * self.width, up, by), made.offset)
        return made.made((count, a, lines, columns), (first, up, by * self.width, by), made.offset)


def conv2d(x: Any, weight: Any, bias: Any = None, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, *,
           layout: str = "NCHW") -> Any:
    """The convolution of images, as in PyTorch; the program is for their lines, columns and channels.

    Args:
        x: [n, c, h, w], or [n, h, w, c] with layout="NHWC"; the first axis may be missing.
        weight: [out, c, kh, kw], or [kh, kw, c, out] with layout="NHWC".
        bias: [out].
        stride, padding, dilation: a number, or one for lines and one for columns.

    Returns:
        [n, out, oh, ow], or [n, oh, ow, out], in the accumulator's type.

    Raises:
        ShapeError: extents do not fit.
    """
    with located(Loc.of_user()):
        if layout not in LAYOUTS:
            raise ShapeError(f"there is no layout {layout!r}", hint=f"layouts are {', '.join(LAYOUTS)}")
        x, weight = values.lifted(x), values.lifted(weight)
        if not (isinstance(x, values.Tensor) and x.ndim in (3, 4) and isinstance(weight, values.Tensor)
                and weight.ndim == 4):
            raise ShapeError("conv2d takes images of three or four axes and weights of four")
        for image_axis in range(-3, 0):
            pinned(x, image_axis)
    alone, last = x.ndim == 3, layout == "NHWC"
    image = _image(x.unsqueeze(0) if alone else x, weight, last, _pair(stride), _pair(padding), _pair(dilation))
    a, b = image.windows, image.weights(weight)
    found = values.product(*((a, b) if last else (b, a)), over=1 if image.joined else 2)
    if bias is not None:
        found = found + (bias if last else values.lifted(bias).unsqueeze(-1))
    seen = image.seen(found)
    return seen.squeeze(0) if alone else seen


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _image(x: Any, weight: Any, last: bool, stride: tuple[int, int], padding: tuple[int, int],
           dilation: tuple[int, int]) -> _Image:
    """What a convolution reads, padded."""
    lines, columns = (1, 2) if last else (2, 3)
    if padding != (0, 0):
        pairs = [(0, 0)] * 4
        pairs[lines], pairs[columns] = (padding[0],) * 2, (padding[1],) * 2
        x = pad(x, pairs)
    taps = (pinned(weight, 0), pinned(weight, 1)) if last else (pinned(weight, 2), pinned(weight, 3))
    channels, others = pinned(x, 3 if last else 1), pinned(weight, 2 if last else 1)
    if channels != others:
        raise ShapeError(f"the images have {channels} channels, the weights {others}", loc=Loc.of_user())
    height, width = pinned(x, lines), pinned(x, columns)
    size = tuple((n - d * (k - 1) - 1) // s + 1
                 for n, k, s, d in zip((height, width), taps, stride, dilation, strict=True))
    if min(size) < 1:
        raise ShapeError(f"{taps[0]} x {taps[1]} taps are more than an image of {height} x {width}", loc=Loc.of_user())
    return _Image(layout(x), last, channels, (size[0], size[1]), width, taps, stride, dilation)
