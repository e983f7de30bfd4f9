#include "checkpoints/weight_file.h"
#include "checkpoints/torch/zip_directory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct WeightFile {
    /// one of the two
    SafetensorsFile *safetensors;
    TorchArchive *archive;
};

static bool is_torch_archive(const char *path) {
    enum { HEADER_TEXT = 8 }; // where the JSON of safetensors begins
    unsigned char start[64] = {0};
    FILE *file = fopen(path, "rb");
    size_t size = file ? fread(start, 1, sizeof start, file) : 0;
    if (file) fclose(file);
    if (size > HEADER_TEXT && start[HEADER_TEXT] == '{') return false;
    if (zip_begins(start, size) || start[0] == 0x80) return true; // the latter: a pickle
    const char *suffix = strrchr(path, '.');
    return suffix && (!strcmp(suffix, ".bin") || !strcmp(suffix, ".pt") || !strcmp(suffix, ".pth"));
}

WeightFile *weight_file_open(const char *path, Error *error) {
    WeightFile *file = checked_calloc(1, sizeof *file);
    if (is_torch_archive(path))
        file->archive = torch_archive_open(path, error);
    else
        file->safetensors = safetensors_open(path, error);
    if (file->archive || file->safetensors) return file;
    free(file);
    return NULL;
}

void weight_file_close(WeightFile *file) {
    if (!file) return;
    safetensors_close(file->safetensors);
    torch_archive_close(file->archive);
    free(file);
}

const char *weight_file_path(const WeightFile *file) {
    return file->archive ? torch_archive_path(file->archive) : safetensors_path(file->safetensors);
}

int64_t weight_file_count(const WeightFile *file) {
    return file->archive ? torch_archive_count(file->archive)
                         : safetensors_count(file->safetensors);
}

const StoredTensor *weight_file_tensor(const WeightFile *file, int64_t index) {
    return file->archive ? torch_archive_tensor(file->archive, index)
                         : safetensors_entry(file->safetensors, index);
}

const StoredTensor *weight_file_find(const WeightFile *file, const char *name) {
    return file->archive ? torch_archive_find(file->archive, name)
                         : safetensors_find(file->safetensors, name);
}

const SafetensorsFile *weight_file_safetensors(const WeightFile *file) { return file->safetensors; }
const TorchArchive *weight_file_torch_archive(const WeightFile *file) { return file->archive; }
