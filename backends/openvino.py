"""OpenVINO: intermediate representation for Intel CPUs, GPUs and NPUs.

Options of a target:
    device: what OpenVINO calls it, `CPU` by default.
    floats: `float32` where an engine of integers must not compute in bf16 what is float in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, UnopenedError, UnservedError
from ..profiles.device.precision import PrecisionName, load_precision
from ..profiles.device.target import Target
from ..profiles.findings.layers import Layer
from ._onnxfile import Node, read_nodes
from ._openvino.branches import apart_from_branches
from ._openvino.converts import straight
from ._openvino.decoding import OpenVinoDecoding, OpenVinoGeneration
from ._openvino.integers import short_integers
from ._openvino.layers import input_ports, observed
from ._openvino.lengths import by_lengths
from ._openvino.pads import keep_before_pads
from ._openvino.recurrent import misread_recurrences
from ._openvino.reductions import over_four_axes
from ._openvino.remainders import exact_remainders
from ._openvino.resize import lower_resizes
from ._openvino.rois import nothing_of_empty_boxes
from ._openvino.ties import take_the_first
from ._openvino.vectors import vectors_as_columns
from ._vendor import availability, fit, import_or_explain, refusal, unwritten
from .base import Array, Availability, Backend, Engine, Feed, Graph, Rejection, Session
from .decoding import Decoding, Generation
from .loaders.facts import LoaderFacts
from .loaders.render import CPP, PYTHON, loaders, page

_NOISE = re.compile(
    r"(Exception from|Check '|FrontEnd API failed|Model wasn't|Summary:|While validating|Loading input)"
)
_UNKNOWN = re.compile(r"No conversion rule found for operations: (.+)")
_FAILED = re.compile(r"^-- (\S+) with a message:\n(.*?)(?=\n\n|\n-- |\Z)", re.DOTALL | re.MULTILINE)
_FAILED_NODE = re.compile(r"ONNX node '<Node\((?P<operator>\w+)\): (?P<output>.*?)>'")

_SEQUENCES = ("SequenceEmpty", "SequenceConstruct", "SequenceInsert")
_NO_SEQUENCES = (
    "OpenVINO does not convert a loop that fills a sequence of tensors, as torch.nn.EmbeddingBag is exported; "
    "an Embedding and a mean or a sum over the axis of its tokens do the same"
)
_ALIASED = "OpenVINO resizes it without antialiasing, which it asks for, unless it resizes the two last axes of four"

_FLOATS = "floats"
# OpenVINO 2026.4.1 does not read INFERENCE_PRECISION_HINT from <runtime_options> of a model, and its mark `precise` of
# single layers is lost in some fusions and breaks a convolution whose bias is not marked: both were tried.
PLAINLY = (
    "engine/load.py opens the engine as it was proven. OpenVINO reads no precision from model.xml: opened without "
    "INFERENCE_PRECISION_HINT, a processor that has bf16 computes in bf16 whatever is float."
)
LOADER = '''"""Opens the engine as it was proven: what is float is computed in float32, on a processor with bf16 too."""

from pathlib import Path

import openvino


def load(core=None):
    """The compiled model."""
    settings = {{"INFERENCE_PRECISION_HINT": "f32"}}
    return (core or openvino.Core()).compile_model(Path(__file__).with_name("{file}"), "{device}", settings)
'''


class OpenVino(Backend):
    """Compiles to `model.xml` and `model.bin`, at the precision that the graph carries."""

    name = "openvino"
    modules = ("openvino",)
    packages = ("openvino",)

    def available(self) -> Availability:
        """Compiles and runs wherever it is installed; whether a device is there is seen when it is opened."""
        return availability("openvino", ("openvino", "openvino-nightly"), "edgepress[openvino]")

    def _check(self, graph: Graph, target: Target) -> tuple[Rejection, ...]:
        try:
            model = _core().read_model(graph.path)
        except RuntimeError as error:
            return _rejections(graph.path, str(error))
        aliased = (Rejection(node=name, reason=_ALIASED) for name in lower_resizes(model))
        return (*aliased, *misread_recurrences(read_nodes(graph.path)))

    def _compile(self, graph: Graph, target: Target, directory: Path, precision: PrecisionName) -> Engine:
        try:
            model = _core().read_model(graph.path)
        except RuntimeError as error:
            raise refusal(self.name, graph, _rejections(graph.path, str(error))) from error
        if left := lower_resizes(model):
            raise refusal(self.name, graph, tuple(Rejection(node=name, reason=_ALIASED) for name in left))
        by_lengths(model)
        apart_from_branches(model)
        in_integers = load_precision(precision).integer
        over_four_axes(model, in_integers=in_integers)
        if in_integers:
            keep_before_pads(model)
        take_the_first(model)
        nothing_of_empty_boxes(model)
        vectors_as_columns(model)
        model = _without_doubles(model)
        straight(model)
        exact_remainders(model)
        _name_by_position(model)
        path = directory / "model.xml"
        # Not `save_model`: that one stores float weights as fp16 unless told otherwise.
        try:
            import_or_explain("openvino").serialize(model, path, path.with_suffix(".bin"))
        except RuntimeError as error:
            raise unwritten(path.name, error) from error
        engine = Engine.of(graph, path, self.name, target, precision)
        plainly = (PLAINLY,) if self.loader(engine) else ()
        notes = (*plainly, *_finite(model, precision), *short_integers(read_nodes(graph.path), graph.inputs))
        return replace(engine, notes=notes)

    def loader(self, engine: Engine) -> dict[str, str]:
        """The precision is a property of a compiled model, which a processor with bf16 chooses itself."""
        device = _device(engine.target)
        told = _in_float32(engine) and device == "CPU"
        return {"load.py": LOADER.format(file=engine.path.name, device=device)} if told else {}

    def loaders(self, facts: LoaderFacts) -> dict[str, str]:
        """In C++ and Python, with the settings of `_open`."""
        languages = tuple(replace(language, library=self.name) for language in (PYTHON, CPP))
        made = loaders(self.name, facts, languages, _proven(facts))
        return {**made, "README.md": page(self.name, {"facts": facts, "languages": languages})}

    def _open(self, engine: Engine, threads: int | None) -> Session:
        return OpenVinoSession(engine, _compiled(engine, threads))

    def decode(self, engine: Engine, threads: int | None = None) -> Decoding:
        """The stateful model alone."""
        self._need("run")
        return OpenVinoDecoding(engine.path.name, _compiled(engine, threads))

    def generate(self, engine: Engine, threads: int | None = None) -> Generation:
        """openvino-genai's pipeline, with the settings of `decode`."""
        return OpenVinoGeneration(engine.path.parent, _device(engine.target), _settings(engine, threads))

    def native_float(self, target: Target) -> PrecisionName:
        """bf16 with AMX or AVX-512 BF16; an engine of precision `bf16` is opened that way, one of `fp32` in float32."""
        device = _device(target)
        return _native_float(device) if self.available().run and device == "CPU" else "fp32"

    def exactly(self, target: Target) -> Target | None:
        """With a processor that has bf16, what is float in an engine of integers is bf16 too unless this is asked."""
        if load_precision(self.native_float(target)).exact or _FLOATS in target.options:
            return None
        return replace(target, options={**target.options, _FLOATS: "float32"})

    def _inspect(self, engine: Engine, feed: Feed) -> tuple[Layer, ...]:
        fit(engine.inputs, feed)
        compiled = _compiled(engine, None, PERF_COUNT=True)
        return observed(
            compiled, _core().read_model(engine.path), {spec.name: feed[spec.name] for spec in engine.inputs}
        )


class OpenVinoSession(Session):
    """A compiled model; requests are made when they are needed, as each has buffers of its own."""

    def __init__(self, engine: Engine, compiled: Any) -> None:
        self._engine = engine
        # Results come in the order of the ports; to look them up by port takes microseconds each time.
        known = {name: index for index, port in enumerate(compiled.outputs) for name in port.get_names()}
        self._position = {spec.name: known[spec.name] for spec in engine.outputs}
        self._inputs = input_ports(compiled, [spec.name for spec in engine.inputs])
        self._compiled: Any = compiled
        self._request: Any = None

    def __call__(self, feed: Feed) -> dict[str, Array]:
        """Run one feed; the results are the caller's."""
        fit(self._engine.inputs, feed)
        try:
            self._request = self._request or self._compiled.create_infer_request()
            # Inputs are read in place, outputs are copied: the request reuses its buffers.
            placed = {self._inputs[name]: array for name, array in feed.items()}
            results = self._request.infer(placed, share_inputs=True, share_outputs=False)
        except RuntimeError as error:
            raise self._failed(error) from error
        values = list(results.values())
        return {name: values[index] for name, index in self._position.items()}

    def bind(self, feed: Feed) -> Callable[[], object]:
        """A request of its own, with the arrays as its input tensors; outputs are seen, not copied."""
        fit(self._engine.inputs, feed)
        request, tensor = self._compiled.create_infer_request(), import_or_explain("openvino").Tensor
        types = {name: port.get_element_type().to_dtype() for name, port in self._inputs.items()}
        arrays = {name: np.asarray(array, types[name], order="C") for name, array in feed.items()}
        for name, array in arrays.items():
            request.set_tensor(self._inputs[name], tensor(array, shared_memory=True))
        return partial(self._again, request, arrays)

    def _again(self, request: Any, arrays: Feed) -> object:
        """`arrays` is here so that the memory lives which the request reads."""
        try:
            return request.infer(share_outputs=True)
        except RuntimeError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Drop the model, the request and its buffers."""
        self._compiled = self._request = None

    def _failed(self, error: RuntimeError) -> InputError:
        return InputError(f"OpenVINO failed to run {self._engine.path.name}: {_first_line(str(error))}")


@cache
def _core() -> Any:
    return import_or_explain("openvino").Core()


@cache
def _native_float(device: str) -> PrecisionName:
    """What a model is run in that says nothing of it: asked of a compiled one, since only that has been decided."""
    ov, ops = import_or_explain("openvino"), import_or_explain("openvino.opset13")
    data = ops.parameter([1], np.float32)
    compiled = _core().compile_model(ov.Model([ops.relu(data)], [data]), device)
    chosen = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    known: dict[str, PrecisionName] = {"bf16": "bf16", "f16": "fp16"}
    return known.get(chosen, "fp32")


def _device(target: Target) -> str:
    return str(target.options.get("device", "CPU"))


def _in_float32(of: Engine | LoaderFacts) -> bool:
    """Whether what is float in it is computed in float32, whatever the processor prefers."""
    precision = load_precision(of.precision)
    return precision.exact or (precision.integer and of.target.options.get(_FLOATS) == "float32")


def _compiled(engine: Engine, threads: int | None, **settings: object) -> Any:
    device = _device(engine.target)
    _need_device(device)
    settings.update(_settings(engine, threads))
    _need_model(engine.path)
    try:
        return _core().compile_model(engine.path, device, settings)
    except RuntimeError as error:
        raise UnopenedError(f"OpenVINO does not open {engine.path.name}: {_first_line(str(error))}") from error


def _proven(of: Engine | LoaderFacts) -> dict[str, str]:
    """What an engine was proven with."""
    # Where the processor has bf16 OpenVINO would choose it.
    floats = {"INFERENCE_PRECISION_HINT": "f32"} if _in_float32(of) else {}
    return {"PERFORMANCE_HINT": "LATENCY", **floats}


def _settings(engine: Engine, threads: int | None) -> dict[str, object]:
    """How the engine is opened, whoever opens it."""
    settings: dict[str, object] = {**_proven(engine)}
    if threads is not None and _device(engine.target) == "CPU":
        settings["INFERENCE_NUM_THREADS"] = threads
    return settings


def _need_model(path: Path) -> None:
    """Refuse what is no model before OpenVINO tries it with every front end, TensorFlow's errors on stderr included."""
    with path.open("rb") as file:
        if b"<net" not in file.read(1024):
            raise InputError(f"{path.name} is not an OpenVINO model.", hint="Export it again.")


def _need_device(device: str) -> None:
    """Refuse a device that OpenVINO does not find; `AUTO:GPU,CPU` is left to OpenVINO."""
    found = _core().available_devices
    if (
        ":" not in device
        and device != "AUTO"
        and device not in found
        and not any(d.startswith(f"{device}.") for d in found)
    ):
        hint = f"Install the driver of the {device}, or set the target's `device` to one of them."
        raise UnservedError(f"OpenVINO finds no {device} on this machine; it finds {', '.join(found)}.", hint=hint)


def _without_doubles(model: Any) -> Any:
    """The model with single precision where it takes or gives double precision, which no CPU kernel does.

    Arrays in double precision may be fed all the same: OpenVINO converts them.
    """
    ov = import_or_explain("openvino")
    steps = ov.preprocess.PrePostProcessor(model)
    inputs = [i for i, port in enumerate(model.inputs) if port.get_element_type() == ov.Type.f64]
    outputs = [i for i, port in enumerate(model.outputs) if port.get_element_type() == ov.Type.f64]
    for index in inputs:
        steps.input(index).tensor().set_element_type(ov.Type.f32)
    for index in outputs:
        steps.output(index).tensor().set_element_type(ov.Type.f32)
    return steps.build() if inputs or outputs else model


def _finite(model: Any, precision: PrecisionName) -> Iterator[str]:
    """What to know of an engine in float32 that converts computed values between types of floats."""
    if not load_precision(precision).exact:
        return
    types = (
        (op, op.get_input_element_type(0), op.get_output_element_type(0))
        for op in model.get_ordered_ops()
        if op.get_type_name() == "Convert" and op.input_value(0).get_node().get_type_name() != "Constant"
    )
    names = [
        op.get_friendly_name() for op, given, made in types if given.is_real() and made.is_real() and given != made
    ]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"OpenVINO may make the largest number of an infinity that {', '.join(names[:3])}{more} converts (Cast)."


def _name_by_position(model: Any) -> None:
    """Rename what OpenVINO numbered by a counter of the process, so that the same graph gives the same bytes."""
    operations = model.get_ordered_ops()
    taken = {op.get_friendly_name() for op in operations if op.get_friendly_name() != op.get_name()}
    for position, op in enumerate(operations):
        if op.get_friendly_name() == op.get_name():
            name = f"{op.get_type_name()}_{position}"
            while name in taken:
                name += "_"
            op.set_friendly_name(name)


def _rejections(path: Path, message: str) -> tuple[Rejection, ...]:
    """The nodes that a failed conversion is about, in the file's order of complaints."""
    unknown, failed = _UNKNOWN.search(message), list(_FAILED.finditer(message))
    if unknown is None and not failed:
        return (Rejection(node=path.name, reason=_first_line(message)),)
    nodes = read_nodes(path)
    found = [*_sequences(nodes), *(_failed(nodes, match[1], match[2]) for match in failed)]
    for operator in unknown[1].split(", ") if unknown else ():
        found.extend(_unknown(nodes, operator.strip()))
    return tuple(found)


def _sequences(nodes: tuple[Node, ...]) -> Iterator[Rejection]:
    """The cause of what is said of the nodes in a loop over a sequence: their types are not known."""
    operators = {node.operator for node in nodes}
    made = next((node.label for node in nodes if node.operator in _SEQUENCES and node.domain in ("", "ai.onnx")), None)
    if made is not None and "Loop" in operators:
        yield Rejection(node=made, reason=_NO_SEQUENCES)


def _failed(nodes: tuple[Node, ...], operator: str, message: str) -> Rejection:
    """The front end names a node by its first output."""
    named = _FAILED_NODE.search(message)
    output = named["output"] if named else ""
    label = next((node.label for node in nodes if output in node.outputs), output or operator)
    return Rejection(node=label, reason=message.strip().splitlines()[-1])


def _unknown(nodes: tuple[Node, ...], operator: str) -> Iterator[Rejection]:
    """The nodes of an operator spelled `Det-17` or `domain.Type`."""
    domain, _, kind = re.sub(r"-\d+$", "", operator).rpartition(".")
    reason = f"OpenVINO has no conversion for the operator {operator}"
    labels = [n.label for n in nodes if n.operator == kind and n.domain in ((domain,) if domain else ("", "ai.onnx"))]
    yield from (Rejection(node=label, reason=reason) for label in labels or [operator])


def _first_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines()]
    return next((line for line in lines if line and not _NOISE.match(line)), lines[0] if lines else "no message")
