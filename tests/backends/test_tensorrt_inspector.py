"""The engine inspector's JSON, in the field names and phrases of TensorRT 8.6 and 10."""

from __future__ import annotations

import json

import pytest

from edgepress.backends.tensorrt import layers_from_json
from edgepress.errors import VerificationError
from edgepress.profiles.findings.layers import coverage


def entry(kind: str, tactic: str | None, formats: list[str], name: str = "conv_1", **more: object) -> dict[str, object]:
    tensor = {"Name": "t", "Location": "Device", "Dimensions": [1, 32, 16, 16]}
    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": [{**tensor, "Format/Datatype": text} for text in formats],
        "Outputs": [{**tensor, "Format/Datatype": "Row major linear FP32"}],
        **({"TacticName": tactic} if tactic else {}),
        "StreamId": 0,
        "Metadata": "",
        **more,
    }


INT8 = "Thirty-two wide channel vectorized row major Int8 format."
HALF = "Channel major FP16 format where channel % 8 == 0"
FP32 = "Row major linear FP32"
XMMA = "sm80_xmma_fprop_implicit_gemm_"
VECTOR = "_nchw_vect_c_32kcrs_vect_c_32_nchw_vect_c_32_tilesize128x128x64_stage4_warpsize2x2x1_g1_tensor16x8x32_t1r3s3"


@pytest.mark.parametrize(
    ("kind", "tactic", "formats", "integer"),
    [
        ("CaskConvolution", f"{XMMA}interleaved_i8i8_i8i32_f32{VECTOR}", [INT8], True),
        ("CaskConvolution", f"{XMMA}interleaved_i8f16_i8i32_f32{VECTOR}", [INT8, HALF], True),
        ("CaskConvolution", "ampere_fp32_icudnn_int8x4_128x64_relu_medium_nn_v1", [INT8], True),
        ("CaskConvolution", "turing_fp16_i8816cudnn_int8_128x128_ldg16_relu_small_nt_v1", [INT8], True),
        ("CudaDepthwiseConvolution", None, [INT8], True),
        ("fusion", "sm80_xmma_gemm_i8i8_i8i32_f32_tn_n_tilesize64x64x64_by_fusion_tactic", ["Int8", "Int8"], True),
        # Reads int8, multiplies floats: the input's type alone would have it counted.
        (
            "CaskConvolution",
            "sm70_xmma_fprop_conv1x1_i8f32_f32_f32_nchw_vect_c_4kcrs_vect_c_4_nchw_simt",
            [INT8],
            False,
        ),
        ("CaskConvolution", f"{XMMA}f16f16_f16f16_f16_nhwckrsc_nhwc_tilesize256x64x32", [HALF], False),
        ("CaskConvolution", f"{XMMA}f32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize128x128x16", [FP32], False),
        ("CaskConvolution", "ampere_scudnn_128x64_relu_xregs_large_nn_v1", [FP32], False),
        ("CaskConvolution", "ampere_h16816cudnn_128x128_ldg8_relu_exp_stages_64x3_large_nhwc_tn_v1", [HALF], False),
        ("gemm", "sm80_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize64x64x64", ["Half", "Half"], False),
        ("CublasConvolution", None, [FP32], False),
        # Weight-only: int8 weights are widened, the product is of halves.
        ("gemm", None, ["Half", "Int8"], False),
    ],
)
def test_kernels_tell_whether_they_multiply_integers(
    kind: str, tactic: str | None, formats: list[str], integer: bool
) -> None:
    name = "__myl_FcAddMul_myl0_3" if kind == "fusion" else "conv_1"
    (layer,) = layers_from_json(json.dumps({"Layers": [entry(kind, tactic, formats, name)], "Bindings": ["x", "y"]}))
    assert layer.compute
    assert layer.integer is integer
    assert bool(layer.reason) is not integer
    assert layer.kernel == (tactic or "")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Reformat", "Reformatting CopyNode for Input Tensor 0 to conv_1"),
        ("CaskPooling", "pool"),
        ("NoOp", "conv_1 copy"),
        ("kgen", "__myl_MeanSubMulMeanAddSqrtDivMul_myl0_1"),
        ("kgen", "__myl_MulRounMaxMinCast_myl0_1"),
        ("signal", "entry^signal^myl0_0"),
        ("Constant", "conv_1_w"),
    ],
)
def test_other_layers_do_not_count(kind: str, name: str) -> None:
    text = json.dumps({"Layers": [entry(kind, None, [INT8], name, Metadata="[ONNX Layer: conv_1]")]})
    (layer,) = layers_from_json(text)
    assert (layer.compute, layer.integer, layer.reason) == (False, False, "")


def test_a_fused_product_counts_and_its_arithmetic_stays_unknown() -> None:
    layers = layers_from_json(
        json.dumps(
            {
                "Layers": [
                    entry("kgen", "__myl_FcAddGelu_0x1f", [], "__myl_FcAddGelu_myl0_2"),
                    entry("kgen", "_gemm_mha_v2_0x2e", ["Half"], "_gemm_mha_v2_myl0_5"),
                ]
            }
        )
    )
    assert all(layer.compute and not layer.integer for layer in layers)
    assert [layer.reason for layer in layers] == ["", "its input is Half"]


def test_layers_are_named_by_the_graph_s_nodes() -> None:
    metadata = "[ONNX Layer: q_x]\x1e[ONNX Layer: conv_1]\x1f[ONNX Layer: relu_1]\x1e[ONNX Layer: conv_1]"
    entries = [
        entry("CaskConvolution", f"{XMMA}i8i8_i8i32_f32", [INT8], "w + q_x + conv_1 + relu_1", Metadata=metadata),
        entry("CaskConvolution", f"{XMMA}f32f32_f32f32_f32", [FP32], "w + conv_2"),
    ]
    layers = layers_from_json(json.dumps({"Layers": entries}))
    assert [layer.name for layer in layers] == ["q_x + conv_1 + relu_1", "w + conv_2"]
    assert str(coverage(layers)) == "1 of 2 (50%)"
    assert "floats" in coverage(layers).left[0].reason


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": ["conv_1 + relu_1"], "Bindings": []}'])
def test_an_answer_that_tells_nothing_is_no_proof(text: str) -> None:
    with pytest.raises(VerificationError):
        layers_from_json(text)
