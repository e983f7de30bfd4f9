/// Shared by the tests of networks against recorded tensors (tests/parity): the tensors of a file
/// as tensors, and comparison by relative error under a bound that follows from the type and the
/// network's size.
#pragma once
#include "checkpoints/safetensors.h"
#include "tests/unit/op_cases.h"
#include "tests/unit/temporary_folder.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

#define RECORDED_FOLDER SOURCE_DIR "/tests/parity/data/"

/// "<folder of recorded data>/<name>"; lives until the next eight calls.
static const char *recorded_path(const char *name) {
    static char paths[8][1024];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], RECORDED_FOLDER "%s", name);
    return path;
}

/// Tensor "<name>/<part>" of tests/parity/data/<file>.safetensors, FLOAT32 or INT32, in the
/// innermost scope.
static Tensor *recorded(const char *file, const char *name, const char *part) {
    Error error = {0};
    char path[1024], key[256];
    snprintf(path, sizeof path, RECORDED_FOLDER "%s.safetensors", file);
    snprintf(key, sizeof key, "%s/%s", name, part);
    SafetensorsFile *opened = safetensors_open(path, &error);
    if (!opened) fail_msg("%s", error.message);
    const StoredTensor *entry = safetensors_find(opened, key);
    if (!entry) fail_msg("%s has no tensor '%s'", path, key);
    DType dtype = entry->type == ELEMENT_I32 ? INT32 : FLOAT32;
    Tensor *x = tensor_from_host(case_device(), dtype, entry->rank, entry->shape, entry->data);
    safetensors_close(opened);
    return x;
}

/// Bound on a network's relative error (Euclidean norm) in a type: `roundings` values are rounded
/// to the type one after the other on the way from input to output, each having been summed in
/// FLOAT32 from about `terms` products. Independent errors add up as squares.
static double recorded_bound(DType dtype, double roundings, double terms) {
    double per_op = case_unit(dtype) + sqrt(terms) * case_unit(FLOAT32);
    return sqrt(roundings) * per_op;
}

/// Compares, and prints the error beside the bound.
static void recorded_expect(const char *name, const char *part, const Tensor *got,
                            const Tensor *want, double bound) {
    if (!same_shape(got, want))
        fail_msg("%s/%s is %s, expected %s", name, part, tensor_describe(got),
                 tensor_describe(want));
    double error = case_relative_error(got, want);
    printf("# %s/%s %s: relative error %.2g (bound %.2g)\n", name, part, dtype_name(got->dtype),
           error, bound);
    if (!(error <= bound)) fail_msg("%s/%s: relative error %.3g > %.3g", name, part, error, bound);
}

/// Puts into the temporary folder the published config.json of Stable Diffusion v1.5's `part` and,
/// in place of its weights, those of another model. False if the published files are not at hand.
static bool recorded_published_config(const char *part) {
    const char *shared = getenv("DIFFLMM_SHARED_DATA");
    char config[1024];
    snprintf(config, sizeof config, "%s/public/sd/stable-diffusion-v1-5/%s/config.json",
             shared ? shared : SOURCE_DIR "/../shared/data", part);
    if (access(config, R_OK) != 0) {
        printf("# %s is not there: skipped\n", config);
        return false;
    }
    assert_int_equal(symlink(config, in_folder("config.json")), 0);
    assert_int_equal(
        symlink(recorded_path("clip_vision/model.safetensors"), in_folder("model.safetensors")), 0);
    return true;
}

#pragma GCC diagnostic pop
