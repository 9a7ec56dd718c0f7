package ai.onnxruntime;

import java.nio.ByteBuffer;

/** Signatures alone, of the functions that a loader calls; those of onnxruntime's own library, as its documentation has them. */
public class OnnxTensor implements OnnxValue {
    public static OnnxTensor createTensor(OrtEnvironment env, ByteBuffer data, long[] shape, OnnxJavaType type)
            throws OrtException {
        throw new UnsupportedOperationException();
    }

    public TensorInfo getInfo() {
        throw new UnsupportedOperationException();
    }

    public ByteBuffer getByteBuffer() {
        throw new UnsupportedOperationException();
    }

    @Override
    public void close() {}
}
