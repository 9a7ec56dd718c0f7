"""Decoders for TensorRT: the graph is proven where the engine cannot run, and a device builds and proves the engine."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

import edgepress
from edgepress.backends._fed_back import FedBack
from edgepress.backends.base import Engine, Graph
from edgepress.backends.decoding import Decoding, Logits, Tokens
from edgepress.backends.places import Reference
from edgepress.backends.places.base import Fidelity
from edgepress.errors import InputError, UnservedError, VerificationError
from edgepress.exporter.bundle import build_text
from edgepress.exporter.bundle.build import build_bundle
from edgepress.exporter.bundle.generate import need_decoder
from edgepress.exporter.bundle.lineage import check_lineage
from edgepress.exporter.bundle.manifest import Bundle, check_files, load_bundle
from edgepress.exporter.bundle.seal import load_report
from edgepress.exporter.bundle.verify import verify_bundle
from edgepress.exporter.decoding import make
from edgepress.exporter.recipe import WeightSettings
from edgepress.profiles.device.precision import PrecisionName
from edgepress.profiles.device.target import Target

from ..._llama import saved_llama

NEAREST = WeightSettings(rounding="nearest")
OTHERS = {"engine", "golden", "manifest.json", "report.json", "report.md", "report.html", "recipe.toml", "bom.cdx.json"}


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "head of its own"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model") / "tale"
    return saved_llama(directory, max_position_embeddings=48, tie_word_embeddings=request.param)


def exported(model: Path, output: Path, target: str, precision: str) -> Bundle:
    return edgepress.export(
        model, target=target, precision=precision, output=output, weight_settings=NEAREST, measure=False
    )


@pytest.fixture(scope="module")
def original(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return exported(model, tmp_path_factory.mktemp("jetson"), "jetson", "auto")


@pytest.fixture
def jetson(original: Bundle, tmp_path: Path) -> Bundle:
    return load_bundle(Path(shutil.copytree(original.path, tmp_path / original.path.name)))


def stored(bundle: Bundle) -> int:
    """Bytes of all matrices in the graph's file, their scales included."""
    tensors = onnx.load(bundle.graph.path, load_external_data=False).graph.initializer
    kept = [one for one in tensors if one.name.endswith(".scales") or (len(one.dims) == 2 and "rotary" not in one.name)]
    return sum(int(entry.value) for one in kept for entry in one.external_data if entry.key == "length")


def reported(bundle: Bundle) -> Mapping[str, str]:
    language = load_report(bundle.path).language
    assert language is not None
    return {layer.layer: layer.grid for layer in language.bits.layers}


def said(bundle: Bundle) -> str:
    report = load_report(bundle.path)
    return " ".join((*(gap.why for gap in report.missing), *report.notes, *(one.claim for one in report.evidence)))


def test_int4_for_rtx_is_compiled_and_its_graph_proven(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    bundle = exported(model, tmp_path, "rtx", "int4")
    assert bundle.manifest.engine.path == "engine/model.plan"
    assert bundle.manifest.model.opset == 21
    assert sorted(path.name for path in bundle.path.rglob("model.*")) == ["model.onnx", "model.onnx.data", "model.plan"]
    check_files(bundle)
    check_lineage(bundle)
    report = load_report(bundle.path)
    assert report.sizes.weights == stored(bundle)
    assert {one.about: one.kind for one in report.evidence} == {"graph": "emulated", "engine": "built"}
    grids = reported(bundle)
    assert set(grids.values()) == {"int4 in blocks of 32", "float32"}
    assert [name for name, grid in grids.items() if grid == "float32"] in (["head"], ["embedding"])
    with pytest.raises(UnservedError, match=r"files are intact, but tensorrt-rtx cannot run on this machine"):
        verify_bundle(bundle.path)


def test_a_jetson_gets_what_its_parser_takes_and_hears_why_not_int4(jetson: Bundle) -> None:
    report = load_report(jetson.path)
    assert report.precision == "int8"
    assert set(reported(jetson).values()) == {"int8 per channel", "float32"}
    assert report.sizes.weights == stored(jetson)
    assert report.sizes.engine is None
    assert "int4 was not tried, as jetpack-6.2 takes ONNX up to opset 20, and int4 in blocks of 32 needs opset 21." in (
        said(jetson)
    )
    assert {one.about for one in report.evidence if one.kind == "emulated"} == {"graph"}
    script = (jetson.path / "engine" / "build.sh").read_text()
    assert "--stronglyTyped" in script
    assert "--fp16" not in script
    assert "--minShapes=input_ids:1x1,past_key_values.0.key:1x2x0x16," in script
    assert "--maxShapes=input_ids:1x48,past_key_values.0.key:1x2x47x16," in script
    with pytest.raises(UnservedError, match=r"files are intact, but the engine is not built here, because TensorRT"):
        verify_bundle(jetson.path)
    with pytest.raises(UnservedError, match="the engine is not built here"):
        need_decoder(jetson.path)


def test_int4_that_is_asked_for_is_refused_where_the_parser_is_too_old(model: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"jetpack-6.2 takes ONNX up to opset 20, and int4 .* needs opset 21"
    ) as caught:
        exported(model, tmp_path, "jetson", "int4")
    assert "--precision" in str(caught.value.hint)
    with pytest.raises(InputError, match=r"jetson-nano cannot run tale: .* up to opset \d+, and a decoder needs 20"):
        exported(model, tmp_path, "jetson-nano", "auto")
    assert not list(tmp_path.iterdir())


def test_what_loses_more_than_it_may_makes_room_for_what_does_not(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = iter(["too much"])
    monkeypatch.setattr(make, "_lost_too_much", lambda task, parity: next(verdicts, ""))
    bundle = exported(model, tmp_path, "jetson", "auto")
    assert "Not shipped: int8 per channel: too much." in load_report(bundle.path).notes
    check_files(bundle)


class Confused(Decoding):
    """One that reads the cache of each layer where that of another belongs; a text that is read at once is right."""

    def __init__(self, decoding: FedBack) -> None:
        self._right = decoding

    def __call__(self, tokens: Tokens) -> Logits:
        cache = self._right._cache
        self._right._cache = dict(zip(cache, [*cache.values()][::-1], strict=True))
        return self._right(tokens)

    def reset(self) -> None:
        self._right.reset()

    def close(self) -> None:
        self._right.close()


class Device(Reference):
    """A device whose compiler copies the graph, and whose engines run."""

    itself = True

    def __init__(self, *, confused: bool = False) -> None:
        self._confused = confused

    def compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        shutil.copytree(graph.path.parent, directory, dirs_exist_ok=True, ignore=lambda _, names: OTHERS & set(names))
        made = self.runs(graph, target, precision, None)
        return replace(made, path=directory / graph.path.name, backend=target.backend, target=target)

    def evidence(self, target: Target) -> Fidelity:
        return "measured"

    def decode(self, engine: Engine, threads: int | None = None) -> Decoding:
        decoding = super().decode(engine, threads)
        assert isinstance(decoding, FedBack)
        return Confused(decoding) if self._confused else decoding


def test_a_device_builds_the_engine_and_proves_it_on_golden_text(
    jetson: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_text, "place_for", lambda target, on=None: Device())
    built = build_bundle(jetson.path)
    assert built.manifest.engine.path == "engine/model.onnx"
    assert built.manifest.engine.why == ""
    assert not (built.path / "engine" / "build.sh").exists()
    check_files(built)
    check_lineage(built)
    report = load_report(built.path)
    assert "not built here" not in said(built)
    assert "measured" in [one.kind for one in report.evidence if one.about == "engine"]
    assert report.sizes.engine is not None


def test_an_engine_that_reads_its_cache_wrong_is_not_let_pass(jetson: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_text, "place_for", lambda target, on=None: Device(confused=True))
    with pytest.raises(VerificationError, match="nats a token"):
        build_bundle(jetson.path)
    assert jetson.manifest.engine.path is None
    check_files(jetson)


def test_an_engine_that_export_wrote_whole_has_nothing_to_build(model: Path, tmp_path: Path) -> None:
    bundle = exported(model, tmp_path, "server-cpu", "int8")
    with pytest.raises(InputError, match="nothing to build"):
        build_bundle(bundle.path)
