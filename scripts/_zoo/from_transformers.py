"""Tiny configurations of transformers, with random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

from .model import Inputs, ZooModel, clips, images, normal, together, tokens, waves

_WIDTH = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_TEXT = {**_WIDTH, "vocab_size": 200, "max_position_embeddings": 64, "pad_token_id": 1}
_DECODER = {**_TEXT, "num_key_value_heads": 2, "head_dim": 8, "use_cache": False, "bos_token_id": 0, "eos_token_id": 2}
_IMAGE = {**_WIDTH, "image_size": 64, "patch_size": 8}
_SOUND = {
    **_WIDTH, "vocab_size": 20, "conv_dim": [16, 16, 16], "conv_kernel": [10, 3, 3], "conv_stride": [5, 4, 4],
    "num_feat_extract_layers": 3, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 200, "use_cache": False}
_BART = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 200, "max_position_embeddings": 64, "pad_token_id": 1,
    "use_cache": False,
}  # fmt: skip
_STAGES = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]}
_PYRAMID = {"num_encoder_blocks": 4, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}
_SWIN = {"image_size": 64, "patch_size": 4, "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
_CLIP_TEXT = {**_WIDTH, "vocab_size": 200, "max_position_embeddings": 32, "eos_token_id": 2, "bos_token_id": 0}
_SEQUENCE = {0: "batch", 1: "sequence"}

# Name of the configuration's class without `Config`, of the model's class, and what makes it small.
_Row = tuple[str, str, dict[str, Any]]
_ENCODERS: tuple[_Row, ...] = (
    ("Bert", "BertForSequenceClassification", _TEXT),
    ("Roberta", "RobertaForTokenClassification", _TEXT),
    ("DistilBert", "DistilBertForSequenceClassification", {
        "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 200, "max_position_embeddings": 64,
    }),
    ("Albert", "AlbertModel", {**_TEXT, "embedding_size": 16}),
    ("Electra", "ElectraForSequenceClassification", {**_TEXT, "embedding_size": 16}),
    ("Deberta", "DebertaModel", {**_TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    ("DebertaV2", "DebertaV2Model", {**_TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    ("MPNet", "MPNetModel", _TEXT),
    ("XLMRoberta", "XLMRobertaForQuestionAnswering", _TEXT),
    ("Camembert", "CamembertForMaskedLM", _TEXT),
    ("Ernie", "ErnieModel", _TEXT),
    ("SqueezeBert", "SqueezeBertForSequenceClassification", {**_TEXT, "embedding_size": 32}),
    ("MobileBert", "MobileBertModel", {**_TEXT, "embedding_size": 16, "intra_bottleneck_size": 16,
                                       "true_hidden_size": 16}),
    ("ConvBert", "ConvBertModel", {**_TEXT, "embedding_size": 32}),
    ("RoFormer", "RoFormerModel", {**_TEXT, "embedding_size": 32}),
    ("MegatronBert", "MegatronBertModel", _TEXT),
    ("Data2VecText", "Data2VecTextModel", _TEXT),
    ("IBert", "IBertModel", _TEXT),
    ("RemBert", "RemBertModel", {**_TEXT, "input_embedding_size": 16, "output_embedding_size": 16}),
    ("ModernBert", "ModernBertModel", {**_TEXT, "attn_implementation": "sdpa"}),
    ("Esm", "EsmModel", {**_TEXT, "position_embedding_type": "rotary"}),
    ("BertGeneration", "BertGenerationEncoder", {**_TEXT, "use_cache": False}),
    ("RobertaPreLayerNorm", "RobertaPreLayerNormModel", _TEXT),
    ("XLNet", "XLNetModel", {"vocab_size": 200, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64}),
    ("Flaubert", "FlaubertModel", {"vocab_size": 200, "emb_dim": 32, "n_layers": 2, "n_heads": 4}),
    ("T5", "T5EncoderModel", _T5),
    ("MT5", "MT5EncoderModel", _T5),
    ("UMT5", "UMT5EncoderModel", _T5),
)  # fmt: skip
_DECODERS: tuple[_Row, ...] = (
    ("GPT2", "GPT2LMHeadModel", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 200,
                                 "use_cache": False}),
    ("GPTNeo", "GPTNeoModel", {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "vocab_size": 200,
                               "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 64,
                               "use_cache": False}),
    ("GPTNeoX", "GPTNeoXForCausalLM", {**_TEXT, "use_cache": False}),
    ("Llama", "LlamaForCausalLM", _DECODER),
    ("Qwen2", "Qwen2ForCausalLM", _DECODER),
    ("Qwen3", "Qwen3ForCausalLM", _DECODER),
    ("Mistral", "MistralForCausalLM", _DECODER),
    ("Gemma", "GemmaForCausalLM", _DECODER),
    ("Phi", "PhiForCausalLM", {**_TEXT, "use_cache": False}),
    ("OPT", "OPTForCausalLM", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64,
                               "vocab_size": 200, "max_position_embeddings": 64, "word_embed_proj_dim": 32,
                               "use_cache": False}),
    ("Bloom", "BloomForCausalLM", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 200,
                                   "use_cache": False}),
    ("Falcon", "FalconForCausalLM", {**_TEXT, "use_cache": False}),
    ("StableLm", "StableLmForCausalLM", _DECODER),
    ("Olmo", "OlmoForCausalLM", _DECODER),
    ("SmolLM3", "SmolLM3ForCausalLM", _DECODER),
)  # fmt: skip
_PICTURES: tuple[_Row, ...] = (
    ("ViT", "ViTForImageClassification", _IMAGE),
    ("DeiT", "DeiTForImageClassification", _IMAGE),
    ("Beit", "BeitForImageClassification", {**_IMAGE, "use_relative_position_bias": True}),
    ("Swin", "SwinForImageClassification", _SWIN),
    ("Swinv2", "Swinv2ForImageClassification", _SWIN),
    ("ConvNext", "ConvNextForImageClassification", _STAGES),
    ("ConvNextV2", "ConvNextV2ForImageClassification", _STAGES),
    ("ResNet", "ResNetForImageClassification", {**_STAGES, "embedding_size": 16, "layer_type": "basic"}),
    ("RegNet", "RegNetForImageClassification", {**_STAGES, "embedding_size": 16, "groups_width": 8}),
    ("MobileNetV1", "MobileNetV1ForImageClassification", {"depth_multiplier": 0.25, "image_size": 64}),
    ("MobileNetV2", "MobileNetV2ForImageClassification", {"depth_multiplier": 0.25, "image_size": 64,
                                                          "finegrained_output": False}),
    ("MobileViT", "MobileViTForImageClassification", {"image_size": 64, "hidden_sizes": [24, 32, 40],
                                                      "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 64]}),
    ("MobileViTV2", "MobileViTV2ForImageClassification", {"image_size": 64, "width_multiplier": 0.25}),
    ("EfficientNet", "EfficientNetForImageClassification", {"width_coefficient": 0.25, "depth_coefficient": 0.3,
                                                            "image_size": 64, "hidden_dim": 320}),
    ("Segformer", "SegformerForSemanticSegmentation", {**_PYRAMID, "decoder_hidden_size": 32}),
    ("Dinov2", "Dinov2Model", _IMAGE),
    ("Dinov2WithRegisters", "Dinov2WithRegistersModel", _IMAGE),
    ("Levit", "LevitForImageClassification", {"image_size": 64, "hidden_sizes": [16, 32, 48], "depths": [1, 1, 1],
                                              "num_attention_heads": [2, 4, 4], "key_dim": [8, 8, 8]}),
    ("PoolFormer", "PoolFormerForImageClassification", _STAGES),
    ("Pvt", "PvtForImageClassification", {"image_size": 64, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1],
                                          "num_attention_heads": [1, 2, 2, 4]}),
    ("PvtV2", "PvtV2ForImageClassification", {"image_size": 64, "hidden_sizes": [16, 32, 48, 64],
                                              "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 4]}),
    ("FocalNet", "FocalNetForImageClassification", {"image_size": 64, "embed_dim": 16, "depths": [1, 1, 1, 1]}),
    ("Bit", "BitForImageClassification", {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1],
                                          "embedding_size": 16, "num_groups": 4}),
    ("Hiera", "HieraForImageClassification", {"image_size": [64, 64], "embed_dim": 16, "depths": [1, 1, 2, 1],
                                              "num_heads": [1, 2, 4, 8]}),
    ("ViTMSN", "ViTMSNForImageClassification", _IMAGE),
    ("Yolos", "YolosForObjectDetection", {**_WIDTH, "image_size": [64, 64], "patch_size": 8,
                                          "num_detection_tokens": 10, "use_mid_position_embeddings": False}),
    ("SwiftFormer", "SwiftFormerForImageClassification", {"image_size": 64, "depths": [1, 1, 1, 1],
                                                          "embed_dims": [16, 24, 32, 48]}),
    ("TextNet", "TextNetForImageClassification", {}),
    ("Swin2SR", "Swin2SRForImageSuperResolution", {"image_size": 64, "embed_dim": 16, "depths": [2, 2],
                                                   "num_heads": [2, 2], "window_size": 4, "upscale": 2}),
    ("HGNetV2", "HGNetV2ForImageClassification", {
        "embedding_size": 16, "stem_channels": [3, 8, 16], "hidden_sizes": [32, 64, 96, 128],
        "stage_in_channels": [16, 32, 64, 96], "stage_mid_channels": [8, 16, 24, 32],
        "stage_out_channels": [32, 64, 96, 128], "stage_num_blocks": [1, 1, 2, 1], "stage_numb_of_layers": [3, 3, 3, 3],
    }),
    ("DPT", "DPTForDepthEstimation", {**_IMAGE, "num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3],
                                      "neck_hidden_sizes": [8, 16, 16, 16], "fusion_hidden_size": 16,
                                      "is_hybrid": False}),
    ("CLIPVision", "CLIPVisionModel", _IMAGE),
    ("SiglipVision", "SiglipVisionModel", _IMAGE),
    ("Data2VecVision", "Data2VecVisionModel", _IMAGE),
    ("IJepa", "IJepaModel", _IMAGE),
)  # fmt: skip
_SOUNDS: tuple[_Row, ...] = (
    ("Wav2Vec2", "Wav2Vec2ForCTC", _SOUND),
    ("Hubert", "HubertForCTC", _SOUND),
    ("UniSpeechSat", "UniSpeechSatForCTC", _SOUND),
    ("WavLM", "WavLMForCTC", _SOUND),
    ("SEW", "SEWForCTC", {**_SOUND, "squeeze_factor": 2}),
    ("Data2VecAudio", "Data2VecAudioForCTC", {**_SOUND, "conv_pos_kernel_size": 7, "num_conv_pos_embeddings": 2}),
)  # fmt: skip


def models() -> Iterator[ZooModel]:
    """All of them; kinds in turn, so that a run that is cut short has seen some of each."""
    kinds = [*(list(kind) for kind in _rows()), list(_others())]
    for row in zip_longest(*kinds):
        yield from (model for model in row if model is not None)


def _rows() -> Iterator[Iterator[ZooModel]]:
    for rows, inputs, free in (
        (_PICTURES, images(), {}),
        (_ENCODERS, tokens(), {"input_ids": _SEQUENCE, "attention_mask": _SEQUENCE}),
        (_DECODERS, tokens(mask=False), {"input_ids": _SEQUENCE}),
        (_SOUNDS, waves(), {}),
    ):
        yield (
            ZooModel(name=model, library="transformers", build=_built(config, model, small), inputs=inputs, free=free)
            for config, model, small in rows
        )


def _built(config: str, model: str, small: dict[str, Any], part: str = "") -> Callable[[], Any]:
    def build() -> Any:
        import transformers

        settings = {name: value for name, value in small.items() if name != "attn_implementation"}
        made = getattr(transformers, model)(getattr(transformers, f"{config}Config")(**settings))
        return made.get_encoder() if part == "encoder" else made

    return build


def _others() -> Iterator[ZooModel]:
    """Those with inputs of their own."""

    def one(name: str, build: Callable[[], Any], inputs: Inputs, free: Any = {}) -> ZooModel:  # noqa: B006
        return ZooModel(name=name, library="transformers", build=build, inputs=inputs, free=free)

    spectrum = {"num_mel_bins": 16, "max_source_positions": 50, **_BART, "max_target_positions": 32}
    yield one("WhisperEncoder", _built("Whisper", "WhisperModel", spectrum, "encoder"),
              normal("input_features", 16, 100))  # fmt: skip
    yield one("BartEncoder", _built("Bart", "BartModel", _BART, "encoder"), tokens(),
              {"input_ids": _SEQUENCE, "attention_mask": _SEQUENCE})  # fmt: skip
    yield one("BartModel", _built("Bart", "BartModel", _BART), tokens())
    yield one("PegasusEncoder", _built("Pegasus", "PegasusModel", _BART, "encoder"), tokens())
    yield one("CLIPTextModel", _built("CLIPText", "CLIPTextModel", _CLIP_TEXT), tokens())
    yield one("SiglipTextModel", _built("SiglipText", "SiglipTextModel", {**_CLIP_TEXT}), tokens(32, mask=False))
    yield one("CLIPModel", _clip("CLIP"), together(tokens(), images()))
    yield one("SiglipModel", _clip("Siglip"), together(tokens(32, mask=False), images()))
    yield one("FNetModel", _built("FNet", "FNetModel", {**_TEXT, "use_tpu_fourier_optimizations": False}),
              tokens(mask=False))  # fmt: skip
    yield one("ASTForAudioClassification",
              _built("AST", "ASTForAudioClassification", {**_WIDTH, "num_mel_bins": 32, "max_length": 64}),
              normal("input_values", 64, 32))  # fmt: skip
    yield one("ViltModel", _built("Vilt", "ViltModel", {**_TEXT, "image_size": 64, "patch_size": 8}),
              together(tokens(), images()))  # fmt: skip
    yield one("DetrForObjectDetection", _detr, images())
    yield one("PatchTSTForPrediction",
              _built("PatchTST", "PatchTSTForPrediction", {"context_length": 64, "prediction_length": 8, "d_model": 32,
                                                           "num_hidden_layers": 2, "ffn_dim": 64, "patch_length": 8,
                                                           "patch_stride": 8, "num_attention_heads": 4,
                                                           "num_input_channels": 3}),
              normal("past_values", 64, 3))  # fmt: skip
    yield one("PatchTSMixerForPrediction",
              _built("PatchTSMixer", "PatchTSMixerForPrediction", {"context_length": 64, "prediction_length": 8,
                                                                   "d_model": 16, "num_layers": 2, "patch_length": 8,
                                                                   "patch_stride": 8, "num_input_channels": 3}),
              normal("past_values", 64, 3))  # fmt: skip
    yield one("VideoMAEForVideoClassification",
              _built("VideoMAE", "VideoMAEForVideoClassification", {**_IMAGE, "image_size": 32, "num_frames": 4}),
              clips(4, 32, "pixel_values", axis=1))  # fmt: skip
    yield one("EncodecModel", _built("Encodec", "EncodecModel", {"num_filters": 4, "hidden_size": 16,
                                                                 "codebook_size": 32, "codebook_dim": 16,
                                                                 "upsampling_ratios": [4, 2]}),
              lambda rng, n: {"input_values": waves(1600)(rng, n)["input_values"][:, None]})  # fmt: skip


def _clip(kind: str) -> Callable[[], Any]:
    def build() -> Any:
        import transformers

        projection = {"projection_dim": 16} if kind == "CLIP" else {}
        config = getattr(transformers, f"{kind}Config")(text_config=_CLIP_TEXT, vision_config=_IMAGE, **projection)
        return getattr(transformers, f"{kind}Model")(config)

    return build


def _detr() -> Any:
    import transformers as t

    backbone = t.ResNetConfig(**_STAGES, embedding_size=16, layer_type="basic", out_features=["stage4"])
    small = {key: value for key, value in _BART.items() if key.startswith(("d_", "encoder_", "decoder_"))}
    return t.DetrForObjectDetection(
        t.DetrConfig(use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone,
                     num_queries=10, num_labels=5, **small)
    )  # fmt: skip
