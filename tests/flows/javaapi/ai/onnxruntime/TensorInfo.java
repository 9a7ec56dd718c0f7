package ai.onnxruntime;

public class TensorInfo {
    public final OnnxJavaType type = OnnxJavaType.UNKNOWN;

    public long[] getShape() {
        throw new UnsupportedOperationException();
    }
}
