// rooms: train eval models ops checkpoints data autograd
// The section `sweep`: which cells it makes, what they share, and what is wrong with it.
#include "tests/unit/sweep_sections.h"

#include <sys/stat.h>

// ---- cells

static void every_combination_is_a_cell_the_last_key_moving_first(void **state) {
    (void)state;
    makes("", "all");
    makes("  variants: {as_is: {}, off: {model.clip_concat: false}}\n", "as_is off");
    makes("  grid: {eval.normalise: [true, false], model.timestep: [0, 100]}\n",
          "normalise=true,timestep=0 normalise=true,timestep=100 normalise=false,timestep=0 "
          "normalise=false,timestep=100");
    makes("  variants: {a: {}, b: {}}\n  grid: {model.timestep: [0, 9]}\n"
          "  zip: {training.seed: [1, 2], eval.seed: [1, 2]}\n",
          "a,timestep=0,seed=1 a,timestep=0,seed=2 a,timestep=9,seed=1 a,timestep=9,seed=2 "
          "b,timestep=0,seed=1 b,timestep=0,seed=2 b,timestep=9,seed=1 b,timestep=9,seed=2");
}

static void values_of_keys_that_are_lists_are_lists(void **state) {
    (void)state;
    makes("  grid:\n    eval.layers: [[0], [0, 1], []]\n", "layers=[0] layers=[0+1] layers=[]");
    refused("  grid:\n    eval.layers: [0, 1]\n", "4:19", "are lists themselves");
    refused("  grid:\n    eval.layers: [[0], [a]]\n", "4:25", "expected a list of integers");
}

static void keys_of_one_name_are_told_apart_and_paths_are_short(void **state) {
    (void)state;
    makes("  grid: {training.seed: [1], eval.seed: [2]}\n", "training.seed=1,eval.seed=2");
    makes("  grid: {eval.bert: [a/b, a/c]}\n", "bert=b bert=c");
    makes("  grid: {eval.bert: [a/b, c/b]}\n", "bert=a/b bert=c/b");
    makes("  grid: {eval.prompt: [null, 'null']}\n", "prompt=null prompt=\"null\"");
    makes("  zip: {eval.seed: [1, 1], eval.samples: [3, 4]}\n",
          "seed=1,samples=3 seed=1,samples=4");
}

static void a_line_is_a_cell_without_its_seeds(void **state) {
    (void)state;
    Error error = {0};
    SweepSection *section =
        section_of("  variants: {a: {}, b: {}}\n  zip: {eval.seed: [1, 2]}\n  base: b\n", &error);
    SweepCells *cells = sweep_cells_make(section, &error);
    assert_string_equal(cells->list[3].name, "b,seed=2");
    assert_string_equal(cells->list[3].line, "b");
    assert_string_equal(cells->base, "b");
    sweep_cells_free(cells);
    sweep_section_free(section);
}

static void a_pattern_names_checkpoints_by_their_numbers(void **state) {
    (void)state;
    char lines[512];
    assert_int_equal(mkdir(in_folder("run"), 0777), 0);
    write("run/checkpoint-500.h5", "");
    write("run/checkpoint-1000.h5", "");
    write("run/checkpoint-best.h5", "");
    write("run/config.yaml", "");
    snprintf(lines, sizeof lines, "  grid: {eval.checkpoint: %s}\n", in_folder("run/*"));
    makes(lines, "checkpoint=checkpoint-500.h5 checkpoint=checkpoint-1000.h5");
    snprintf(lines, sizeof lines, "  grid: {eval.checkpoint: [null, %s]}\n", in_folder("r*"));
    makes(lines, "checkpoint=null checkpoint=run");
    refused("  grid: {eval.checkpoint: nowhere/*}\n", "3:27", "no checkpoint is named by");
}

// ---- what is wrong

static void what_is_wrong_is_told_with_its_place(void **state) {
    (void)state;
    refused("  grids: {}\n", "3:3", "did you mean 'grid'?");
    refused("  grid: {eval.layer: [[0]]}\n", "3:10", "did you mean 'eval.layers'?");
    refused("  grid: {eval.normalise: [true, maybe]}\n", "3:33", "expected true or false");
    refused("  grid: {model.timestep: [0, 0]}\n", "3:30", "is there twice");
    refused("  grid: {model.timestep: []}\n", "3:10", "has no values");
    refused("  grid: {model.timestep: [0], model.timestep: [1]}\n", "3:31", "already given");
    refused("  zip: {training.seed: [1, 2], eval.seed: [1]}\n", "3:32", "go together");
    refused("  variants: {a: {eval.seed: 1}}\n  grid: {eval.seed: [1, 2]}\n", "3:18",
            "set by variant 'a' and varied in line 4");
    refused("  variants: {a: {}, a: {}}\n", "3:21", "already given");
    refused("  variants: {'a,b': {}}\n", "3:14", "without , = and /");
    refused("  variants: {a: {eval.output_dir: x}}\n", "3:18", "the sweep's own");
    refused("  base: c\n  variants: {a: {}, b: {}}\n", "3:3", "the first cell is 'a'");
    refused("  train: {a: b}\n", "3:10", "is no text");
    refused("  grid: [1]\n", "3:9", "is no mapping of keys to lists of values");
    refused("  output_dir: again\n", "3:3", "already given");
    refused("  grid: {eval.normalise: [&a true]}\n", "3:27", "anchors and aliases");
    refused("  zip: {eval.seed: [1, 1]}\n", "", "two cells are called 'seed=1'");
}

static void a_file_without_the_section_is_told_so(void **state) {
    (void)state;
    Error error = {0};
    assert_null(sweep_section_read(write("c.yaml", "model:\n  llm: a\n"), NULL, 0, &error));
    assert_non_null(strstr(error.message, "has no section 'sweep'"));
    assert_null(sweep_section_read(write("c.yaml", "sweep:\n  base: a\n"), NULL, 0, &error));
    assert_non_null(strstr(error.message, "sweep.output_dir is missing"));
}

static void the_command_line_says_where_it_goes(void **state) {
    (void)state;
    Error error = {0};
    const char *path = write("c.yaml", "sweep:\n  output_dir: out\n");
    const char *settings[] = {"sweep.output_dir=there", "eval.seed=1"};
    SweepSection *section = sweep_section_read(path, settings, 2, &error);
    assert_string_equal(section->output_dir, "there");
    sweep_section_free(section);
    static const char *const BAD[][2] = {{"sweep.output_dir=", "is missing"},
                                         {"sweep.output_dir=\xff", "is not UTF-8"},
                                         {"sweep.output_dir=~nobody-of-that-name/x", "no"}};
    for (int i = 0; i < 3; i++) {
        assert_null(sweep_section_read(path, &BAD[i][0], 1, &error));
        assert_non_null(strstr(error.message, BAD[i][1]));
    }
    settings[0] = "sweep.grid={}";
    assert_null(sweep_section_read(path, settings, 1, &error));
    assert_non_null(strstr(error.message, "command line: sweep.grid is set in the file"));
}

// ---- what cells are configured as

static Config *config_of(SweepSection *section, SweepCells *cells, int cell, bool is_stage,
                         const char *setting, Error *error) {
    return sweep_cell_config(section, cells, &cells->list[cell], section->path, is_stage, &setting,
                             setting ? 1 : 0, error);
}

static void a_cell_is_the_file_then_settings_then_command_line_then_its_own(void **state) {
    (void)state;
    Error error = {0};
    SweepSection *section = section_of("  settings: {training.learning_rate: 3e-3, eval.seed: 5}\n"
                                       "  grid: {eval.prompt: ['null', null, \"a: 'b'\"]}\n"
                                       "training:\n  learning_rate: 1e-3\n  max_steps: 7\n",
                                       &error);
    SweepCells *cells = sweep_cells_make(section, &error);
    Config *config = config_of(section, cells, 0, false, "eval.seed=6", &error);
    assert_string_equal(config->eval.prompt, "null");
    assert_true(config->training.learning_rate == 3e-3);
    assert_true(config->training.mm_projector_lr == 3e-3);
    assert_int_equal(config->training.max_steps, 7);
    assert_int_equal(config->eval.seed, 6);
    config_free(config);
    config = config_of(section, cells, 1, false, NULL, &error);
    assert_null(config->eval.prompt);
    assert_int_equal(config->eval.seed, 5);
    config_free(config);
    config = config_of(section, cells, 2, false, NULL, &error);
    assert_string_equal(config->eval.prompt, "a: 'b'");
    config_free(config);
    config = config_of(section, cells, 2, true, NULL, &error);
    assert_null(config->eval.prompt); // a training has no questions
    config_free(config);
    assert_null(config_of(section, cells, 0, false, "eval.prompt=x", &error));
    assert_non_null(strstr(error.message, "command line: eval.prompt is varied by the sweep"));
    sweep_cells_free(cells);
    sweep_section_free(section);
}

// ---- what cells share

/// So many questions and judgements, and these maps are kept of the first.
static void shares(const char *lines, int asked, int judged, KeptMaps keep) {
    Whole whole = whole_of(lines);
    for (int c = 0; c < whole.cells->count; c++)
        if (whole.jobs.refused[c]) fail_msg("%s", whole.jobs.refused[c]);
    assert_int_equal(count_of(&whole, SWEEP_ASK), asked);
    assert_int_equal(count_of(&whole, SWEEP_JUDGE), judged);
    for (int i = whole.jobs.count - 1; i >= 0; i--)
        if (whole.jobs.list[i].kind == SWEEP_ASK)
            assert_int_equal(whole.jobs.list[i].config->eval.keep, keep);
    whole_free(&whole);
}

static void cells_that_differ_behind_the_asking_share_their_answers(void **state) {
    (void)state;
    shares("  grid: {eval.normalise: [true, false], eval.aggregate: [mean, max], "
           "eval.segmenter: [truth, none]}\n",
           1, 8, KEEP_MEAN);
    shares("  grid: {eval.layers: [[0], [1], []]}\n", 1, 3, KEEP_LAYERS);
    shares("  grid: {eval.layers: [[0], [1]], eval.heads: [[0], [1]]}\n", 1, 4, KEEP_HEADS);
    shares("  settings: {eval.layers: [1], eval.keep: heads}\n", 1, 1, KEEP_HEADS);
    shares("  grid: {eval.query: [own, producing]}\n", 2, 2, KEEP_MEAN);
    shares("  grid: {eval.prompt: [What?, Where?], eval.normalise: [true, false]}\n", 2, 4,
           KEEP_MEAN);
    shares("  grid: {model.timestep: [0, 500], model.ensemble_size: [1, 4]}\n", 4, 4, KEEP_MEAN);
    shares("  variants: {a: {}, b: {}}\n", 1, 1, KEEP_MEAN);
}

static void of_cells_with_other_numbers_of_images_the_most_are_asked(void **state) {
    (void)state;
    Whole whole = whole_of("  grid: {eval.samples: [3, 8, 5]}\n");
    assert_int_equal(count_of(&whole, SWEEP_ASK), 1);
    for (int i = 0; i < whole.jobs.count; i++)
        if (whole.jobs.list[i].kind == SWEEP_ASK)
            assert_int_equal(whole.jobs.list[i].config->eval.samples, 8);
    whole_free(&whole);
}

static void a_job_is_what_it_is_under_any_name_in_any_order(void **state) {
    (void)state;
    Whole a = whole_of("  variants: {x: {}, y: {eval.normalise: false}}\n"),
          b = whole_of("  variants: {z: {eval.normalise: false}, other: {}}\n");
    for (int c = 0; c < 2; c++)
        assert_string_equal(a.jobs.list[a.jobs.of_cell[c]].hash,
                            b.jobs.list[b.jobs.of_cell[1 - c]].hash);
    assert_string_not_equal(a.jobs.list[a.jobs.of_cell[0]].hash,
                            a.jobs.list[a.jobs.of_cell[1]].hash);
    whole_free(&a);
    whole_free(&b);
}

static void a_checkpoint_that_is_missing_is_its_cells_failure_alone(void **state) {
    (void)state;
    Whole whole = whole_of("  grid: {eval.checkpoint: [null, nowhere.h5]}\n");
    assert_null(whole.jobs.refused[0]);
    assert_non_null(strstr(whole.jobs.refused[1], "nowhere.h5"));
    whole_free(&whole);
}

static void trainings_are_shared_and_go_on_from_each_other(void **state) {
    (void)state;
    char lines[2048];
    char stage[512];
    const char *train = write("train.json", "[]");
    snprintf(stage, sizeof stage,
             "model: {sd: %s/sd, vision_tower: %s/clip, llm: %s/llm}\n"
             "data: {train: %s, image_folder: images}\n",
             TINY, TINY, TINY, train);
    const char *first = strdup(write("one.yaml", stage));
    snprintf(lines, sizeof lines,
             "  train: [%s, %s]\n"
             "  variants: {a: {}, b: {eval.normalise: false}, c: {lora.lora_r: 8}, "
             "d: {eval.checkpoint: null}, e: {training.max_steps: 3}}\n",
             first, first);
    Whole whole = whole_of(lines);
    // LoRA is off: its rank makes no other training; the second stage is another one than the first
    assert_int_equal(count_of(&whole, SWEEP_TRAIN), 4);
    SweepJob *judging = &whole.jobs.list[whole.jobs.of_cell[0]],
             *asking = &whole.jobs.list[judging->after], *second = &whole.jobs.list[asking->after];
    assert_string_equal(asking->config->eval.checkpoint, second->product);
    assert_string_equal(second->config->adapters, whole.jobs.list[second->after].product);
    SweepJob *untrained = &whole.jobs.list[whole.jobs.list[whole.jobs.of_cell[3]].after];
    assert_int_equal(untrained->after, -1);
    whole_free(&whole);
    free((char *)first);
}

/// Of a training with these settings alone.
static void hash_of_settings(const char *const *settings, int count, char hash[17]) {
    Error error = {0};
    Config *config = config_load(NULL, settings, count, &error);
    SweepKnown known = {0};
    json_t *identity = config ? sweep_training_identity(&known, config, NULL, &error) : NULL;
    if (!identity) fail_msg("%s", error.message);
    sweep_hash(identity, hash);
    json_decref(identity);
    sweep_known_free(&known);
    config_free(config);
}

static void hash_of_data(const char *data, char hash[17]) {
    char *setting = format_string("data.train=%s", data);
    hash_of_settings((const char *const[]){setting}, 1, hash);
    free(setting);
}

static void clip_alone_does_not_depend_on_a_diffusion_model(void **state) {
    (void)state;
    char hashes[2][2][17];
    for (int llava = 0; llava < 2; llava++) {
        for (int other = 0; other < 2; other++) {
            char *sd = format_string("model.sd=" SOURCE_DIR "/checkpoints/tiny/sd/%s",
                                     other ? "vae" : "unet");
            const char *const settings[] = {
                llava ? "model.architecture=llava" : "model.architecture=difflmm", sd};
            hash_of_settings(settings, 2, hashes[llava][other]);
            free(sd);
        }
    }
    assert_string_not_equal(hashes[0][0], hashes[0][1]);
    assert_string_equal(hashes[1][0], hashes[1][1]);
    assert_string_not_equal(hashes[0][0], hashes[1][0]);
}

static void a_list_of_data_files_counts_by_contents_folders_and_weights(void **state) {
    (void)state;
    char *a = format_string("%s", write("a.json", "[1]")),
         *b = format_string("%s", write("b.json", "[1]")),
         *c = format_string("%s", write("c.json", "[2]"));
    const struct {
        const char *format, *first, *second;
        bool is_same;
    } cases[] = {
        {"[{path: %s, image_folder: i, weight: 2}, %s]", a, b, true},
        {"[{path: %s, image_folder: i, weight: 2}, %s]", b, a, true},
        {"[{path: %s, image_folder: i, weight: 2}, %s]", a, c, false},
        {"[{path: %s, image_folder: i, weight: 3}, %s]", a, b, false},
        {"[{path: %s, image_folder: k, weight: 2}, %s]", a, b, false},
    };
    char usual[17], hash[17];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char data[1024];
        snprintf(data, sizeof data, cases[i].format, cases[i].first, cases[i].second);
        hash_of_data(data, i ? hash : usual);
        if (i) assert_int_equal(!strcmp(hash, usual), cases[i].is_same);
    }
    hash_of_data(a, usual);
    hash_of_data(b, hash);
    assert_string_equal(hash, usual);
    hash_of_data(c, hash);
    assert_string_not_equal(hash, usual);
    free(a);
    free(b);
    free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clip_alone_does_not_depend_on_a_diffusion_model),
        IN_FOLDER(a_list_of_data_files_counts_by_contents_folders_and_weights),
        IN_FOLDER(every_combination_is_a_cell_the_last_key_moving_first),
        IN_FOLDER(values_of_keys_that_are_lists_are_lists),
        IN_FOLDER(keys_of_one_name_are_told_apart_and_paths_are_short),
        IN_FOLDER(a_line_is_a_cell_without_its_seeds),
        IN_FOLDER(a_pattern_names_checkpoints_by_their_numbers),
        IN_FOLDER(what_is_wrong_is_told_with_its_place),
        IN_FOLDER(a_file_without_the_section_is_told_so),
        IN_FOLDER(the_command_line_says_where_it_goes),
        IN_FOLDER(a_cell_is_the_file_then_settings_then_command_line_then_its_own),
        IN_FOLDER(cells_that_differ_behind_the_asking_share_their_answers),
        IN_FOLDER(of_cells_with_other_numbers_of_images_the_most_are_asked),
        IN_FOLDER(a_job_is_what_it_is_under_any_name_in_any_order),
        IN_FOLDER(a_checkpoint_that_is_missing_is_its_cells_failure_alone),
        IN_FOLDER(trainings_are_shared_and_go_on_from_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
