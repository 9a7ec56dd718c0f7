"""What each language and its onnxruntime call the types of elements.

Sources: onnxruntime's `onnxruntime_c_api.h` (ONNXTensorElementDataType), `OnnxJavaType.java`, and `ort_enums.h` of its
Objective-C library, which has fewer of them; OpenVINO's `element_type.hpp`, and engines of it take no doubles.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """A type of elements; a name is empty where that library does not take it."""

    bytes: int
    cpp: str
    ort: str
    openvino: str = ""
    kotlin: str = ""
    swift: str = ""


ELEMENTS = {
    "bool": Element(bytes=1, cpp="Bool", ort="BOOL", openvino="boolean", kotlin="BOOL"),
    "float16": Element(bytes=2, cpp="Float16", ort="FLOAT16", openvino="f16", kotlin="FLOAT16"),
    "float32": Element(bytes=4, cpp="float", ort="FLOAT", openvino="f32", kotlin="FLOAT", swift="float"),
    "float64": Element(bytes=8, cpp="double", ort="DOUBLE", kotlin="DOUBLE"),
    "int8": Element(bytes=1, cpp="std::int8_t", ort="INT8", openvino="i8", kotlin="INT8", swift="int8"),
    "int16": Element(bytes=2, cpp="std::int16_t", ort="INT16", openvino="i16", kotlin="INT16"),
    "int32": Element(bytes=4, cpp="std::int32_t", ort="INT32", openvino="i32", kotlin="INT32", swift="int32"),
    "int64": Element(bytes=8, cpp="std::int64_t", ort="INT64", openvino="i64", kotlin="INT64", swift="int64"),
    "uint8": Element(bytes=1, cpp="std::uint8_t", ort="UINT8", openvino="u8", kotlin="UINT8", swift="uInt8"),
    "uint16": Element(bytes=2, cpp="std::uint16_t", ort="UINT16", openvino="u16"),
    "uint32": Element(bytes=4, cpp="std::uint32_t", ort="UINT32", openvino="u32", swift="uInt32"),
    "uint64": Element(bytes=8, cpp="std::uint64_t", ort="UINT64", openvino="u64", swift="uInt64"),
}
