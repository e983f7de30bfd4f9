#include "train/ground/ground_files.h"

#include "autograd/output/output_directory.h"
#include "autograd/output/output_file.h"
#include "autograd/output/output_folder.h"
#include "autograd/text/utf8.h"
#include "data/coco_segmentation.h"
#include "eval/pages/attention_picture.h"
#include "eval/pages/explorer.h"
#include "eval/pages/overlay.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/// In pixels: small pictures are enlarged to nearly that.
enum { OVERLAY_SIDE = 768, ATTENTION_SIDE = 384 };

// ---- pictures

/// Takes the picture over.
static bool save_picture(const char *folder, const char *name, Image picture, Error *error) {
    char *path = format_string("%s/%s", folder, name);
    bool ok = image_write_png(path, &picture, error);
    free(path);
    image_free(&picture);
    return ok;
}

static Image mask_picture(const uint8_t *mask, const Image *picture) {
    Image image = image_new(picture->width, picture->height);
    for (int64_t p = 0; p < (int64_t)picture->width * picture->height; p++)
        memset(image.pixels + 3 * p, mask[p] ? 255 : 0, 3);
    return image;
}

static bool write_pictures(const GroundFiles *files, const char *folder, Error *error) {
    const Image *picture = files->answer->picture;
    const Grounding *grounding = &files->answer->grounding;
    int scale = overlay_scale(picture, ATTENTION_SIDE);
    bool ok =
        save_picture(folder, "overlay.png",
                     overlay_draw(picture, grounding, overlay_scale(picture, OVERLAY_SIDE)), error);
    for (int i = 0; ok && i < grounding->count; i++) {
        const GroundedPhrase *item = &grounding->items[i];
        char name[48];
        snprintf(name, sizeof name, "attention-%d.png", i + 1);
        ok = save_picture(folder, name, attention_picture(picture, item->heat, scale), error);
        snprintf(name, sizeof name, "mask-%d.png", i + 1);
        if (ok && item->mask)
            ok = save_picture(folder, name, mask_picture(item->mask, picture), error);
    }
    return ok;
}

// ---- the record

static CocoMask runs_of(const GroundedPhrase *item, const Image *picture) {
    return coco_mask_from_bitmap(item->mask, picture->height, picture->width);
}

static json_t *describe_phrase(const GroundFiles *files, int i) {
    const GroundedPhrase *item = &files->answer->grounding.items[i];
    const Phrase *phrase = &item->phrase;
    json_t *mask = json_null(), *mask_file = json_null();
    if (item->mask) {
        CocoMask runs = runs_of(item, files->answer->picture);
        mask = coco_runs_write(&runs);
        mask_file = json_sprintf("mask-%d.png", i + 1);
        coco_mask_free(&runs);
    }
    return json_pack("{s:s%, s:i, s:i, s:[i, i], s:o, s:o, s:o}", "phrase",
                     files->answer->answer.text + phrase->begin,
                     (size_t)(phrase->end - phrase->begin), "begin", phrase->begin, "end",
                     phrase->end, "point", item->point.column, item->point.row, "mask", mask,
                     "mask_picture", mask_file, "attention_picture",
                     json_sprintf("attention-%d.png", i + 1));
}

static bool write_record(const GroundFiles *files, const char *folder, Error *error) {
    const GroundedAnswer *answer = files->answer;
    json_t *phrases = json_array();
    for (int i = 0; i < answer->grounding.count; i++)
        json_array_append_new(phrases, describe_phrase(files, i));
    char *picture = utf8_escape(files->picture_path);
    json_t *record =
        json_pack("{s:s, s:s, s:s, s:b, s:s?, s:o}", "image", picture, "prompt", answer->question,
                  "answer", answer->answer.text, "ended", answer->answer.ended, "segmenter",
                  files->segmenter, "phrases", phrases);
    CHECK(record, "an answer that cannot be described");
    char *text = json_dumps(record, JSON_INDENT(1)),
         *path = format_string("%s/answer.json", folder);
    bool ok = output_whole_file(path, text, strlen(text), error);
    free(picture);
    free(text);
    free(path);
    json_decref(record);
    return ok;
}

// ---- the page

static bool write_page(const GroundFiles *files, const char *folder, Error *error) {
    const GroundedAnswer *answer = files->answer;
    int count = answer->grounding.count, most = answer->answer.num_tokens;
    ExplorerPhrase *phrases = checked_calloc((size_t)count + 1, sizeof *phrases);
    CocoMask *masks = checked_calloc((size_t)count + 1, sizeof *masks);
    int *tokens = checked_malloc(((size_t)count * (size_t)most + 1) * sizeof *tokens);
    for (int i = 0; i < count; i++) {
        const GroundedPhrase *item = &answer->grounding.items[i];
        int *own = tokens + (size_t)i * (size_t)most;
        if (item->mask) masks[i] = runs_of(item, answer->picture);
        phrases[i] = (ExplorerPhrase){.begin = item->phrase.begin,
                                      .end = item->phrase.end,
                                      .tokens = own,
                                      .num_tokens = tokens_overlapping(&answer->answer,
                                                                       item->phrase.noun_begin,
                                                                       item->phrase.noun_end, own),
                                      .point = item->point,
                                      .mask = item->mask ? &masks[i] : NULL,
                                      .iou = NAN};
    }
    ExplorerExample example = {.id = files->picture_path,
                               .question = answer->question,
                               .picture = answer->picture,
                               .answers = {{&answer->answer, files->how, phrases, count, NAN}}};
    Explorer *page = explorer_new(&(ExplorerAbout){
        .title = "Where an answer looks", .subtitle = files->picture_path, .sides = {"answer"}});
    char *path = format_string("%s/explorer.html", folder);
    bool ok = explorer_add_example(page, &example, error) && explorer_save(page, path, error);
    free(path);
    explorer_free(page);
    for (int i = 0; i < count; i++) coco_mask_free(&masks[i]);
    free(masks);
    free(phrases);
    free(tokens);
    return ok;
}

// ---- whole or not at all

static OutputDirectory *write_all(const GroundFiles *files, const char *folder, Error *error) {
    OutputDirectory *directory = output_directory_create(folder, error);
    if (!directory) return NULL;
    const char *path = output_directory_temporary_path(directory);
    if (write_pictures(files, path, error) && (!files->page || write_page(files, path, error)) &&
        write_record(files, path, error))
        return directory;
    output_directory_abandon(directory);
    return NULL;
}

bool ground_files_make(const GroundFiles *files, const char *folder, Error *error) {
    OutputDirectory *directory = write_all(files, folder, error);
    return directory && output_directory_commit(directory, error);
}

/// Whether an answer leaves files of that name.
static bool is_ours(const char *name) {
    int number, length = 0;
    return !strcmp(name, "overlay.png") || !strcmp(name, "answer.json") ||
           !strcmp(name, "explorer.html") ||
           (sscanf(name, "mask-%6d.png%n", &number, &length) == 1 && length && !name[length]) ||
           (sscanf(name, "attention-%6d.png%n", &number, &length) == 1 && length && !name[length]);
}

static bool in_folder(const char *folder, const char *name) {
    char *path = format_string("%s/%s", folder, name);
    bool is_there = access(path, F_OK) == 0;
    free(path);
    return is_there;
}

/// Files of an answer that the new one has not.
static void remove_others(const char *folder, const char *instead) {
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, NULL, NULL);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (is_ours(name) && !in_folder(instead, name)) {
            char *path = format_string("%s/%s", folder, name);
            unlink(path);
            free(path);
        }
        free(entries[i]);
    }
    free(entries);
}

static bool move_files(const char *from, const char *to, Error *error) {
    struct dirent **entries = NULL;
    int count = scandir(from, &entries, NULL, NULL);
    bool ok = count >= 0 || error_set(error, "%s: cannot be listed: %s", from, strerror(errno));
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char *old = format_string("%s/%s", from, name), *new = format_string("%s/%s", to, name);
        if (ok && is_ours(name) && rename(old, new) != 0)
            ok = error_set(error, "%s: cannot be written: %s", new, strerror(errno));
        free(old);
        free(new);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

bool ground_files_replace(const GroundFiles *files, const char *folder, Error *error) {
    OutputFolder made = {0};
    char *beside = format_string("%s/.answer", folder);
    bool ok = output_folder_make(&made, folder, error);
    output_directory_remove_remains(beside); // of a kill
    OutputDirectory *directory = ok ? write_all(files, beside, error) : NULL;
    if (directory) {
        const char *path = output_directory_temporary_path(directory);
        remove_others(folder, path);
        ok = move_files(path, folder, error);
    }
    output_directory_abandon(directory);
    output_folder_close(&made, !ok || !directory);
    free(beside);
    return ok && directory;
}
