// rooms: checkpoints tiny_world data autograd
// model.projector_width through the whole program: training, resuming, exporting, and what starts
// from what was exported, in both architectures.
#include "checkpoints/weight_file.h"
#include "data/tiny/world.h"
#include "tests/unit/run_program.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { WIDTH = 44, TOKENS = 64, CLIP = 128, CONTEXT = 96, UNET = 96, LLM = 160 };
#define WIDE "model.projector_width=44 "

static const char *const names[] = {"difflmm", "llava"};

/// run_program() of an architecture, whose name '%' in the arguments is.
static int run(int architecture, const char *arguments) {
    return run_program(arguments, names[architecture]);
}

static void succeed(int architecture, const char *arguments) {
    if (run(architecture, arguments) != 0) fail_msg("difflmm %s\n%s", arguments, output);
}

/// Exits with that code and says all of that.
static void fail_with(int architecture, int code, const char *arguments, const char *const *says) {
    int got = run(architecture, arguments);
    if (got != code) fail_msg("difflmm %s: exit code %d\n%s", arguments, got, output);
    for (; *says; says++)
        if (!strstr(output, *says)) fail_msg("\"%s\" is not said:\n%s", *says, output);
}
#define SAYS(...) ((const char *const[]){__VA_ARGS__, NULL})

#define DATA                                                       \
    "model.architecture=% data.image_folder=@/world/train "        \
    "data.eval=null data.cache_features=false training.threads=2 " \
    "training.per_device_train_batch_size=2 training.tensorboard=false "
#define STAGE1                                                                      \
    " configs/tiny_stage1.yaml " DATA "training.save_steps=1 training.max_steps=3 " \
    "training.save_total_limit=0 data.train=@/world/train/blip_laion_cc_sbu_558k.json "
#define STAGE2                                                              \
    " configs/tiny_stage2.yaml " DATA "training.max_steps=1 lora.lora_r=4 " \
    "lora.target_modules=[q_proj] data.train=@/world/train/llava_v1_5_mix665k.json "
#define FEATURES                                                                     \
    "features configs/tiny_stage1.yaml @/world/test/images/000000500000.jpg --text " \
    "circle model.architecture=% \"eval.prompt=<image> What?\" lora.lora_enable=false "

static bool same_files(const char *a, const char *b) {
    char command[256];
    snprintf(command, sizeof command, "cmp -s '%s' '%s'", in_folder(a), in_folder(b));
    return system(command) == 0;
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void shell(const char *format, ...) {
    char inner[512], command[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(inner, sizeof inner, format, arguments);
    va_end(arguments);
    snprintf(command, sizeof command, "cd '%s' && %s", temporary_folder, inner);
    assert_int_equal(system(command), 0);
}

static bool file_has(const char *name, const char *text) {
    char command[512];
    snprintf(command, sizeof command, "grep -q '%s' '%s'", text, in_folder(name));
    return system(command) == 0;
}

static long linear_count(long in, long out) { return out * in + out; }

/// What is trained beside the projector's two layers.
static long others(int architecture) {
    if (architecture == 1) return 0;
    return linear_count(CLIP, CONTEXT) + linear_count(CONTEXT, CONTEXT) + TOKENS * CONTEXT +
           2 * UNET + linear_count(UNET, LLM / 4) + TOKENS * LLM;
}

static void the_plan_counts_what_the_width_says(void **state) {
    (void)state;
    for (int a = 0; a < 2; a++) {
        long in = a ? CLIP : CLIP + LLM / 4;
        succeed(a, "plan" STAGE1 WIDE "training.output_dir=@/none --json");
        json_t *plan = json_loads(strchr(output, '{'), JSON_DISABLE_EOF_CHECK, NULL);
        json_t *parts = json_object_get(plan, "parameters");
        long trained = 0;
        size_t i;
        json_t *part;
        json_array_foreach(parts, i, part)
            if (json_is_true(json_object_get(part, "trained")))
                trained += json_integer_value(json_object_get(part, "parameters"));
        json_decref(plan);
        assert_int_equal(trained, others(a) + linear_count(in, WIDTH) + linear_count(WIDTH, LLM));
    }
}

static void a_run_of_another_width_resumes_to_the_same_bits_and_to_no_other(void **state) {
    (void)state;
    for (int a = 0; a < 2; a++) {
        succeed(a, "train" STAGE1 WIDE "training.output_dir=@/%-whole");
        shell("mkdir %s-resumed && cp %s-whole/checkpoint-1.h5 %s-resumed/", names[a], names[a],
              names[a]);
        fail_with(a, 2, "train" STAGE1 "training.output_dir=@/%-resumed",
                  SAYS("model.projector_width was 44, is auto (another run)",
                       "model.projector_width: 1 of the settings"));
        fail_with(a, 1,
                  "train" STAGE1 "training.accept_changes=true training.output_dir=@/%-resumed",
                  SAYS("checkpoint-1.h5: the projector is 44 wide between its two layers, that of "
                       "the configured model 160; set model.projector_width to 44"));
        succeed(a, "train" STAGE1 WIDE "training.output_dir=@/%-resumed");
        succeed(a, "export @/%-whole @/%-published --format safetensors");
        succeed(a, "export @/%-resumed @/%-again --format safetensors");
        char one[64], other[64];
        snprintf(one, sizeof one, "%s-published/mm_projector.safetensors", names[a]);
        snprintf(other, sizeof other, "%s-again/mm_projector.safetensors", names[a]);
        assert_true(same_files(one, other));
    }
}

static void an_export_says_what_its_reader_needs(void **state) {
    (void)state;
    for (int a = 0; a < 2; a++) {
        char path[64], says[128];
        long in = a ? CLIP : CLIP + LLM / 4;
        succeed(a, "export @/%-whole @/%-bin");
        snprintf(says, sizeof says, "Linear(%ld, 44) and Linear(44, 160)", in);
        assert_non_null(strstr(output, says));
        snprintf(path, sizeof path, "%s-bin/config.json", names[a]);
        assert_true(file_has(path, "\"projector_width\": 44"));
        // DiffLMM's, by which its reader tells CLIP's width from the U-Net's share.
        if (a == 0) assert_true(file_has(path, "\"mm_vision_sd_clip_proj_in\": 128"));
        Error error = {0};
        snprintf(path, sizeof path, "%s-bin/mm_projector.bin", names[a]);
        WeightFile *file = weight_file_open(in_folder(path), &error);
        if (!file) fail_msg("%s", error.message);
        weight_file_close(file);
    }
    succeed(1, "train" STAGE1 "training.max_steps=1 training.output_dir=@/usual");
    succeed(1, "export @/usual @/usual-bin");
    assert_null(strstr(output, "wide between its two layers"));
    assert_false(file_has("usual-bin/config.json", "projector_width"));
}

static void stage_2_starts_from_a_width_that_it_is_told_or_finds(void **state) {
    (void)state;
    for (int a = 0; a < 2; a++) {
        char path[64];
        fail_with(a, 1, "train" STAGE2 "model.adapters=@/%-whole training.output_dir=@/%-refused",
                  SAYS("model.adapters: ", "the projector is 44 wide", "configured model 160",
                       "model.projector_width"));
        fail_with(a, 1,
                  "train" STAGE2 "model.projector_width=45 model.adapters=@/%-bin "
                  "training.output_dir=@/%-refused",
                  SAYS("model.adapters: ", "the projector is 44 wide", "configured model 45",
                       "model.projector_width"));
        fail_with(a, 2, "plan" STAGE2 "model.adapters=@/%-whole training.output_dir=@/%-refused",
                  SAYS("the projector is 44 wide", "configured model 160"));
        succeed(a, "plan" STAGE2 "model.adapters=@/%-bin training.output_dir=@/%-found");
        succeed(a, "train" STAGE2 "model.adapters=@/%-bin training.output_dir=@/%-found");
        succeed(a, "train" STAGE2 WIDE "model.adapters=@/%-whole training.output_dir=@/%-told");
        snprintf(path, sizeof path, "%s-found/config.yaml", names[a]);
        assert_true(file_has(path, "projector_width: 44"));
        succeed(a, "export @/%-found @/%-found-bin");
        succeed(a, "export @/%-told @/%-told-bin");
        char one[64], other[64];
        snprintf(one, sizeof one, "%s-found-bin/non_lora_trainables.bin", names[a]);
        snprintf(other, sizeof other, "%s-told-bin/non_lora_trainables.bin", names[a]);
        assert_true(same_files(one, other));
    }
}

static void published_adapters_are_asked_as_their_checkpoint_is(void **state) {
    (void)state;
    for (int a = 0; a < 2; a++) {
        fail_with(a, 1, FEATURES "eval.checkpoint=@/%-whole --out @/none.safetensors",
                  SAYS("eval.checkpoint: ", "the projector is 44 wide", "configured model 160"));
        succeed(a, FEATURES WIDE "eval.checkpoint=@/%-whole --out @/a.safetensors");
        succeed(a, FEATURES "eval.checkpoint=@/%-bin --out @/b.safetensors");
        assert_true(same_files("a.safetensors", "b.safetensors"));
        fail_with(a, 1,
                  FEATURES
                  "model.projector_width=160 eval.checkpoint=@/%-bin --out @/c.safetensors",
                  SAYS("eval.checkpoint: ", "the projector is 44 wide", "configured model 160"));
        shell("rm a.safetensors b.safetensors");
    }
}

static void a_merged_model_keeps_the_width(void **state) {
    (void)state;
    for (int a = 0; a < 2; a++) {
        char path[64];
        succeed(a, "export @/%-told @/%-merged --merge");
        assert_non_null(strstr(output, "wide between its two layers"));
        snprintf(path, sizeof path, "%s-merged/config.json", names[a]);
        assert_true(file_has(path, "\"projector_width\": 44"));
        succeed(a, FEATURES "model.llm=@/%-merged eval.checkpoint=@/%-merged/mm_projector.bin "
                            "--out @/merged.safetensors");
        shell("rm merged.safetensors");
    }
}

static int make_world(void **state) {
    Error error = {0};
    if (make_temporary_folder(state) != 0) return -1;
    WorldOptions options = {.seed = 6, .num_train = 12, .num_test = 1};
    if (world_write(in_folder("world"), &options, &error)) return 0;
    print_error("%s\n", error.message);
    return -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan_counts_what_the_width_says),
        // From here on each uses what those before it left.
        cmocka_unit_test(a_run_of_another_width_resumes_to_the_same_bits_and_to_no_other),
        cmocka_unit_test(an_export_says_what_its_reader_needs),
        cmocka_unit_test(stage_2_starts_from_a_width_that_it_is_told_or_finds),
        cmocka_unit_test(published_adapters_are_asked_as_their_checkpoint_is),
        cmocka_unit_test(a_merged_model_keeps_the_width),
    };
    return cmocka_run_group_tests(tests, make_world, remove_temporary_folder);
}
