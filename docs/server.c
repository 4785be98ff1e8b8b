/* A server for assay in C: conv2d and max_pool2d in float32. docs/protocol.md says what goes over the line.
 *
 *     cc -O3 -o server docs/server.c -lm && assay check --command ./server
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int given, size[4];
    float *data;
} Tensor;

typedef struct { /* one call */
    char operator[32];
    Tensor input, weight, bias;
    int kernel[2], stride[2], padding[2], has_stride;
} Call;

static size_t count(const Tensor *t) {
    size_t n = 1;
    for (int i = 0; i < 4; i++) n *= (size_t)t->size[i];
    return n;
}

/* One number stands for both directions. */
static int pair(const char *words, int *two) {
    int found = sscanf(words, "%d %d", &two[0], &two[1]);
    if (found == 1) two[1] = two[0];
    return found >= 1;
}

static void parameter(Call *call, const char *name, const char *words) {
    if (!strcmp(name, "stride")) call->has_stride = pair(words, call->stride);
    if (!strcmp(name, "padding")) pair(words, call->padding);
    if (!strcmp(name, "kernel_size")) pair(words, call->kernel);
}

static Tensor *named(Call *call, const char *name) {
    return !strcmp(name, "input") ? &call->input : !strcmp(name, "weight") ? &call->weight : &call->bias;
}

/* Lines up to an empty one, then the bytes of the tensors in the order of their lines. Returns 0 when the line is closed. */
static int receive(Call *call) {
    char line[1024], key[32], name[64], dtype[16];
    Tensor *order[3];
    int tensors = 0, words;
    memset(call, 0, sizeof *call);
    call->stride[0] = call->stride[1] = 1;
    for (;;) {
        if (!fgets(line, sizeof line, stdin)) return 0;
        if (line[0] == '\n') break;
        sscanf(line, "%31s %63s %n", key, name, &words);
        if (!strcmp(key, "call")) strcpy(call->operator, name);
        if (!strcmp(key, "integer") || !strcmp(key, "integers")) parameter(call, name, line + words);
        if (!strcmp(key, "tensor") && tensors < 3) {
            Tensor *t = order[tensors++] = named(call, name);
            *t = (Tensor){1, {1, 1, 1, 1}, NULL};
            sscanf(line + words, "%15s %d %d %d %d", dtype, &t->size[0], &t->size[1], &t->size[2], &t->size[3]);
        }
    }
    for (int i = 0; i < tensors; i++) {
        order[i]->data = malloc(count(order[i]) * sizeof(float) + 1);
        if (fread(order[i]->data, sizeof(float), count(order[i]), stdin) != count(order[i])) return 0;
    }
    return 1;
}

static void refuse(const char *why) { printf("answer\nraised ValueError: %s\n\n", why); }

static void answer(const Tensor *t) {
    printf("answer\ntensor result float32 %d %d %d %d\n\n", t->size[0], t->size[1], t->size[2], t->size[3]);
    fwrite(t->data, sizeof(float), count(t), stdout);
}

static float at(const Tensor *t, int n, int c, int row, int column) {
    return t->data[((size_t)(n * t->size[1] + c) * t->size[2] + row) * t->size[3] + column];
}

static float convolved(const Call *call, int n, int o, int i, int j) {
    float sum = call->bias.given ? call->bias.data[o] : 0;
    for (int c = 0; c < call->input.size[1]; c++)
        for (int p = 0; p < call->kernel[0]; p++)
            for (int q = 0; q < call->kernel[1]; q++) {
                int row = i * call->stride[0] + p - call->padding[0], column = j * call->stride[1] + q - call->padding[1];
                if (row >= 0 && row < call->input.size[2] && column >= 0 && column < call->input.size[3])
                    sum += at(&call->input, n, c, row, column) * at(&call->weight, o, c, p, q);
            }
    return sum;
}

static float largest(const Call *call, int n, int c, int i, int j) {
    float most = -INFINITY;
    for (int p = 0; p < call->kernel[0]; p++)
        for (int q = 0; q < call->kernel[1]; q++) {
            int row = i * call->stride[0] + p - call->padding[0], column = j * call->stride[1] + q - call->padding[1];
            if (row < 0 || row >= call->input.size[2] || column < 0 || column >= call->input.size[3]) continue;
            float x = at(&call->input, n, c, row, column);
            if (x > most || isnan(x)) most = x;
            if (isnan(most)) return most;
        }
    return most;
}

static void run(Call *call) {
    int convolution = !strcmp(call->operator, "conv2d"), places[2];
    if (convolution) memcpy(call->kernel, &call->weight.size[2], sizeof call->kernel);
    if (!convolution && !call->has_stride) memcpy(call->stride, call->kernel, sizeof call->stride);
    if (convolution && call->input.size[1] != call->weight.size[1]) return refuse("the channels do not match");
    if (convolution && call->bias.given && call->bias.size[0] != call->weight.size[0]) return refuse("the bias is not of one entry an output");
    for (int d = 0; d < 2; d++) {
        int room = call->input.size[2 + d] + 2 * call->padding[d] - call->kernel[d];
        if (call->stride[d] < 1 || call->padding[d] < 0 || call->kernel[d] < 1) return refuse("a stride, padding or kernel is too small");
        if (!convolution && 2 * call->padding[d] > call->kernel[d]) return refuse("the padding is more than half the kernel");
        if (room < 0) return refuse("the kernel is larger than the padded input");
        places[d] = room / call->stride[d] + 1;
    }
    Tensor result = {1, {call->input.size[0], convolution ? call->weight.size[0] : call->input.size[1], places[0], places[1]}, NULL};
    float *next = result.data = malloc(count(&result) * sizeof(float) + 1);
    for (int n = 0; n < result.size[0]; n++)
        for (int o = 0; o < result.size[1]; o++)
            for (int i = 0; i < places[0]; i++)
                for (int j = 0; j < places[1]; j++) *next++ = convolution ? convolved(call, n, o, i, j) : largest(call, n, o, i, j);
    answer(&result);
    free(result.data);
}

int main(void) {
    Call call;
    printf("assay 1\noperator conv2d\noperator max_pool2d\ndtype float32\nversion server.c\n\n");
    fflush(stdout);
    while (receive(&call)) {
        run(&call);
        fflush(stdout);
        free(call.input.data), free(call.weight.data), free(call.bias.data);
    }
    return 0;
}
