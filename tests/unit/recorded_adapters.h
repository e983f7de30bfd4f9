// What the tests of published adapters and of exports share: the recorded models, and what a
// refusal says.
#pragma once
#include "tests/unit/recorded.h"

#include "checkpoints/torch/torch_archive.h"
#include "models/adapters.h"
#include "models/initialization.h"

#define ADAPTERS RECORDED_FOLDER "adapters/"

static Device *device;

static inline int open_device(void **state) {
    (void)state;
    device = ops_cpu_open(1);
    return 0;
}

/// The adapters that record_adapters.py makes.
static const AdapterOptions recorded_sizes = {.kind = ADAPTERS_DIFFLMM,
                                              .implicit_captioner = true,
                                              .positional_encodings = true,
                                              .clip_concat = true,
                                              .num_tokens = 4,
                                              .clip_width = 6,
                                              .context_width = 5,
                                              .unet_width = 7,
                                              .llm_width = 8,
                                              .positional_encoding_std = 1,
                                              .seed = 3};

/// LoRA of rank 2 on q_proj and down_proj of a Llama of that size, values drawn.
static inline void add_lora(ParameterSet *parameters, int layers, int hidden, int intermediate) {
    for (int layer = 0; layer < layers; layer++)
        for (int m = 0; m < 2; m++) {
            int in = m ? intermediate : hidden;
            for (int letter = 0; letter < 2; letter++) {
                char name[128];
                snprintf(name, sizeof name, "base_model.model.model.layers.%d.%s.lora_%c.weight",
                         layer, m ? "mlp.down_proj" : "self_attn.q_proj", letter ? 'B' : 'A');
                int64_t shape[] = {letter ? hidden : 2, letter ? 2 : in};
                Tensor *x = parameters_add(parameters, name, GROUP_LORA, device, 2, shape);
                initialize_normal(x, 0.3, (uint64_t)layer);
            }
        }
}

static inline void expect_message(const Error *error, const char *file, const char *const says[3]) {
    if (!strstr(error->message, file)) fail_msg("'%s' does not name %s", error->message, file);
    for (int k = 0; k < 3 && says[k]; k++)
        if (!strstr(error->message, says[k]))
            fail_msg("'%s' does not say \"%s\"", error->message, says[k]);
}

static inline TorchArchive *open_archive(const char *path) {
    Error error = {0};
    TorchArchive *archive = torch_archive_open(path, &error);
    if (!archive || !torch_archive_verify(archive, &error)) fail_msg("%s", error.message);
    return archive;
}

static inline char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = checked_malloc(*size + 1);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}
