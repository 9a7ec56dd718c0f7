"""Third-party models with real weights, what they are calibrated with, and how well they do what they are for."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from models import HOME, ROOT, Model, Samples
from numpy.typing import NDArray

from edgepress.exporter.sources import Source, load_source, source_from_object

FILES = HOME / "realworld"
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class RealModel:
    """A model somebody else trained, at batch 1 and one size.

    Attributes:
        heldout: inputs that no tool calibrated with, and what is true of each.
        hits: by sample, of the outputs for those, FP32's outputs and the truths: 1 where it is right, 0 where it is
            not, NaN where nothing is asked.
        name: of their mean.
        noise: dB of SQNR of the outputs against FP32's, by name.
    """

    model: Model
    heldout: Callable[[], tuple[Samples, list[Any]]]
    hits: Callable[[Floats, Floats, list[Any]], Floats]
    name: str
    noise: Callable[[Floats, Floats], dict[str, float]]


# Pitch: frames of 1024 samples at 16 kHz, in 360 bins of 20 cents.
RATE, FRAME, BINS, CENTS, FIRST_CENTS = 16000, 1024, 360, 20.0, 1997.3794084376191


def _crepe() -> Source:
    """The module of torchcrepe's own file; its package would want an audio library that the network does not need."""
    import torch

    package = types.ModuleType("torchcrepe")
    package.PITCH_BINS = BINS  # type: ignore[attr-defined]
    sys.modules["torchcrepe"] = package
    spec = importlib.util.spec_from_file_location("torchcrepe.model", FILES / "torchcrepe" / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.Crepe("tiny")
    network.load_state_dict(torch.load(FILES / "torchcrepe" / "assets" / "tiny.pth", weights_only=True))
    return source_from_object(network.eval(), {"x": torch.from_numpy(tones(1, 0)[0]["x"])}, name="crepe")


def tones(count: int, seed: int) -> tuple[Samples, list[Any]]:
    """Harmonic tones with vibrato, overtones and noise; the truth is the frequency in the middle, where it turns."""
    rng = np.random.default_rng(seed)
    time = (np.arange(FRAME) - FRAME / 2) / RATE
    frequencies = 55.0 * 2.0 ** rng.uniform(0, 4, count)
    frames = np.empty((count, FRAME), np.float32)
    for row, frequency in enumerate(frequencies):
        speed = 2 * np.pi * rng.uniform(3, 7)
        vibrato = rng.uniform(0, 0.02) / speed * (1 - np.cos(speed * time))
        overtones = np.arange(1, 1 + max(1, min(12, int(RATE / 2 / frequency))))
        levels = rng.uniform(0.2, 1, len(overtones)) * overtones ** -rng.uniform(0.3, 2)
        phases = rng.uniform(0, 2 * np.pi, len(overtones))
        wave = levels @ np.sin(2 * np.pi * overtones[:, None] * frequency * (time + vibrato) + phases[:, None])
        wave = wave / wave.std() + rng.normal(0, 10 ** rng.uniform(-3, 0), FRAME)
        frames[row] = (wave - wave.mean()) / wave.std()
    return {"x": frames}, list(frequencies)


def _pitch(found: Floats, reference: Floats, truths: list[Any]) -> Floats:
    """Whether a frame is within 50 cents of the truth, by the mean of the bins around the best one."""
    best = np.clip(found.argmax(axis=1), 4, BINS - 5)
    around = best[:, None] + np.arange(-4, 5)
    weights = np.take_along_axis(found, around, axis=1).astype(np.float64)
    cents = (weights * (around * CENTS + FIRST_CENTS)).sum(axis=1) / weights.sum(axis=1)
    wrong = np.abs(cents - 1200 * np.log2(np.asarray(truths) / 10.0))
    return (wrong <= 50).astype(np.float32)


# Detection: 4 box coordinates and a score of each class, at 2100 places of a 320x320 image.
SIDE, BOX, LEAST_SCORE, LEAST_OVERLAP = 320, 4, 0.2, 0.5
SEEN = (
    "skimage/data/chelsea.png",
    "skimage/data/coffee.png",
    "skimage/data/motorcycle_left.png",
    "skimage/data/camera.png",
    "skimage/data/rocket.jpg",
    "ultralytics/assets/zidane.jpg",
)
HELD_OUT = ("skimage/data/astronaut.png", "ultralytics/assets/bus.jpg")


def _views(names: tuple[str, ...], count: int, seed: int) -> Floats:
    """Random cuts of the photographs, turned over and lit at random: 0 to 1, RGB."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    pictures = [Image.open(FILES / name).convert("RGB") for name in names]
    views = np.empty((count, 3, SIDE, SIDE), np.float32)
    for row in range(count):
        picture = pictures[row % len(pictures)]
        side = int(min(picture.size) * rng.uniform(0.4, 1))
        left, top = (int(rng.integers(0, size - side + 1)) for size in picture.size)
        cut = np.asarray(picture.resize((SIDE, SIDE), box=(left, top, left + side, top + side)), np.float32)
        cut = cut[:, ::-1] if rng.random() < 0.5 else cut
        views[row] = np.clip(cut * rng.uniform(0.6, 1.3) / 255, 0, 1).transpose(2, 0, 1)
    return views


def _detection(found: Floats, reference: Floats, truths: list[Any]) -> Floats:
    """Whether the best box of an image is FP32's, where FP32 sees anything."""
    same = np.full(len(found), np.nan, np.float32)
    for row, (mine, theirs) in enumerate(zip(found, reference, strict=True)):
        label, place = np.unravel_index(theirs[BOX:].argmax(), theirs[BOX:].shape)
        if theirs[BOX + label, place] < LEAST_SCORE:
            continue
        own_label, own_place = np.unravel_index(mine[BOX:].argmax(), mine[BOX:].shape)
        near = _overlap(mine[:BOX, own_place], theirs[:BOX, place]) >= LEAST_OVERLAP
        same[row] = mine[BOX + own_label, own_place] >= LEAST_SCORE and own_label == label and near
    return same


def _noise_of_boxes(found: Floats, reference: Floats) -> dict[str, float]:
    return {
        "scores_db": _sqnr(reference[:, BOX:], found[:, BOX:]),
        "boxes_db": _sqnr(reference[:, :BOX], found[:, :BOX]),
    }


def _overlap(one: Floats, other: Floats) -> float:
    """Intersection over union of two boxes: centre and size."""
    low = np.maximum(one[:2] - one[2:] / 2, other[:2] - other[2:] / 2)
    high = np.minimum(one[:2] + one[2:] / 2, other[:2] + other[2:] / 2)
    common = float(np.clip(high - low, 0, None).prod())
    return common / float(one[2:].prod() + other[2:].prod() - common)


# Text: lines of 48x320, 40 steps of 6625 classes, of which the first is no character and the last a space.
HEIGHT, WIDTH, WORDS = 48, 320, 3


def _lines(count: int, seed: int) -> tuple[Samples, list[Any]]:
    """Words of our own documents in the fonts that matplotlib carries, black on white and the other way round."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    rng = np.random.default_rng(seed)
    fonts = sorted((Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("DejaVu*.ttf"))
    fonts = [font for font in fonts if "Display" not in font.name]
    words = sorted(set(re.findall(r"[A-Za-z]{3,9}", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))))
    arrays, texts = np.zeros((count, 3, HEIGHT, WIDTH), np.float32), []
    for row in range(count):
        text = " ".join(rng.choice(words, int(rng.integers(1, WORDS + 1))))
        ink, paper = (int(rng.integers(0, 100)), int(rng.integers(150, 256)))[:: rng.choice([1, -1])]
        font = ImageFont.truetype(fonts[int(rng.integers(len(fonts)))], int(rng.integers(20, 32)))
        picture = Image.new("L", (int(font.getlength(text)) + 12, HEIGHT), paper)
        ImageDraw.Draw(picture).text((6, HEIGHT / 2), text, fill=ink, font=font, anchor="lm")
        width = min(WIDTH, picture.width)
        pixels = np.asarray(picture.resize((width, HEIGHT)), np.float32)
        pixels = pixels + rng.normal(0, rng.uniform(0, 35), pixels.shape).astype(np.float32)
        arrays[row, :, :, :width] = np.clip(pixels, 0, 255) / 127.5 - 1
        texts.append(text)
    return {"x": arrays}, texts


def _reading(found: Floats, reference: Floats, truths: list[Any]) -> Floats:
    """Whether a line is read without a mistake."""
    import onnx

    model = onnx.load(FILES / "rapidocr_onnxruntime" / "models" / "ch_PP-OCRv4_rec_infer.onnx")
    characters = next(entry.value for entry in model.metadata_props if entry.key == "character").splitlines()
    classes = ["", *characters, " "]
    right = np.empty(len(truths), np.float32)
    for line, (row, text) in enumerate(zip(found.argmax(axis=2), truths, strict=True)):
        changed = np.diff(row, prepend=0) != 0
        right[line] = "".join(classes[index] for index in row[changed]) == text
    return right


def _noise(found: Floats, reference: Floats) -> dict[str, float]:
    return {"sqnr_db": _sqnr(reference, found)}


def _sqnr(reference: Floats, found: Floats) -> float:
    noise = float(np.square(reference - found, dtype=np.float64).sum())
    return round(10 * float(np.log10(np.square(reference, dtype=np.float64).sum() / max(noise, 1e-30))), 2)


def _at_size(name: str, shape: tuple[int, ...]) -> Callable[[], Source]:
    """The file with one shape for its only input."""

    def source() -> Source:
        import onnx
        from onnxruntime.tools.onnx_model_utils import fix_output_shapes, make_input_shape_fixed

        model = onnx.load(FILES / name)
        make_input_shape_fixed(model.graph, model.graph.input[0].name, list(shape))
        fix_output_shapes(model)
        fixed = FILES / f"{Path(name).stem}-fixed.onnx"
        onnx.save(model, fixed)
        return load_source(str(fixed))

    return source


_TEXT = "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"
REAL = (
    RealModel(
        model=Model(name="crepe", source=_crepe, samples=lambda: tones(256, 1)[0], batch=1),
        heldout=lambda: tones(4096, 2),
        hits=_pitch,
        name="within_50_cents",
        noise=_noise,
    ),
    RealModel(
        model=Model(
            name="nude",
            source=_at_size("nudenet/320n.onnx", (1, 3, SIDE, SIDE)),
            samples=lambda: {"images": _views(SEEN, 128, 1)},
            batch=1,
        ),
        heldout=lambda: ({"images": _views(HELD_OUT, 256, 2)}, []),
        hits=_detection,
        name="same_best",
        noise=_noise_of_boxes,
    ),
    RealModel(
        model=Model(
            name="rec",
            source=_at_size(_TEXT, (1, 3, HEIGHT, WIDTH)),
            samples=lambda: _lines(128, 1)[0],
            batch=1,
        ),
        heldout=lambda: _lines(512, 2),
        hits=_reading,
        name="lines",
        noise=_noise,
    ),
)
