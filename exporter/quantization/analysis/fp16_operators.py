"""Which operators the forms that float16 lacks are made of."""

from __future__ import annotations

# Between a mask of large negative numbers and the softmax that makes nothing of them; saturated they do the same.
MASKING = frozenset(
    {
        *("Add", "Mul", "Sub", "Where", "Cast", "Identity", "Expand", "Reshape", "Squeeze", "Unsqueeze"),
        *("Transpose", "Slice", "Concat", "Gather", "Tile"),
    }
)
SOFTMAX = frozenset({"Softmax", "LogSoftmax"})
# Next to another operand a tiny constant of these is nothing; a tiny factor is not.
SUMS = frozenset({"Add", "Sub", "Max", "Min", "Clip", "Where", "Sum", "Pad", "Concat"})
# These only move what they read.
MOVING = frozenset(
    {
        *("Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose"),
        "Unsqueeze",
    }
)
MEANS = frozenset({"ReduceSum", "ReduceMean", "AveragePool", "GlobalAveragePool"})
EXTREMES = frozenset({"ReduceMax", "ReduceMin", "MaxPool", "GlobalMaxPool"})
# Many operators in one, which make the range large and small again inside. TensorRT's parser writes them out, each in
# the type of its input: onnxOpImporters.cpp of onnx-tensorrt 10.1, the version that was read, makes of a ReduceL2 the
# root of a ReduceSumSquare, of a ReduceLogSumExp an exponential, a sum and a logarithm, of an LpNormalization a square,
# a sum, a root and a quotient.
INSIDE = frozenset({"ReduceL2", "ReduceLogSumExp", "ReduceLogSum", "LpNormalization"})
# What these make of two numbers that are nearly the same may be far apart.
EXACT = frozenset(
    {
        *("Sin", "Cos", "Tan", "Mod", "Floor", "Ceil", "Round", "Equal", "Greater", "GreaterOrEqual", "Less"),
        *("LessOrEqual", "ArgMax", "ArgMin", "TopK"),
    }
)
# Between the inputs and one of those: neither weights nor anything learned is among them.
PLAIN = frozenset(
    {
        *("Abs", "Add", "And", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "CumSum", "Div", "Exp", "Max"),
        *("Min", "Mul", "Neg", "Not", "Or", "Pad", "Pow", "Range", "Reciprocal", "Shape", "Sign", "Size", "Sqrt"),
        *("Sub", "Sum", "Where"),
    }
    | MOVING
    | MEANS
    | EXTREMES
    | EXACT
)
# Ways from a square to its root lead through these, and through constant factors.
PASSED = SUMS | MOVING | MEANS | EXTREMES | {"Neg", "Abs"}
