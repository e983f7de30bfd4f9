// Samples; nothing here has a gradient.
#include "ops/kernels.h"
#include "ops/ops.h"

Tensor *gaussian_sample(Tensor *moments, Tensor *noise) {
    CHECK(tensor_columns(moments) == 2 * tensor_columns(noise) &&
              tensor_rows(moments) == tensor_rows(noise) && moments->dtype == FLOAT32 &&
              noise->dtype == FLOAT32,
          "gaussian_sample: moments %s, noise %s", tensor_describe(moments),
          tensor_describe(noise));
    Tensor *y = tensor_like(noise);
    kernels(moments)->gaussian_sample(moments, noise, y);
    return y;
}
