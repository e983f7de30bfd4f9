// A case of a target, from its templates: files, arguments and limits that are changed.
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/targets.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// ---- files

/// The path of a seed that matches one of the patterns, by equal chances of patterns first; NULL:
/// none does.
static const char *pick_path(const char *patterns, const Tree *tree, Random *random) {
    char *copy = checked_strdup(patterns);
    const char *words[64], *found = NULL;
    size_t count = 0;
    for (char *word = strtok(copy, " "); word && count < 64; word = strtok(NULL, " "))
        words[count++] = word;
    for (int attempt = 0; count && !found && attempt < 20; attempt++) {
        const char *pattern = words[random_below(random, count)];
        size_t matches = 0;
        for (int i = 0; i < tree->count; i++)
            if (S_ISREG(tree->items[i].mode) && !fnmatch(pattern, tree->items[i].path, 0) &&
                random_below(random, ++matches) == 0)
                found = tree->items[i].path;
    }
    free(copy);
    return found;
}

static void change_file(FuzzCase *fuzz_case, const char *patterns, const Tree *tree,
                        const char *seeds, Random *random) {
    const char *path = pick_path(patterns, tree, random);
    if (!path) return;
    for (int i = 0; i < fuzz_case->overlay_count; i++)
        if (!strcmp(fuzz_case->overlays[i].path, path)) return;
    const char *other = random_chance(random, 70)
                            ? path
                            : tree->items[random_below(random, (size_t)tree->count)].path;
    char *from = format_string("%s/%s", seeds, path),
         *donor_path = format_string("%s/%s", seeds, other);
    ByteBuffer bytes = {0}, donor = {0};
    bytes_read(&bytes, from);
    bytes_read(&donor, donor_path);
    OverlayKind kind = OVERLAY_BYTES;
    if (random_chance(random, 3)) {
        kind = (OverlayKind)(1 + random_below(random, 3));
    } else if (random_chance(random, 2)) {
        bytes_replace(&bytes, 0, bytes.size, donor.data, donor.size);
    } else {
        mutate_file(&bytes, path, &donor, random);
    }
    case_add_overlay(fuzz_case, kind, path, &bytes);
    byte_buffer_free(&donor);
    free(from);
    free(donor_path);
}

// ---- arguments

static void append_argument(ByteBuffer *out, const Tree *tree, Random *random) {
    static const char *const words[] = {"--help",
                                        "-h",
                                        "--json",
                                        "--checksums",
                                        "--merge",
                                        "--format",
                                        "bin",
                                        "--out",
                                        "out/x",
                                        "--text",
                                        "--noise",
                                        "--words",
                                        "--started",
                                        "--time",
                                        "--processes",
                                        "0",
                                        "-1",
                                        "--",
                                        "-",
                                        "",
                                        "--x=y",
                                        "a.b=c",
                                        "=",
                                        ".=",
                                        "training.=1",
                                        ".seed=1",
                                        "training.seed",
                                        "training",
                                        "--processes=0",
                                        "safetensors",
                                        "ring,star,,",
                                        ",",
                                        "stage1.yaml"};
    size_t kind = random_below(random, 10);
    if (kind < 3) {
        const char *word = RANDOM_PICK(random, words);
        byte_buffer_put(out, word, strlen(word));
    } else if (kind < 7) {
        append_setting(out, random);
    } else if (kind == 7) {
        const char *path = tree->items[random_below(random, (size_t)tree->count)].path;
        byte_buffer_put(out, path, strlen(path));
    } else if (kind == 8) {
        append_text(out, random);
    } else {
        const char *number = random_number(random);
        byte_buffer_put(out, number, strlen(number));
    }
}

static void insert_argument(FuzzCase *fuzz_case, int at, const ByteBuffer *text) {
    if (fuzz_case->count == MOST_ARGUMENTS) return;
    case_add_argument(fuzz_case, text->data, text->size);
    char *added = fuzz_case->arguments[fuzz_case->count - 1];
    for (int i = fuzz_case->count - 1; i > at; i--)
        fuzz_case->arguments[i] = fuzz_case->arguments[i - 1];
    fuzz_case->arguments[at] = added;
}

static void change_arguments(FuzzCase *fuzz_case, const Tree *tree, Random *random) {
    int at = 1 + (int)random_below(random, (size_t)fuzz_case->count);
    ByteBuffer text = bytes_copy("", 0);
    switch (random_below(random, 8)) {
    case 0:
        if (at < fuzz_case->count) {
            free(fuzz_case->arguments[at]);
            for (int i = at; i + 1 < fuzz_case->count; i++)
                fuzz_case->arguments[i] = fuzz_case->arguments[i + 1];
            fuzz_case->arguments[--fuzz_case->count] = NULL;
        }
        break;
    case 1:
        if (at < fuzz_case->count) {
            byte_buffer_put(&text, fuzz_case->arguments[at], strlen(fuzz_case->arguments[at]));
            mutate_bytes(&text, NULL, random);
            free(fuzz_case->arguments[at]);
            fuzz_case->arguments[at] = strndup(text.data, text.size);
        }
        break;
    case 2:
        append_argument(&text, tree, random);
        insert_argument(fuzz_case, at, &text);
        break;
    default:
        append_setting(&text, random);
        insert_argument(fuzz_case, fuzz_case->count, &text);
    }
    byte_buffer_free(&text);
}

/// Settings that may each be right, and together mean what nobody tried.
static void combine_settings(FuzzCase *fuzz_case, Random *random) {
    for (size_t count = 1 + random_below(random, 8); count; count--) {
        ByteBuffer text = bytes_copy("", 0);
        append_valid_setting(&text, random);
        insert_argument(fuzz_case, fuzz_case->count, &text);
        byte_buffer_free(&text);
    }
}

/// Only a launcher may start further processes.
static void forbid_launching(FuzzCase *fuzz_case) {
    static const char option[] = "--processes";
    for (int i = 1; i < fuzz_case->count; i++) {
        char *text = fuzz_case->arguments[i], *next = fuzz_case->arguments[i + 1];
        if (strncmp(text, option, sizeof option - 1) != 0) continue;
        char *count = text[sizeof option - 1] == '=' ? text + sizeof option : next;
        if (count && atol(count) > 1) count[0] = 'x';
    }
}

// ---- the whole

FuzzCase target_make_case(const Target *target, uint64_t seed, uint64_t number, const Tree *tree,
                          const char *seeds) {
    Random random = random_for(target->name, seed, number);
    FuzzCase fuzz_case = {0};
    snprintf(fuzz_case.target, sizeof fuzz_case.target, "%s", target->name);
    size_t templates = 0;
    while (templates < MOST_TEMPLATES && target->templates[templates].arguments) templates++;
    const Template *template = &target->templates[random_below(&random, templates)];
    char *copy = checked_strdup(template->arguments);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        case_add_argument(&fuzz_case, word, strlen(word));
    free(copy);
    bool files = template->files[0] && random_chance(&random, target->is_parser ? 100 : 60);
    if (files) change_file(&fuzz_case, template->files, tree, seeds, &random);
    if (files && random_chance(&random, 10))
        change_file(&fuzz_case, template->files, tree, seeds, &random);
    if (!target->is_parser && random_chance(&random, files ? 10 : 50))
        combine_settings(&fuzz_case, &random);
    else if (!target->is_parser && (!files || random_chance(&random, 15)))
        for (size_t changes = 1 + random_size(&random, 6); changes; changes--)
            change_arguments(&fuzz_case, tree, &random);
    if (!strcmp(target->name, "train")) forbid_launching(&fuzz_case);
    static const size_t limits[] = {4096, 12000, 40000};
    if (target->writes && random_chance(&random, 8))
        fuzz_case.file_limit = RANDOM_PICK(&random, limits);
    return fuzz_case;
}
