// Explorers for the test in a browser: make_explorer FOLDER writes one.html (six examples of one
// answer each, with layers, the fifth read without corners, the last with hostile text and nothing
// said) and two.html (three examples, two answers each).
#include "tests/pages/made_example.h"

#include <stdio.h>

static void save(Explorer *explorer, const char *folder, const char *name) {
    Error error = {0};
    char *path = format_string("%s/%s", folder, name);
    bool ok = explorer_save(explorer, path, &error);
    if (!ok) fprintf(stderr, "%s\n", error.message);
    CHECK(ok, "%s cannot be written", path);
    free(path);
    explorer_free(explorer);
}

static void add(Explorer *explorer, int number, const ExplorerAnswer *a, const ExplorerAnswer *b,
                const Image *picture) {
    Error error = {0};
    char *id = format_string("picture-%d", number);
    ExplorerExample example = {.id = id,
                               .question = "Describe the image in detail.",
                               .number = number,
                               .picture = picture,
                               .answers = {*a}};
    if (b) example.answers[1] = *b;
    CHECK(explorer_add_example(explorer, &example, &error), "%s", error.message);
    free(id);
}

static void make_one(const char *folder) {
    Explorer *explorer =
        explorer_new(&(ExplorerAbout){.title = "Explorer: <made up>",
                                      .subtitle = "runs/tiny, evaluation 'trained'",
                                      .explanation = "A hit is a point in the truth.",
                                      .sides = {"trained"}});
    for (int i = 0; i < 5; i++) {
        MadeExample made;
        made_example(&(MadeOptions){.width = i % 2 ? 640 : 128,
                                    .height = i % 2 ? 480 : 128,
                                    .grid = {i % 2 ? 24 : 8, i % 2 ? 24 : 8},
                                    .layers = i % 2 ? 1 : 4,
                                    .num_phrases = 2 + i,
                                    .seed = (uint32_t)i + 1},
                     &made);
        if (i == 4) {
            made.how.remove_corner = true;
            made_judge(&made);
        }
        ExplorerAnswer answer = made_answer(&made);
        add(explorer, i, &answer, NULL, &made.picture);
        made_example_free(&made);
    }
    MadeExample hostile;
    made_example(&(MadeOptions){.width = 64, .height = 48, .grid = {4, 4}, .layers = 1}, &hostile);
    made_say(&hostile.answer, "</script><img");
    made_say(&hostile.answer, "src=x");
    made_say(&hostile.answer, "onerror=alert(1)>");
    made_say(&hostile.answer, "\xff\xc3(\"'&");
    ExplorerAnswer answer = made_answer(&hostile);
    add(explorer, 5, &answer, NULL, &hostile.picture);
    made_example_free(&hostile);
    save(explorer, folder, "one.html");
}

static void make_two(const char *folder) {
    Explorer *explorer =
        explorer_new(&(ExplorerAbout){.title = "Two", .sides = {"stage1", "stage2"}});
    for (int i = 0; i < 3; i++) {
        MadeExample a, b;
        MadeOptions options = {.width = 320,
                               .height = 200,
                               .grid = {16, 16},
                               .layers = 1,
                               .num_phrases = 4,
                               .seed = (uint32_t)i + 40};
        made_example(&options, &a);
        options.seed += 100;
        options.num_phrases = 7;
        made_example(&options, &b);
        ExplorerAnswer of_a = made_answer(&a), of_b = made_answer(&b);
        add(explorer, i, &of_a, &of_b, &a.picture);
        made_example_free(&a);
        made_example_free(&b);
    }
    save(explorer, folder, "two.html");
}

int main(int argc, char **argv) {
    CHECK(argc == 2, "make_explorer FOLDER");
    make_one(argv[1]);
    make_two(argv[1]);
    return 0;
}
