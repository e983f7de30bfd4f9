// rooms: checkpoints tiny_world data autograd
// The program as a user meets it: what each mistake answers, and that it leaves nothing behind;
// evaluation, grounding and features on the tiny world.
#include "checkpoints/safetensors.h"
#include "data/tiny/world.h"
#include "tests/unit/run_program.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int run(const char *arguments) { return run_program(arguments, NULL); }

#define TRAIN                                                                                  \
    "train configs/tiny_stage1.yaml data.train=@/world/train/blip_laion_cc_sbu_558k.json "     \
    "data.image_folder=@/world/train "                                                         \
    "data.eval=null data.cache_features=false training.output_dir=@/run training.max_steps=1 " \
    "training.per_device_train_batch_size=2 "

static bool exists(const char *name) { return access(in_folder(name), F_OK) == 0; }

/// Entries of the folder but for that of a training that had begun: what it wrote stays.
static int count_remains(void) { return files_in_folder() - exists("run/metrics.jsonl"); }

typedef struct Mistake {
    const char *arguments;
    int exit_code;
    /// parts of the message
    const char *says[3];
} Mistake;

static void every_mistake_is_answered_by_one_clear_message(void **state) {
    (void)state;
    write_text("empty.json", "[]");
    write_text("broken.json", "[{\"id\": \"a\", ");
    write_text("cut.json", "{\"images\": [{\"id\": 1, ");
    write_text("ghost.json", "[{\"id\": \"g\", \"image\": \"ghost.png\", \"conversations\": "
                             "[{\"from\": \"human\", \"value\": \"<image>\"}, "
                             "{\"from\": \"gpt\", \"value\": \"a\"}]}]");
    write_text("notimage.png", "this is text");
    write_text("notimage.json", "[{\"id\": \"n\", \"image\": \"notimage.png\", \"conversations\": "
                                "[{\"from\": \"human\", \"value\": \"<image>\"}, "
                                "{\"from\": \"gpt\", \"value\": \"a\"}]}]");
    write_text("misspelt.yaml", "training:\n  learning_rat: 1e-3\n");
    write_text("wrongtype.yaml", "model:\n  timestep: soon\n");
    write_text("broken.yaml", "model: [\n");
    write_text("absent.json", "{\"images\": [{\"id\": 1, \"file_name\": \"a.jpg\", \"height\": 4, "
                              "\"width\": 4}], \"categories\": [{\"id\": 1, \"name\": "
                              "\"ring\"}], \"annotations\": [{\"id\": 1, \"image_id\": 2, "
                              "\"category_id\": 1, \"segmentation\": [[0, 0, 1, 0, 1, 1]]}]}");
    write_text("unannotated.json",
               "{\"images\": [{\"id\": 1, \"file_name\": \"a.jpg\", \"height\": 4, "
               "\"width\": 4}], \"categories\": [{\"id\": 1, \"name\": "
               "\"ring\"}]}");
    const Mistake mistakes[] = {
        {"", 2, {"usage"}},
        {"trian x", 2, {"'trian'", "did you mean 'train'"}},
        {"train", 2, {"CONFIG is missing: difflmm train CONFIG"}},
        {"train configs/tiny_stage1.yaml --proceses 2", 2, {"--proceses", "'--processes'"}},
        {"train configs/tiny_stage1.yaml --processes=0", 2, {"--processes", "1 to 65536", "'0'"}},
        {"train configs/tiny_stage1.yaml fast", 2, {"no place for 'fast'", "section.key=value"}},
        {"train @/none.yaml", 2, {"none.yaml"}},
        {"train @/misspelt.yaml", 2, {"misspelt.yaml:2:3", "learning_rate"}},
        {"train @/wrongtype.yaml", 2, {"wrongtype.yaml:2:13", "timestep", "integer"}},
        {"train @/broken.yaml", 2, {"broken.yaml"}},
        {"train configs/tiny_stage1.yaml training.max_stepz=3", 2, {"max_stepz", "max_steps"}},
        {"train configs/tiny_stage1.yaml data.train=null", 2, {"data.train", "missing"}},
        {TRAIN "data.train=@/none.json", 1, {"none.json"}},
        {TRAIN "data.train=@/empty.json", 1, {"empty.json"}},
        {TRAIN "data.train=@/broken.json", 1, {"broken.json:1"}},
        {TRAIN "data.train=@/ghost.json", 1, {"ghost.json", "'g'", "ghost.png"}},
        {TRAIN "data.train=@/notimage.json data.image_folder=@", 1, {"notimage.png"}},
        {TRAIN "model.llm=@/none", 1, {"none"}},
        {TRAIN "model.llm=@/cut", 1, {"cut/model.safetensors"}},
        {TRAIN "model.vision_tower=checkpoints/tiny/llm", 1, {"checkpoints/tiny/llm"}},
        {TRAIN "training.output_dir=/proc/none", 1, {"/proc"}},
        {TRAIN "training.output_dir=@/empty.json", 1, {"empty.json is a file, not a folder"}},
        {TRAIN "training.output_dir=@/empty.json/run", 1, {"empty.json is a file, not a folder"}},
        {TRAIN "lora.lora_enable=true lora.target_modules=[]", 2, {"lora.target_modules", "empty"}},
        {"plan configs/tiny_stage2.yaml lora.target_modules=[]",
         2,
         {"lora.target_modules", "empty"}},
        {TRAIN "model.adapters=@/none", 1, {"model.adapters", "none"}},
        {TRAIN "training.resume=@/empty.json", 1, {"empty.json"}},
        {TRAIN "model.timestep=1000", 2, {"command line: model.timestep", "0 to 999"}},
        {TRAIN "data.image_size=100", 2, {"command line: data.image_size", "set image_size to"}},
        {TRAIN "training.max_steps=-1 training.num_train_epochs=1e12",
         2,
         {"command line: training.num_train_epochs", "2147483647"}},
        {TRAIN "training.device=cuda", 2, {"training.device", "CUDA"}},
        {"eval configs/tiny_eval.yaml eval.output_dir=@/e eval.annotations=@/absent.json",
         1,
         {"absent.json", "annotation 0"}},
        {"eval configs/tiny_eval.yaml eval.output_dir=@/e eval.annotations=@/unannotated.json",
         1,
         {"unannotated.json", "none of the 1 images has an annotation"}},
        {"eval configs/tiny_eval.yaml eval.output_dir=@/e eval.checkpoint=null "
         "eval.annotations=@/world/test/instances.json "
         "eval.image_folder=@/world/test/images data.model_max_length=64",
         2,
         {"data.model_max_length", "an image alone takes 64"}},
        {"eval configs/tiny_eval.yaml eval.output_dir=@/e eval.annotations=@/cut.json",
         1,
         {"cut.json:1"}},
        {"eval configs/tiny_eval.yaml eval.output_dir=@/e "
         "eval.annotations=@/world/test/instances.json eval.image_folder=@ eval.checkpoint=null",
         1,
         {"jpg"}},
        {"eval configs/tiny_eval.yaml eval.output_dir=@/e "
         "eval.annotations=@/world/test/instances.json "
         "eval.image_folder=@/world/test/images eval.layers=[9] eval.checkpoint=null",
         2,
         {"eval.layers", "9"}},
        {"ground configs/tiny_eval.yaml", 2, {"IMAGE is missing: difflmm ground CONFIG IMAGE"}},
        {"ground configs/tiny_eval.yaml @/notimage.png --out @/g --words ring",
         1,
         {"notimage.png"}},
        {"ground configs/tiny_eval.yaml @/notimage.png --out @/g --words ,", 2, {"--words"}},
        {"ground configs/tiny_eval.yaml @/notimage.png --out @/g eval.annotations=null",
         1,
         {"notimage.png"}},
        {"ground configs/tiny_eval.yaml @/notimage.png --out @/g eval.annotations=@/none.json",
         1,
         {"none.json"}},
        {"features configs/tiny_stage1.yaml @/world/none.jpg --out @/f", 1, {"none.jpg"}},
        {"report @/world", 1, {"metrics.jsonl"}},
        {"report @/world @/none --started 5", 2, {"--started is about one run"}},
        {"inspect @/none @/world", 2, {"no place for", "world"}},
        {"inspect @/none --jsn", 2, {"'--jsn'", "'--json'"}},
        {"config training.seed=1", 2, {"difflmm config FILE.yaml training.seed=1"}},
        {"config configs/tiny_stage1.yaml training", 2, {"'training'", "section.key=value"}},
        {"export @/world", 2, {"DIR is missing"}},
        {"export @/world @/out --format zip", 2, {"--format", "safetensors"}},
        {"export @/world @/out", 1, {"world", "checkpoint"}},
        {"export @/none @/out", 1, {"none"}},
        {"plan configs/tiny_stage2.yaml data.train=@/empty.json model.llm=@/cut "
         "model.adapters=@/none",
         2,
         {"data.train", "cut/model.safetensors", "model.adapters"}},
        {"plan configs/tiny_stage1.yaml model.timestep=1000 data.image_size=100",
         2,
         {"command line: model.timestep", "command line: data.image_size"}},
        {"plan configs/tiny_stage1.yaml training.max_steps=-1 training.num_train_epochs=1e12 "
         "data.train=@/world/train/blip_laion_cc_sbu_558k.json data.image_folder=@/world/train",
         2,
         {"command line: training.num_train_epochs"}},
        {"plan configs/tiny_stage1.yaml --processes none", 2, {"--processes", "none"}},
        {"config nothing", 2, {"nothing"}},
        // a stream that is closed is kept from becoming another file
        {"inspect /proc/self/fd/0 <&-", 1, {"none of the formats"}},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        const int before = count_remains();
        int code = run(mistakes[i].arguments);
        bool said = true;
        for (int k = 0; k < 3 && mistakes[i].says[k]; k++)
            said = said && strstr(output, mistakes[i].says[k]);
        if (code != mistakes[i].exit_code || !said)
            fail_msg("difflmm %s\nexit code %d, expected %d\n%s", mistakes[i].arguments, code,
                     mistakes[i].exit_code, output);
        assert_false(exists("run/checkpoint-1.h5"));
        if (count_remains() != before) fail_msg("left behind: difflmm %s", mistakes[i].arguments);
    }
}

static void every_verb_explains_itself(void **state) {
    (void)state;
    const char *verbs[] = {"plan",   "train",   "eval",   "ground", "features",
                           "export", "inspect", "report", "config"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        char arguments[64];
        snprintf(arguments, sizeof arguments, "%s --help", verbs[i]);
        assert_int_equal(run(arguments), 0);
        assert_non_null(strstr(output, "usage: difflmm "));
        assert_non_null(strstr(output, "\nexamples:\n  difflmm "));
    }
    assert_int_equal(run("--version"), 0);
}

static void a_run_that_is_interrupted_saves_and_goes_on(void **state) {
    (void)state;
    char command[2048];
    snprintf(command, sizeof command,
             "cd '%s' && timeout -s TERM --preserve-status -k 60 2 '%s' train "
             "configs/tiny_stage1.yaml data.train=%s/world/train/blip_laion_cc_sbu_558k.json "
             "data.image_folder=%s/world/train data.eval=null data.cache_features=false "
             "training.output_dir=%s/interrupted "
             "training.max_steps=100000 training.save_steps=100000 "
             "training.per_device_train_batch_size=2 2>/dev/null",
             SOURCE_DIR, DIFFLMM_BINARY, temporary_folder, temporary_folder, temporary_folder);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "ls %s/interrupted/checkpoint-*.h5 >/dev/null",
             temporary_folder);
    assert_int_equal(system(command), 0);
}

static json_t *load_results(const char *name) {
    json_t *results = json_load_file(in_folder(name), 0, NULL);
    assert_non_null(results);
    return results;
}

static void training_evaluation_and_report_fit_together(void **state) {
    (void)state;
    assert_int_equal(run(TRAIN "training.output_dir=@/tiny/stage1"), 0);
    assert_true(exists("tiny/stage1/checkpoint-1.h5") && exists("tiny/stage1/metrics.jsonl") &&
                exists("tiny/stage1/config.yaml"));
    assert_int_equal(run(TRAIN "training.output_dir=@/tiny/stage1"), 0);
    assert_non_null(strstr(output, "is trained: step 1 of 1"));
    if (run("eval configs/tiny_eval.yaml lora.lora_enable=false eval.checkpoint=@/tiny/stage1 "
            "eval.annotations=@/world/test/instances.json "
            "eval.image_folder=@/world/test/images eval.output_dir=@/tiny/eval/trained "
            "eval.max_new_tokens=24 eval.pictures=1") != 0)
        fail_msg("%s", output);
    assert_true(exists("tiny/eval/trained/pictures/000.png"));
    json_t *results = load_results("tiny/eval/trained/results.json");
    assert_int_equal(json_integer_value(json_object_get(results, "images")), 6);
    assert_true(exists("tiny/eval/trained/items.jsonl") &&
                exists("tiny/eval/trained/answers/answers-000-000.h5"));
    json_decref(results);
    assert_int_equal(run("report @/tiny"), 0);
    assert_true(exists("tiny/report/index.html"));
    json_t *summary = load_results("tiny/report/summary.json");
    assert_true(json_is_number(json_object_get(json_object_get(summary, "stage1"), "loss_first")));
    assert_true(
        json_is_number(json_object_get(json_object_get(summary, "point_accuracy"), "difflmm")));
    assert_true(json_is_number(
        json_object_get(json_object_get(summary, "point_accuracy"), "random_point")));
    assert_true(json_integer_value(json_object_get(summary, "peak_memory_bytes")) > 0);
    json_decref(summary);
}

static bool same_files(const char *a, const char *b) {
    char command[256];
    snprintf(command, sizeof command, "cmp -s '%s' '%s'", in_folder(a), in_folder(b));
    return system(command) == 0;
}

#define FEATURES(checkpoint, out)                                                           \
    "features configs/tiny_stage2.yaml @/world/test/images/000000500000.jpg --text circle " \
    "\"eval.prompt=<image> What?\" lora.lora_r=4 lora.target_modules=[q_proj] "             \
    "eval.checkpoint=" checkpoint " --out " out

static void exported_weights_are_trained_and_asked_as_the_checkpoint_is(void **state) {
    (void)state;
    assert_int_equal(run(TRAIN "training.output_dir=@/first"), 0);
    assert_int_equal(run("export @/first @/published"), 0);
    assert_true(exists("published/mm_projector.bin") && exists("published/config.json"));
    assert_int_equal(run("export @/first @/published"), 1);
    assert_non_null(strstr(output, "exists already"));
    if (run("train configs/tiny_stage2.yaml data.train=@/world/train/llava_v1_5_mix665k.json "
            "data.image_folder=@/world/train data.eval=null data.cache_features=false "
            "training.max_steps=2 training.per_device_train_batch_size=2 lora.lora_r=4 "
            "lora.target_modules=[q_proj] model.adapters=@/published "
            "training.output_dir=@/second") != 0)
        fail_msg("%s", output);
    assert_int_equal(run("export @/second @/published2"), 0);
    assert_true(exists("published2/non_lora_trainables.bin") &&
                exists("published2/adapter_model.safetensors") &&
                exists("published2/adapter_config.json"));
    assert_int_equal(run("export @/first @/merged --merge"), 1);
    assert_int_equal(run("export @/second @/merged --merge"), 0);
    assert_true(exists("merged/model.safetensors") && exists("merged/tokenizer.model"));
    if (run(FEATURES("@/second", "@/a.safetensors")) != 0) fail_msg("%s", output);
    if (run(FEATURES("@/published2", "@/b.safetensors")) != 0) fail_msg("%s", output);
    assert_true(same_files("a.safetensors", "b.safetensors"));
}

static void grounding_writes_answer_masks_and_picture(void **state) {
    (void)state;
    int code = run("ground configs/tiny_eval.yaml @/world/test/images/000000500000.jpg 'Describe "
                   "the image in detail.' --out @/ground "
                   "--words ring,square,disc,triangle,cross,diamond,star,bar "
                   "lora.lora_enable=false eval.checkpoint=null eval.max_new_tokens=24");
    if (code != 0) fail_msg("%s", output);
    assert_true(exists("ground/overlay.png"));
    assert_true(exists("ground/mask-1.png") && exists("ground/attention-1.png"));
    json_t *answer = load_results("ground/answer.json"), *phrase;
    const char *text = json_string_value(json_object_get(answer, "answer"));
    size_t i;
    assert_string_equal(json_string_value(json_object_get(answer, "segmenter")), "region_growing");
    assert_true(text && json_is_boolean(json_object_get(answer, "ended")));
    assert_true(json_array_size(json_object_get(answer, "phrases")) > 0);
    json_array_foreach(json_object_get(answer, "phrases"), i, phrase) {
        const char *words, *counts;
        int begin, end, column, row, height, width;
        assert_int_equal(json_unpack(phrase, "{s:s, s:i, s:i, s:[i, i], s:{s:[i, i], s:s}}",
                                     "phrase", &words, "begin", &begin, "end", &end, "point",
                                     &column, &row, "mask", "size", &height, &width, "counts",
                                     &counts),
                         0);
        assert_int_equal(strlen(words), end - begin);
        assert_memory_equal(words, text + begin, strlen(words));
        assert_true(height == 128 && width == 128 && column >= 0 && column < 128 && row >= 0 &&
                    row < 128);
    }
    json_decref(answer);
}

static void features_are_a_function_of_the_noise(void **state) {
    (void)state;
    const char *arguments =
        "features configs/tiny_stage1.yaml @/world/test/images/000000500000.jpg --text 'a ring' "
        "model.dtype=float32 --out @/%s %s";
    char first[512];
    Error error;
    snprintf(first, sizeof first, arguments, "drawn.safetensors", "");
    if (run(first) != 0) fail_msg("%s", output);
    float noise[16 * 16 * 4];
    for (int i = 0; i < 1024; i++) noise[i] = 0.01f * (float)(i % 37 - 18);
    const int64_t shape[] = {1, 16, 16, 4};
    SafetensorsTensor tensors[] = {{"vae", ELEMENT_F32, 4, shape, noise},
                                   {"diffusion", ELEMENT_F32, 4, shape, noise}};
    assert_true(safetensors_write(in_folder("noise.safetensors"), tensors, 2, NULL, 0, &error));
    snprintf(first, sizeof first, arguments, "given.safetensors", "--noise @/noise.safetensors");
    if (run(first) != 0) fail_msg("%s", output);
    SafetensorsFile *file = safetensors_open(in_folder("given.safetensors"), &error);
    assert_non_null(file);
    const StoredTensor *latents = safetensors_find(file, "latents"),
                       *noisy = safetensors_find(file, "noisy_latents"),
                       *loss = safetensors_find(file, "loss");
    assert_true(latents && noisy && loss && safetensors_find(file, "logits") &&
                safetensors_find(file, "visual_tokens"));
    // z_t = sqrt(abar) z + sqrt(1 - abar) eps with one abar for all elements: solve it from two
    // elements, check the others
    const float *z = latents->data, *t = noisy->data;
    double signal = 0, part = 0, determinant = (double)z[0] * noise[5] - (double)z[5] * noise[0];
    signal = (t[0] * (double)noise[5] - t[5] * (double)noise[0]) / determinant;
    part = ((double)z[0] * t[5] - (double)z[5] * t[0]) / determinant;
    assert_true(signal * signal + part * part > 0.999 && signal * signal + part * part < 1.001);
    for (int i = 0; i < 1024; i += 13)
        assert_true(fabs(signal * z[i] + part * noise[i] - t[i]) < 1e-3);
    safetensors_close(file);
    write_text("noise.safetensors", "short");
    assert_int_equal(run(first), 1);
    assert_non_null(strstr(output, "noise.safetensors"));
}

static void features_put_the_image_where_the_prompt_has_no_place_for_it(void **state) {
    (void)state;
    const char *arguments =
        "features configs/tiny_stage2.yaml @/world/test/images/000000500000.jpg --text circle "
        "eval.checkpoint=null data.version=%s \"eval.prompt=%s\" --out @/%s";
    static const char *const versions[] = {"vicuna_v1", "plain"};
    for (int i = 0; i < 2; i++) {
        char command[512];
        snprintf(command, sizeof command, arguments, versions[i], "What?", "unmarked.safetensors");
        if (run(command) != 0) fail_msg("%s", output);
        snprintf(command, sizeof command, arguments, versions[i], "<image> What?",
                 "marked.safetensors");
        if (run(command) != 0) fail_msg("%s", output);
        assert_true(same_files("unmarked.safetensors", "marked.safetensors"));
    }
    char command[512];
    snprintf(command, sizeof command, arguments, "vicuna_v1", "What?",
             "short.safetensors data.model_max_length=60");
    assert_int_equal(run(command), 2);
    assert_non_null(strstr(output, "data.model_max_length: of 60 tokens an image alone takes 64"));
}

static int make_world(void **state) {
    Error error = {0};
    char command[600];
    if (make_temporary_folder(state) != 0) return -1;
    WorldOptions options = {.seed = 6, .num_train = 12, .num_test = 6};
    if (!world_write(in_folder("world"), &options, &error)) {
        print_error("%s\n", error.message);
        return -1;
    }
    // a language model whose weights are cut off
    snprintf(command, sizeof command,
             "mkdir %s/cut && cp %s/checkpoints/tiny/llm/* %s/cut/ && truncate -s 100000 "
             "%s/cut/model.safetensors",
             temporary_folder, SOURCE_DIR, temporary_folder, temporary_folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mistake_is_answered_by_one_clear_message),
        cmocka_unit_test(every_verb_explains_itself),
        cmocka_unit_test(a_run_that_is_interrupted_saves_and_goes_on),
        cmocka_unit_test(training_evaluation_and_report_fit_together),
        cmocka_unit_test(exported_weights_are_trained_and_asked_as_the_checkpoint_is),
        cmocka_unit_test(grounding_writes_answer_masks_and_picture),
        cmocka_unit_test(features_are_a_function_of_the_noise),
        cmocka_unit_test(features_put_the_image_where_the_prompt_has_no_place_for_it),
    };
    return cmocka_run_group_tests(tests, make_world, remove_temporary_folder);
}
