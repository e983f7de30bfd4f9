/// Sections `sweep` written as files, and what becomes of them.
#pragma once
#include "tests/unit/temporary_folder.h"
#include "train/sweep/sweep_jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TINY SOURCE_DIR "/checkpoints/tiny"

static inline const char *write(const char *name, const char *text) {
    const char *path = in_folder(name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return path;
}

/// A section with these lines, indented by two, and an output_dir.
static inline SweepSection *section_of(const char *lines, Error *error) {
    char text[4096];
    snprintf(text, sizeof text, "sweep:\n  output_dir: out\n%s", lines);
    return sweep_section_read(write("sweep.yaml", text), NULL, 0, error);
}

/// The names of its cells, "a b c".
static inline void makes(const char *lines, const char *names) {
    Error error = {0};
    char made[4096] = "";
    SweepSection *section = section_of(lines, &error);
    if (!section) fail_msg("%s", error.message);
    SweepCells *cells = sweep_cells_make(section, &error);
    if (!cells) fail_msg("%s", error.message);
    for (int c = 0; c < cells->count; c++) {
        if (c) strcat(made, " ");
        strcat(made, cells->list[c].name);
    }
    assert_string_equal(made, names);
    sweep_cells_free(cells);
    sweep_section_free(section);
}

/// Refused at that place ("" any) with that part in the message.
static inline void refused(const char *lines, const char *place, const char *part) {
    Error error = {0};
    SweepSection *section = section_of(lines, &error);
    SweepCells *cells = section ? sweep_cells_make(section, &error) : NULL;
    if (cells) fail_msg("accepted: %s", lines);
    if (!strstr(error.message, part)) fail_msg("'%s' is not in: %s", part, error.message);
    char start[300];
    snprintf(start, sizeof start, "%s:%s", in_folder("sweep.yaml"), place);
    if (*place && strncmp(error.message, start, strlen(start)))
        fail_msg("expected it to begin with '%s': %s", start, error.message);
    assert_true(error.is_configuration);
    sweep_section_free(section);
}

static const char INSTANCES[] =
    "{\"images\": [{\"id\": 1, \"file_name\": \"1.png\", \"width\": 8, \"height\": 8}],"
    "\"categories\": [{\"id\": 3, \"name\": \"ring\"}],"
    "\"annotations\": [{\"id\": 7, \"image_id\": 1, \"category_id\": 3, \"iscrowd\": 0,"
    "\"segmentation\": [[0,0,4,0,4,4,0,4]]}]}";

typedef struct Whole {
    SweepSection *section;
    SweepCells *cells;
    SweepJobs jobs;
} Whole;

static inline Whole whole_of(const char *lines) {
    Error error = {0};
    char text[4096];
    const char *annotations = write("instances.json", INSTANCES);
    int length = snprintf(text, sizeof text,
                          "%smodel: {sd: %s/sd, vision_tower: %s/clip, llm: %s/llm}\n"
                          "eval: {annotations: %s, image_folder: images}\n",
                          lines, TINY, TINY, TINY, annotations);
    assert_true(length < (int)sizeof text);
    Whole whole = {.section = section_of(text, &error)};
    if (!whole.section) fail_msg("%s", error.message);
    whole.cells = sweep_cells_make(whole.section, &error);
    if (!whole.cells) fail_msg("%s", error.message);
    if (!sweep_jobs_make(&whole.jobs, whole.section, whole.cells, NULL, 0, &error))
        fail_msg("%s", error.message);
    return whole;
}

static inline void whole_free(Whole *whole) {
    sweep_jobs_free(&whole->jobs);
    sweep_cells_free(whole->cells);
    sweep_section_free(whole->section);
}

static inline int count_of(const Whole *whole, SweepJobKind kind) {
    int count = 0;
    for (int i = 0; i < whole->jobs.count; i++) count += whole->jobs.list[i].kind == kind;
    return count;
}
