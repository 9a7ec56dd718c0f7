#!/bin/sh
# Builds model.plan on the device with trtexec, for jetson-orin-nano-8gb with jetpack-6.2 (TensorRT 10.3), int8.
# `edgepress build BUNDLE` does the same and then verifies the engine; this script verifies nothing.
set -eu
cd "$(dirname "$0")"
TRTEXEC="$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)"
if [ ! -x "$TRTEXEC" ]; then
    echo "trtexec is neither in PATH nor in /usr/src/tensorrt/bin; apt install libnvinfer-bin" >&2
    exit 5
fi
"$TRTEXEC" \
    --onnx=../model.onnx \
    --saveEngine=model.plan \
    --int8 \
    --fp16 \
    --sparsity=enable \
    --minShapes=input:1x1x8x8 \
    --optShapes=input:2x1x8x8 \
    --maxShapes=input:16x1x8x8 \
    --memPoolSize=workspace:2048 \
    --timingCacheFile=timing.cache \
    --profilingVerbosity=detailed \
    --exportLayerInfo=layers.json \
    --skipInference
