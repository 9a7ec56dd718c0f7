"""The models of the benchmark: each as one FP32 `.onnx` file and one `.npz` with a pool of calibration samples."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.exporter.capture.capture import capture
from edgepress.exporter.capture.onnx_to_opset import converted
from edgepress.exporter.graphs.files import write_model
from edgepress.exporter.sources import Source, load_source, source_from_object

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("EDGEPRESS_BENCH", ROOT / ".bench"))
OPSET = 20
BATCH = 16
TOKENS = 32
Samples = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model of the benchmark.

    Attributes:
        samples: the pool to draw calibration samples from, samples first; none of them is held out.
        transformer: what NNCF's `model_type` is told.
        trained: it has held-out data, so that its accuracy can be judged.
        batch: samples that go through the model at once.
    """

    name: str
    source: Callable[[], Source]
    samples: Callable[[], Samples]
    transformer: bool = False
    trained: bool = True
    batch: int = BATCH

    @property
    def onnx(self) -> Path:
        return HOME / "models" / self.name / "model.onnx"

    @property
    def pool(self) -> Path:
        return HOME / "models" / self.name / "samples.npz"

    def prepare(self) -> None:
        """Write both files, unless they are there; of an ONNX file without what edgepress writes otherwise in it."""
        if self.pool.exists():
            return
        self.onnx.parent.mkdir(parents=True, exist_ok=True)
        source = self.source()
        if source.onnx is None:
            capture(source, OPSET, self.onnx, {})
        else:
            write_model(converted(source.onnx, OPSET), self.onnx)
        _drop_weight_shapes(self.onnx)
        np.savez(self.pool, **self.samples())


def _drop_weight_shapes(path: Path) -> None:
    """Remove the `value_info` of initializers.

    onnxruntime's dynamic quantizer and neural-compressor transpose a Gemm's weight without correcting its shape there,
    and then refuse their own graph.
    """
    import onnx

    model = onnx.load(path)
    weights = {initializer.name for initializer in model.graph.initializer}
    kept = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    onnx.save(model, path)


def example(name: str) -> Any:
    """The module of an example."""
    sys.path.insert(0, str(ROOT / "examples"))
    return __import__(name)


def _images(name: str) -> Samples:
    task = example(name)._task()
    return {task.name: task.train.x}


def _sentences() -> Samples:
    """All sentences of at most TOKENS tokens that are not held out, padded to that: every peer wants one shape."""
    minilm = example("minilm")
    found = minilm.first_sentences(minilm._MODULES)
    order = np.random.default_rng(0).permutation(len(found))
    kept = [found[i] for i in (*order[: minilm._CALIBRATION], *order[minilm._CALIBRATION + minilm._HELD_OUT :])]
    encodings = [e for e in (minilm._tokenizer().encode(text) for text in kept) if len(e.ids) <= TOKENS]
    ids, mask = (np.zeros((len(encodings), TOKENS), np.int64) for _ in range(2))
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding.ids)], mask[row, : len(encoding.ids)] = encoding.ids, 1
    return {"input_ids": ids, "attention_mask": mask}


def _random_images(samples: int) -> Samples:
    return {"pixel_values": np.random.default_rng(0).standard_normal((samples, 3, 224, 224), np.float32)}


def _random_tokens(samples: int, length: int = 64) -> Samples:
    ids = np.random.default_rng(0).integers(1000, 30000, (samples, length))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _example(name: str) -> Callable[[], Source]:
    return lambda: load_source(str(ROOT / "examples" / f"{name}.py"))


def _configured(build: Callable[[Any], Any], samples: Samples, axes: Mapping[int, str]) -> Callable[[], Source]:
    """A transformers model with seeded random weights."""

    def source() -> Source:
        import torch
        import transformers

        torch.manual_seed(0)
        inputs = {name: torch.from_numpy(array[:2]) for name, array in samples.items()}
        dynamic = dict.fromkeys(inputs, axes)
        return source_from_object(_logits(build(transformers)), inputs, name="configured", dynamic=dynamic)

    return source


def _logits(net: Any) -> Any:
    """The network with its logits alone as output, and with the input names of the samples."""
    from torch import nn

    class OfPixels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, pixel_values: Any) -> Any:
            return self.net(pixel_values=pixel_values).logits

    class OfTokens(OfPixels):
        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.net(input_ids=input_ids, attention_mask=attention_mask).logits

    return OfPixels() if net.main_input_name == "pixel_values" else OfTokens()


def _resnet50(t: Any) -> Any:
    return t.ResNetForImageClassification(t.ResNetConfig(num_labels=1000))


def _mobilenet_v2(t: Any) -> Any:
    return t.MobileNetV2ForImageClassification(t.MobileNetV2Config(num_labels=1000, tf_padding=False))


def _distilbert(t: Any) -> Any:
    config = t.DistilBertConfig(num_labels=2, attn_implementation="eager")
    return t.DistilBertForSequenceClassification(config)


_BATCHES = {0: "batch"}
MODELS = {
    model.name: model
    for model in (
        Model(name="digits", source=_example("digits"), samples=lambda: _images("digits")),
        Model(name="mobilenet", source=_example("mobilenet"), samples=lambda: _images("mobilenet")),
        Model(name="vit", source=_example("vit"), samples=lambda: _images("vit"), transformer=True),
        Model(name="minilm", source=_example("minilm"), samples=_sentences, transformer=True),
        Model(
            name="resnet50",
            source=_configured(_resnet50, _random_images(2), _BATCHES),
            samples=lambda: _random_images(64),
            trained=False,
            batch=4,
        ),
        Model(
            name="mobilenet-v2",
            source=_configured(_mobilenet_v2, _random_images(2), _BATCHES),
            samples=lambda: _random_images(64),
            trained=False,
            batch=4,
        ),
        Model(
            name="distilbert",
            source=_configured(_distilbert, _random_tokens(2), {0: "batch", 1: "sequence"}),
            samples=lambda: _random_tokens(256),
            transformer=True,
            trained=False,
        ),
    )
}
