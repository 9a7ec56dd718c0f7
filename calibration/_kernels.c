/* The loops of calibration that touch every element, behind one function, as kernels.py states it.
 *
 * Compiled where a C compiler is at hand; without it kernels.py does the same in numpy. They release the
 * interpreter's lock, so that tensors of one portion are counted while the next portion is computed.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define BINS 4096
#define SHIFT 20
/* Neighbours are often in the same bin (zeros behind a ReLU): an increment need not wait for the one before it. */
#define TABLES 4
#define MOST ((Py_ssize_t)1 << 32) /* elements after which a 32-bit counter has to be emptied */
/* The long accumulator of exact.py. */
#define LIMBS 15
#define LIMB_BITS 24
#define LOWEST (-120)

typedef uint32_t Tables[TABLES][BINS];

static void count(const uint32_t *bits, Py_ssize_t size, Tables tables)
{
    Py_ssize_t i = 0;
    for (; i + TABLES <= size; i += TABLES)
        for (int table = 0; table < TABLES; table++)
            tables[table][bits[i + table] >> SHIFT]++;
    for (; i < size; i++)
        tables[0][bits[i] >> SHIFT]++;
}

static void empty(Tables tables, int64_t *counts)
{
    for (int table = 0; table < TABLES; table++)
        for (int bin = 0; bin < BINS; bin++)
            counts[bin] += tables[table][bin];
    memset(tables, 0, sizeof(Tables));
}

/* What is reduced to channels; sums and squares of one sample, or NULL, extremes of all, or NULL. */
typedef struct {
    float *total, *square, *minimum, *maximum;
} Channels;

typedef float Vector __attribute__((vector_size(16)));
typedef int32_t Mask __attribute__((vector_size(16)));
#define WIDTH 4
#define AHEAD 4 /* vectors at once, so that an addition need not wait for the one before it */
#define LOWER(a, b) ((a) < (b) ? (a) : (b))
#define HIGHER(a, b) ((a) > (b) ? (a) : (b))

static inline Vector load(const float *x)
{
    Vector vector;
    memcpy(&vector, x, sizeof vector);
    return vector;
}

static inline Vector choose(Mask which, Vector yes, Vector no)
{
    return (Vector)(((Mask)yes & which) | ((Mask)no & ~which));
}

/* One contiguous run of one channel. */
static void add_run(const float *x, Py_ssize_t size, float *total, float *square)
{
    Vector sums[AHEAD] = {{0}}, squares[AHEAD] = {{0}};
    float sum = 0, sum_of_squares = 0;
    Py_ssize_t i = 0;
    for (; i + AHEAD * WIDTH <= size; i += AHEAD * WIDTH)
        for (int k = 0; k < AHEAD; k++) {
            Vector some = load(x + i + k * WIDTH);
            sums[k] += some;
            squares[k] += some * some;
        }
    for (; i < size; i++) {
        sum += x[i];
        sum_of_squares += x[i] * x[i];
    }
    for (int k = 0; k < AHEAD; k++)
        for (int lane = 0; lane < WIDTH; lane++) {
            sum += sums[k][lane];
            sum_of_squares += squares[k][lane];
        }
    *total += sum;
    if (square)
        *square += sum_of_squares;
}

static void widen_run(const float *x, Py_ssize_t size, float *minimum, float *maximum)
{
    Vector low[AHEAD], high[AHEAD];
    for (int k = 0; k < AHEAD; k++) {
        low[k] = (Vector){*minimum, *minimum, *minimum, *minimum};
        high[k] = (Vector){*maximum, *maximum, *maximum, *maximum};
    }
    Py_ssize_t i = 0;
    for (; i + AHEAD * WIDTH <= size; i += AHEAD * WIDTH)
        for (int k = 0; k < AHEAD; k++) {
            Vector some = load(x + i + k * WIDTH);
            low[k] = choose(some < low[k], some, low[k]);
            high[k] = choose(some > high[k], some, high[k]);
        }
    for (; i < size; i++) {
        *minimum = LOWER(x[i], *minimum);
        *maximum = HIGHER(x[i], *maximum);
    }
    for (int k = 0; k < AHEAD; k++)
        for (int lane = 0; lane < WIDTH; lane++) {
            *minimum = LOWER(low[k][lane], *minimum);
            *maximum = HIGHER(high[k][lane], *maximum);
        }
}

static void add_channel(const float *x, Py_ssize_t size, Channels to)
{
    if (size >= AHEAD * WIDTH) {
        if (to.total)
            add_run(x, size, to.total, to.square);
        if (to.minimum)
            widen_run(x, size, to.minimum, to.maximum);
        return;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        if (to.total)
            *to.total += x[i];
        if (to.square)
            *to.square += x[i] * x[i];
        if (to.minimum) {
            *to.minimum = LOWER(x[i], *to.minimum);
            *to.maximum = HIGHER(x[i], *to.maximum);
        }
    }
}

static Channels at(Channels channels, Py_ssize_t c)
{
    return (Channels){channels.total ? channels.total + c : NULL, channels.square ? channels.square + c : NULL,
                      channels.minimum ? channels.minimum + c : NULL, channels.maximum ? channels.maximum + c : NULL};
}

/* Channels are the last axis: one position of all of them. */
static void add_position(const float *x, Py_ssize_t channels, Channels to)
{
    if (to.total)
        for (Py_ssize_t c = 0; c < channels; c++)
            to.total[c] += x[c];
    if (to.square)
        for (Py_ssize_t c = 0; c < channels; c++)
            to.square[c] += x[c] * x[c];
    Py_ssize_t c = 0;
    for (; to.minimum && c + WIDTH <= channels; c += WIDTH) {
        Vector some = load(x + c), low = load(to.minimum + c), high = load(to.maximum + c);
        low = choose(some < low, some, low);
        high = choose(some > high, some, high);
        memcpy(to.minimum + c, &low, sizeof low);
        memcpy(to.maximum + c, &high, sizeof high);
    }
    for (; to.minimum && c < channels; c++) {
        to.minimum[c] = LOWER(x[c], to.minimum[c]);
        to.maximum[c] = HIGHER(x[c], to.maximum[c]);
    }
}

static void reduce_outer(const float *x, Py_ssize_t middle, Py_ssize_t channels, Py_ssize_t inner, Channels to)
{
    for (Py_ssize_t m = 0; m < middle; m++, x += channels * inner)
        if (inner == 1)
            add_position(x, channels, to);
        else
            for (Py_ssize_t c = 0; c < channels; c++)
                add_channel(x + c * inner, inner, at(to, c));
}

/* Add one float32 to the limbs of its channel; as exact.py has it, digit by digit. Sums that left float32's range stay
 * at its end; what is no number is told by the counts. */
static inline void add_limbs(float value, int64_t *limbs, Py_ssize_t channels)
{
    if (isnan(value))
        return;
    value = HIGHER(LOWER(value, FLT_MAX), -FLT_MAX);
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    int exponent = bits >> 23 & 0xff;
    int64_t whole = (bits & 0x7fffff) | (exponent ? 0x800000 : 0); /* a float32 is whole * 2**(exponent - 150) */
    whole = bits >> 31 ? -whole : whole;
    int position = (exponent ? exponent : 1) - 150 - LOWEST;
    if (position < 0) {
        whole >>= -position; /* at most 29 */
        position = 0;
    }
    whole *= (int64_t)1 << position % LIMB_BITS; /* spans this limb and the next higher one */
    int64_t *low = limbs + (LIMBS - 1 - position / LIMB_BITS) * channels;
    *low += whole & ((1 << LIMB_BITS) - 1);
    *(low - channels) += whole >> LIMB_BITS;
}

/* A buffer of exactly that many bytes; None, where allowed, leaves the view empty. */
static int view(PyObject *object, Py_buffer *buffer, int flags, Py_ssize_t bytes, int optional)
{
    if (optional && object == Py_None)
        return 0;
    if (PyObject_GetBuffer(object, buffer, flags | PyBUF_C_CONTIGUOUS) < 0)
        return -1;
    if (buffer->len == bytes)
        return 0;
    PyErr_Format(PyExc_ValueError, "a buffer has %zd bytes and not %zd", buffer->len, bytes);
    return -1;
}

typedef struct {
    int64_t *counts, *total, *square; /* limbs; or NULL */
    float *minimum, *maximum, *scratch;
} State;

/* Counts and reduces one sample after the other, each while it is still in the cache. */
static void observe_all(const float *x, Py_ssize_t outer, Py_ssize_t middle, Py_ssize_t channels, Py_ssize_t inner,
                        State to)
{
    const Py_ssize_t size = middle * channels * inner;
    Tables tables = {{0}};
    Py_ssize_t counted = 0;
    for (Py_ssize_t o = 0; o < outer; o++, x += size) {
        if ((counted += size) > MOST) {
            empty(tables, to.counts);
            counted = size;
        }
        count((const uint32_t *)x, size, tables);
        float *total = to.total ? to.scratch : NULL, *square = to.square ? to.scratch + channels : NULL;
        memset(to.scratch, 0, 2 * channels * sizeof(float));
        reduce_outer(x, middle, channels, inner, (Channels){total, square, to.minimum, to.maximum});
        for (Py_ssize_t c = 0; c < channels; c++) {
            if (total)
                add_limbs(total[c], to.total + c, channels);
            if (square)
                add_limbs(square[c], to.square + c, channels);
        }
    }
    empty(tables, to.counts);
}

#define BUFFERS 6

static PyObject *observe(PyObject *module, PyObject *arguments)
{
    PyObject *objects[BUFFERS], *result = NULL;
    Py_ssize_t outer, middle, channels, inner;
    Py_buffer views[BUFFERS] = {{0}};
    if (!PyArg_ParseTuple(arguments, "O(nnnn)OOOOO", &objects[0], &outer, &middle, &channels, &inner, &objects[1],
                          &objects[2], &objects[3], &objects[4], &objects[5]))
        return NULL;
    const Py_ssize_t limbs = LIMBS * channels * 8;
    const Py_ssize_t bytes[BUFFERS] = {4 * outer * middle * channels * inner, BINS * 8, limbs, limbs, 4 * channels,
                                       4 * channels};
    int bad = 0;
    for (int i = 0; i < BUFFERS && !bad; i++)
        bad = view(objects[i], &views[i], i ? PyBUF_WRITABLE : PyBUF_SIMPLE, bytes[i], i > 1);
    float *scratch = bad ? NULL : PyMem_Malloc(2 * channels * sizeof(float));
    if (scratch) {
        State to = {views[1].buf, views[2].buf, views[3].buf, views[4].buf, views[5].buf, scratch};
        Py_BEGIN_ALLOW_THREADS
        observe_all(views[0].buf, outer, middle, channels, inner, to);
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    } else if (!bad)
        PyErr_NoMemory();
    PyMem_Free(scratch);
    for (int i = 0; i < BUFFERS; i++)
        PyBuffer_Release(&views[i]);
    return result;
}

static PyMethodDef methods[] = {
    {"observe", observe, METH_VARARGS,
     "observe(values, (outer, middle, channels, inner), counts, total, square, minimum, maximum): add float32 values"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_kernels", .m_methods = methods};

PyMODINIT_FUNC PyInit__kernels(void) { return PyModuleDef_Init(&definition); }
