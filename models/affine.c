#include "models/affine.h"

#include <stdio.h>

typedef struct Name {
    char text[256];
} Name;

static Name join(const char *name, const char *part) {
    Name joined;
    int length = snprintf(joined.text, sizeof joined.text, "%s.%s", name, part);
    CHECK(length < (int)sizeof joined.text, "tensor name '%s.%s' is too long", name, part);
    return joined;
}

Affine affine_matrix(Weights *weights, const char *name, int out, int in) {
    return (Affine){.weight = weights_matrix(weights, join(name, "weight").text, out, in)};
}

Affine affine_linear(Weights *weights, const char *name, int out, int in) {
    Affine affine = affine_matrix(weights, name, out, in);
    affine.bias = weights_vector(weights, join(name, "bias").text, out);
    return affine;
}

Affine affine_conv(Weights *weights, const char *name, int out, int in, int kernel) {
    return (Affine){
        .weight = weights_conv(weights, join(name, "weight").text, out, in, kernel, kernel),
        .bias = weights_vector(weights, join(name, "bias").text, out),
    };
}

Affine affine_norm(Weights *weights, const char *name, int channels) {
    return (Affine){
        .weight = weights_vector(weights, join(name, "weight").text, channels),
        .bias = weights_vector(weights, join(name, "bias").text, channels),
    };
}

Affine affine_group_norm(Weights *weights, const char *name, int channels, int groups) {
    if (channels % groups != 0)
        weights_fail(weights, "norm_num_groups %d does not divide the %d channels of '%s'", groups,
                     channels, name);
    return affine_norm(weights, name, channels);
}

void affine_release(Affine *affine) {
    tensor_release(affine->weight);
    tensor_release(affine->bias);
    *affine = (Affine){0};
}
