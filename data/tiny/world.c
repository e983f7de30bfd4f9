#include "data/tiny/world.h"
#include "autograd/output/output_folder.h"
#include "data/images/image.h"
#include "data/tiny/annotations.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { JPEG_QUALITY = 92 };

static bool make_folders(const char *root, Error *error) {
    static const char *const FOLDERS[] = {"",
                                          "/train",
                                          "/train/images",
                                          "/test",
                                          "/test/images",
                                          "/test/gcg",
                                          "/test/gqa",
                                          "/test/pope",
                                          "/test/refcoco",
                                          "/test/png",
                                          "/test/png/panoptic_val2017"};
    bool made = true;
    for (size_t i = 0; made && i < sizeof FOLDERS / sizeof *FOLDERS; i++) {
        char *path = format_string("%s%s", root, FOLDERS[i]);
        made = make_folder(path, error);
        free(path);
    }
    return made;
}

static bool write_images(const Scene *scene, const char *folder, const WorldOptions *options,
                         Split split, int index, Image *image, Error *error) {
    int id = image_id_of(split, index);
    char *path = format_string("%s/images/%012d.jpg", folder, id);
    scene_render(scene, options->seed, split, (uint64_t)index, image->pixels);
    bool written = image_write_jpeg(path, image, JPEG_QUALITY, error);
    free(path);
    if (!written || split != SPLIT_TEST) return written;
    path = format_string("%s/png/panoptic_val2017/%012d.png", folder, id);
    annotations_paint_panoptic(scene, image->pixels);
    written = image_write_png(path, image, error);
    free(path);
    return written;
}

static bool write_split(const char *root, const WorldOptions *options, Split split, Error *error) {
    const char *name = split == SPLIT_TRAIN ? "train" : "test";
    int count = split == SPLIT_TRAIN ? options->num_train : options->num_test;
    char *folder = format_string("%s/%s", root, name);
    Image image = image_new(IMAGE_SIZE, IMAGE_SIZE);
    Scene *scene = checked_malloc(sizeof *scene);
    Annotations annotations;
    bool written = true;
    annotations_begin(&annotations, options->kind, options->seed, split);
    for (int i = 0; written && i < count; i++) {
        scene_sample(scene, options->kind, options->seed, split, (uint64_t)i);
        annotations_add(&annotations, scene, i);
        written = write_images(scene, folder, options, split, i, &image, error);
        if (options->progress) options->progress(options->progress_context, name, i + 1, count);
    }
    written = annotations_write(&annotations, folder, written ? error : NULL) && written;
    free(scene);
    image_free(&image);
    free(folder);
    return written;
}

static bool write_documents(const char *root, const WorldOptions *options, Error *error) {
    if (options->num_documents == 0) return true;
    json_t *documents = json_array();
    ByteBuffer text = {0};
    for (int i = 0; i < options->num_documents; i++) {
        document_make(options->kind, options->seed, (uint64_t)i, &text);
        json_array_append_new(documents, json_string(text.data));
        if (options->progress)
            options->progress(options->progress_context, "documents", i + 1,
                              options->num_documents);
    }
    byte_buffer_free(&text);
    char *path = format_string("%s/train/documents.json", root);
    bool written = write_json(path, documents, error);
    free(path);
    return written;
}

/// The folder that the target is to lie in, with those above it.
static bool make_parent(const char *target, OutputFolder *parent, Error *error) {
    const char *slash = strrchr(target, '/');
    if (!slash || slash == target) return true;
    char *path = format_string("%.*s", (int)(slash - target), target);
    bool made = output_folder_make(parent, path, error);
    free(path);
    return made;
}

bool world_write(const char *path, const WorldOptions *options, Error *error) {
    if (options->num_train < 0 || options->num_train > MAX_SCENES || options->num_test < 0 ||
        options->num_test > MAX_SCENES)
        return error_set(error, "%d training and %d test scenes: each must be 0 to %d",
                         options->num_train, options->num_test, MAX_SCENES);
    if (options->num_documents < 0)
        return error_set(error, "%d documents: must be 0 or more", options->num_documents);
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    char *target = format_string("%.*s", (int)length, path);
    if (access(target, F_OK) == 0 && rmdir(target) != 0) {
        error_set(error, "%s: exists and is not an empty folder; remove it or name another",
                  target);
        free(target);
        return false;
    }
    char *partial = format_string("%s.partial-%ld", target, (long)getpid());
    OutputFolder parent = {0};
    bool written = make_parent(target, &parent, error) && make_folders(partial, error) &&
                   write_split(partial, options, SPLIT_TRAIN, error) &&
                   write_split(partial, options, SPLIT_TEST, error) &&
                   write_documents(partial, options, error);
    if (written && rename(partial, target) != 0)
        written =
            error_set(error, "%s: cannot be renamed to %s: %s", partial, target, strerror(errno));
    if (!written) remove_folder(partial);
    output_folder_close(&parent, !written);
    free(partial);
    free(target);
    return written;
}
