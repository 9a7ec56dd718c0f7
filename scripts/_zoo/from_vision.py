"""Networks of timm and torchvision, with random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .model import Inputs, ZooModel, clips, images

# Name, size of the picture.
_TIMM = (
    ("resnet10t", 64), ("lcnet_035", 64), ("mobilenetv3_small_050", 64), ("ghostnet_050", 64), ("regnetx_002", 64),
    ("tinynet_e", 64), ("semnasnet_050", 64), ("mobilenetv4_conv_small_035", 64), ("repghostnet_050", 64),
    ("hardcorenas_a", 64), ("mobileone_s0", 64), ("repvgg_a0", 64), ("convnext_atto", 64), ("edgenext_xx_small", 64),
    ("mobilevit_xxs", 64), ("mobilevitv2_050", 64), ("efficientvit_b0", 64), ("efficientvit_m0", 224),
    ("efficientformerv2_s0", 224), ("fastvit_t8", 64), ("starnet_s1", 64), ("levit_128s", 224), ("pit_ti_224", 224),
    ("xcit_nano_12_p16_224", 224), ("vit_tiny_patch16_224", 224), ("rexnet_100", 64), ("dla46x_c", 64),
    ("skresnet18", 64), ("ese_vovnet19b_slim_dw", 64), ("res2net50_14w_8s", 64), ("efficientnet_lite0", 64),
    ("mixnet_s", 64), ("resnest14d", 64), ("coat_lite_tiny", 224), ("maxvit_pico_rw_256", 256), ("botnet26t_256", 256),
    ("halonet26t", 256), ("gcresnet33ts", 64), ("eca_nfnet_l0", 64), ("cs3darknet_s", 64),
)  # fmt: skip
# Part of torchvision.models, name, inputs.
_CLASSES = (
    "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "resnet18",
    "regnet_y_400mf", "efficientnet_b0", "googlenet", "densenet121", "inception_v3",
)  # fmt: skip
# With the names of their inputs.
_SEGMENTS = (("lraspp_mobilenet_v3_large", "input"), ("deeplabv3_mobilenet_v3_large", "x"))
_VIDEOS = (("r3d_18", 8), ("mc3_18", 8), ("r2plus1d_18", 8))
# Detectors, and size of the picture. What comes after the heads needs operators that are missing here.
_DETECTORS = (
    ("ssdlite320_mobilenet_v3_large", 320), ("retinanet_resnet50_fpn", 96), ("fcos_resnet50_fpn", 96),
    ("fasterrcnn_mobilenet_v3_large_320_fpn", 128),
)  # fmt: skip


def models() -> Iterator[ZooModel]:
    """timm, then torchvision."""
    for name, size in _TIMM:
        yield ZooModel(name=name, library="timm", build=_timm(name), inputs=images(size, "x"))
    for name in _CLASSES:
        yield _torchvision(name, "", images(96 if name == "inception_v3" else 64, "x"))
    for name, given in _SEGMENTS:
        yield _torchvision(name, "segmentation", images(64, given))
    for name, frames in _VIDEOS:
        yield _torchvision(name, "video", clips(frames, 32, "x"))
    for name, size in _DETECTORS:
        yield _torchvision(name, "detection", images(size, "images"))


def _timm(name: str) -> Callable[[], Any]:
    def build() -> Any:
        import timm

        return timm.create_model(name, pretrained=False, num_classes=50)

    return build


def _torchvision(name: str, part: str, inputs: Inputs) -> ZooModel:
    def build() -> Any:
        from torchvision import models

        room = getattr(models, part) if part else models
        settings: dict[str, Any] = {"weights": None}
        if part in ("segmentation", "detection"):
            settings["weights_backbone"] = None
        if name in ("googlenet", "inception_v3"):
            settings |= {"aux_logits": False, "init_weights": False}
        made = getattr(room, name)(**settings)
        return _heads(made) if part == "detection" else made

    return ZooModel(name=f"torchvision-{name}", library="torchvision", build=build, inputs=inputs)


def _heads(detector: Any) -> Any:
    """What a detector computes before boxes are chosen; of a Faster R-CNN, before they are proposed."""
    import torch

    class Heads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = detector.backbone
            self.head = detector.head if hasattr(detector, "head") else detector.rpn.head

        def forward(self, images: Any) -> Any:
            return self.head(list(self.backbone(images).values()))

    return Heads()
