"""What stands for a runtime: onnxruntime computes what a plan holds, in host memory."""

from __future__ import annotations

import base64
import ctypes
import json
from typing import Any

import numpy as np

from .release import KINDS, Real


class Runtime(Real):
    stands_for = "Runtime"

    def begin(self, log: Any) -> None:
        self.log, self.DLA_core, self.num_DLA_cores = log, -1, self.of.world.dla_cores

    def deserialize_cuda_engine(self, data: bytes) -> Plan | None:
        plan = json.loads(bytes(data))
        if plan["release"] != self.of.table["release"]:
            self.of.say(self.log, "ERROR", "The engine plan file is not compatible with this version of TensorRT")
            return None
        assert plan["dla"] is None or plan["dla"] == self.DLA_core
        return Plan(self.of, plan)


class Plan(Real):
    stands_for = "ICudaEngine"

    def begin(self, plan: dict[str, Any]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.plan = plan
        self.session = onnxruntime.InferenceSession(
            base64.b64decode(plan["graph"]), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {one.name: _dtype(one.type) for one in self.session.get_inputs()}
        self.outputs = {one.name: _dtype(one.type) for one in self.session.get_outputs()}
        self.names = [*self.inputs, *self.outputs]
        self.num_io_tensors = self.num_bindings = len(self.names)

    def held(self, name: str) -> np.dtype[Any]:
        """The type on the device: there is no int64 before 10."""
        kind = {**self.inputs, **self.outputs}[name]
        return np.dtype(np.int32) if kind == np.int64 and self.of.major < 10 else kind

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return self.of.enums["DataType"][KINDS[self.held(name).name]]

    def get_tensor_mode(self, name: str) -> Any:
        return self.of.enums["TensorIOMode"]["INPUT" if name in self.inputs else "OUTPUT"]

    get_binding_name = get_tensor_name

    def get_binding_dtype(self, index: int) -> Any:
        return self.get_tensor_dtype(self.names[index])

    def binding_is_input(self, index: int) -> bool:
        return self.names[index] in self.inputs

    def create_execution_context(self) -> Context:
        return Context(self.of, self)

    def create_engine_inspector(self) -> Inspector:
        return Inspector(self.of, self)


class Context(Real):
    stands_for = "IExecutionContext"

    def begin(self, plan: Plan) -> None:
        self.plan = plan
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = tuple(shape)
        low, _, high = self.plan.plan["ranges"].get(name, (shape, shape, shape))
        return all(least <= size <= most for least, size, most in zip(low, shape, high, strict=True))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        feed = {key: np.zeros(self.shapes[key], kind) for key, kind in self.plan.inputs.items()}
        return tuple(self.plan.session.run([name], feed)[0].shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        feed = {key: self._read(key).astype(kind) for key, kind in self.plan.inputs.items()}
        for name, array in zip(self.plan.outputs, self.plan.session.run(list(self.plan.outputs), feed), strict=True):
            data = np.ascontiguousarray(array.astype(self.plan.held(name))).tobytes()
            ctypes.memmove(self.addresses[name], data, len(data))
        return bool(stream_handle)

    def _read(self, name: str) -> np.ndarray:
        kind, shape = self.plan.held(name), self.shapes[name]
        data = ctypes.string_at(self.addresses[name], int(np.prod(shape)) * kind.itemsize)
        return np.frombuffer(data, kind).reshape(shape)

    def set_binding_shape(self, index: int, shape: tuple[int, ...]) -> bool:
        return self.set_input_shape(self.plan.names[index], shape)

    def get_binding_shape(self, index: int) -> tuple[int, ...]:
        return self.get_tensor_shape(self.plan.names[index])

    def execute_async_v2(self, bindings: list[int], stream_handle: int) -> bool:
        self.addresses = dict(zip(self.plan.names, bindings, strict=True))
        return self.execute_async_v3(stream_handle)


class Inspector(Real):
    stands_for = "EngineInspector"

    def begin(self, plan: Plan) -> None:
        self.plan, self.execution_context = plan, None

    def get_engine_information(self, format: Any) -> str:
        assert self.execution_context is not None
        assert format.name == "JSON"
        return json.dumps({"Layers": [self._layer(one) for one in self.plan.plan["layers"]], "Bindings": []})

    def _layer(self, layer: dict[str, Any]) -> dict[str, Any]:
        computes = layer["type"] == "CONVOLUTION"
        integer = computes and layer["reads"][0] == "DEQUANTIZE"
        other = "f16f16_f16f16_f16" if "FP16" in self.plan.plan["flags"] else "f32f32_f32f32_f32"
        return {
            "Name": layer["name"],
            "LayerType": "CaskConvolution" if computes else "PointWiseV2",
            "Inputs": [{"Name": "t", "Format/Datatype": "Int8" if integer else "Row major linear FP32"}],
            "TacticName": f"sm80_xmma_fprop_{'i8i8_i8i32_f32' if integer else other}_nhwc" if computes else "",
        }


def _dtype(text: str) -> np.dtype[Any]:
    names = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(int32)": "int32", "tensor(bool)": "bool"}
    return np.dtype(names[text])
