"""Bytes of images as a network's input: what `[preprocess]` of a recipe means, as a torch module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...calibration.images import scaled_size

CHANNELS = (1, 3)
# Keys' cubic kernel: torch and OpenCV have a = -0.75 both.


class Preprocess(nn.Module):
    """Images in bytes as one input of a network; other inputs pass as they are.

    The order of steps is the one that was measured to be fastest on onnxruntime and OpenVINO: bytes are moved before
    they are widened, and a plane is resized at a time. `docs/vision.md` has the figures.

    Args:
        name: the input that takes the image.
        image: height and width of the images.
        network: height and width that the network takes.
        channels_last: the images are NHWC.
        network_last: the network takes NHWC.
        flip: the network wants the channels in the other order.
        resize: `stretch`, `letterbox` or `crop`; of no effect where the sizes are equal.
        interpolation: `bilinear`, `bicubic` or `nearest`.
        fill: around a letterboxed image, 0..255.
        factor, offset: of each channel in the network's order, or one for all: the result is `x * factor + offset`.
    """

    factor: Tensor
    offset: Tensor
    order: Tensor

    def __init__(
        self,
        *,
        name: str,
        image: tuple[int, int],
        network: tuple[int, int],
        channels_last: bool,
        network_last: bool,
        flip: bool,
        resize: str,
        interpolation: str,
        fill: int,
        factor: Sequence[float],
        offset: Sequence[float],
    ) -> None:
        super().__init__()
        self.name, self.image, self.network = name, image, network
        self.channels_last, self.network_last, self.flip = channels_last, network_last, flip
        self.resize, self.interpolation, self.fill = resize, interpolation, float(fill)
        for buffer, values in (("factor", factor), ("offset", offset)):
            self.register_buffer(buffer, torch.tensor(list(values), dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("order", torch.tensor([2, 1, 0]))

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """The inputs, in which the image is what the network takes: float32."""
        return {**inputs, self.name: self.prepared(inputs[self.name])}

    def prepared(self, image: Tensor) -> Tensor:
        """[N, H, W, C] or [N, C, H, W] uint8 as the network's float32."""
        planes = image.permute(0, 3, 1, 2) if self.channels_last else image
        if self.flip:
            planes = planes.index_select(1, self.order)
        result = self.fitted(planes.float()) * self.factor + self.offset
        return result.permute(0, 2, 3, 1) if self.network_last else result

    def fitted(self, planes: Tensor) -> Tensor:
        """[N, C, H, W] in the network's size."""
        if self.image == self.network:
            return planes
        (height, width), scaled = self.network, scaled_size(self.image, self.network, self.resize)
        planes = self._resized(planes, scaled)
        top, left = abs(height - scaled[0]) // 2, abs(width - scaled[1]) // 2
        if self.resize == "letterbox":
            margins = (left, width - scaled[1] - left, top, height - scaled[0] - top)
            return functional.pad(planes, margins, value=self.fill) if any(margins) else planes
        return planes[:, :, top : top + height, left : left + width] if self.resize == "crop" else planes

    def _resized(self, planes: Tensor, size: tuple[int, int]) -> Tensor:
        if size == self.image:
            return planes
        if self.interpolation == "nearest":
            return functional.interpolate(planes, size=size, mode="nearest")
        resized = functional.interpolate(planes, size=size, mode=self.interpolation, align_corners=False)
        # A cubic overshoots at edges, where bytes end.
        return resized.clamp(0, 255) if self.interpolation == "bicubic" else resized

    def extra_repr(self) -> str:
        """What decides it beside the buffers."""
        names = ("name", "image", "network", "channels_last", "network_last", "flip", "resize", "interpolation", "fill")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)
