"""What the integers of a peer stand for, where no runtime opens what it writes: a plain directory, and what they take.

The floats are judged in torch. The size is counted: integers, a float32 scale a block and a zero point a block where
there is one, as in the file of onnxruntime-genai's builder; what was not rounded in float32; a tied table once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

COUNTED = "counted.json"
_ROUNDED = 0.7  # of 4 bits to the nearest it is 0.1, of GPTQ more, of weights by chance 1


def save(rounded: Any, model: str, out: str, bits: int, block: int, symmetric: bool) -> None:
    """Write the floats of a rounded network, its head's as its table, and its size in MB.

    What a layer computes of the unit vectors is its matrix, with whatever factors of its input the peer left before it.

    Raises:
        ValueError: no layer was rounded, a matrix is not what the model's was rounded to, or the floats do not compute
            what the peer's own object does.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    bytes_of, changed = 0.0, 0
    for name, layer in plain.named_modules():
        if not isinstance(layer, torch.nn.Linear):
            continue
        floats = _matrix(rounded.get_submodule(name), layer)
        _check_near(name, floats, layer.weight)
        changed += int(not torch.equal(floats, layer.weight))
        blocks = layer.out_features * -(-layer.in_features // block)
        bytes_of += layer.weight.numel() * bits / 8 + blocks * (4 + (0 if symmetric else bits / 8))
        layer.weight.data.copy_(floats)
    if not changed:
        raise ValueError("no layer was rounded")
    _check_same(rounded, plain)
    matrices = {id(layer.weight) for layer in plain.modules() if isinstance(layer, torch.nn.Linear)}
    bytes_of += sum(4 * each.numel() for each in plain.parameters() if id(each) not in matrices)
    plain.save_pretrained(out)
    AutoTokenizer.from_pretrained(model).save_pretrained(out)
    said = {"mb": round(bytes_of / 1e6, 2), "counted": True, "layers": changed}
    (Path(out) / COUNTED).write_text(json.dumps(said))


@torch.inference_mode()
def _check_near(name: str, floats: torch.Tensor, before: torch.Tensor) -> None:
    """A layer that a library could not read has new weights by chance, and only a line in the log says so."""
    if (apart := float((floats - before).norm() / before.norm())) > _ROUNDED:
        raise ValueError(f"{name} is {apart:.2g} of its own norm from the model's: it was read wrongly")


@torch.inference_mode()
def _check_same(rounded: Any, plain: Any) -> None:
    """The peer's own object says the same of a few words, its table in the place of which the head's is judged."""
    words = torch.arange(64)[None]
    table = {"inputs_embeds": plain.get_input_embeddings()(words)}
    found, written = (each(**table, use_cache=False).logits.float() for each in (rounded, plain))
    if (apart := float((found - written).abs().max() / found.abs().max())) > 1e-3:
        raise ValueError(f"the floats' logits are {apart:.2g} of the largest from those of the peer's own object")


@torch.inference_mode()
def _matrix(layer: Any, plain: torch.nn.Linear) -> torch.Tensor:
    found: torch.Tensor = layer(torch.eye(plain.in_features)).float()
    return (found - plain.bias if plain.bias is not None else found).T.clone()
