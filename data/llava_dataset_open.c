// Opening a data set: every sample is checked, its image looked at meanwhile.
#include "data/llava_dataset_internal.h"

#include "data/archive/archive_path.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/// A file that is gone through.
typedef struct Opening {
    Dataset *dataset;
    DataFile *file;
    /// NULL: nobody looks
    ImageCheck *images;
    /// NULL: this process is alone
    const ImageSharers *sharers;
    /// of each of the file's samples, a byte
    ByteBuffer beyond_plain;
} Opening;

// ---- keeping samples

static void keep(Dataset *dataset, Record record) {
    if (dataset->count == dataset->capacity) {
        dataset->capacity = dataset->capacity ? 2 * dataset->capacity : 1024;
        dataset->records =
            checked_realloc(dataset->records, (size_t)dataset->capacity * sizeof *dataset->records);
    }
    dataset->records[dataset->count++] = record;
}

/// Where samples that `plain` has no place for begin, and how many have a picture.
static void keep_record(Opening *opening, Record record, bool beyond_plain) {
    Dataset *dataset = opening->dataset;
    if (beyond_plain && dataset->first_beyond_plain < 0)
        dataset->first_beyond_plain = dataset->count;
    opening->file->part.with_image += record.words > 0;
    byte_buffer_put_byte(&opening->beyond_plain, beyond_plain);
    keep(dataset, record);
}

static void keep_sample(Opening *opening, Record record, const Sample *sample) {
    record.words = sample_words(sample);
    keep_record(opening, record, sample_is_beyond_plain(sample));
}

/// Checks one sample and keeps it; its image is looked at meanwhile (judge_images()).
static bool add_sample(void *context, const SamplePlace *place, int64_t number, json_t *json,
                       Error *error) {
    Opening *opening = context;
    DataFile *file = opening->file;
    Sample sample;
    const Record record = {.offset = place->offset,
                           .checksum = place->checksum,
                           .bytes = place->bytes,
                           .position = file->first_position + number};
    bool valid = sample_read(json, file->image_folder, &sample, error);
    if (valid && record.position >= INT32_MAX) valid = error_set(error, "too many samples");
    char where[1024];
    if (!valid) {
        error_context(error, "%s",
                      dataset_file_describe(file, &record, sample.id, where, sizeof where));
    } else {
        if (sample.image_path && opening->images)
            image_check_put(opening->images, opening->dataset->count, sample.image_path);
        keep_sample(opening, record, &sample);
    }
    sample_free(&sample);
    return valid;
}

// ---- samples whose image cannot be read

/// Says which is the first, and how many there are.
static bool refuse_images(const DataFile *file, const Record *record, const ImageFindings *findings,
                          Error *error) {
    Error unused = {0};
    Sample sample = {0};
    char where[1024], others[64] = "";
    dataset_file_sample(file, record, &sample, &unused);
    if (findings->problem_count > 1)
        snprintf(others, sizeof others, " (and %lld more samples' images)",
                 (long long)findings->problem_count - 1);
    error_set(error,
              "its image %s%s. Put the file there, correct the image folder, or set missing_image "
              "to skip",
              findings->problems[0].message, others);
    error_context(error, "%s", dataset_file_describe(file, record, sample.id, where, sizeof where));
    sample_free(&sample);
    return false;
}

/// Takes the samples with those images out again.
static void leave_out(Opening *opening, const ImageFindings *findings) {
    Dataset *dataset = opening->dataset;
    DataFile *file = opening->file;
    int64_t kept = file->part.first, next = 0;
    bool found_beyond = dataset->first_beyond_plain >= 0 && dataset->first_beyond_plain < kept;
    for (int64_t i = kept; i < dataset->count; i++) {
        const bool is_out =
            next < findings->problem_count && findings->problems[next].key == i && ++next;
        if (is_out) continue;
        if (!found_beyond && opening->beyond_plain.data[i - file->part.first]) {
            dataset->first_beyond_plain = kept;
            found_beyond = true;
        }
        dataset->records[kept++] = dataset->records[i];
    }
    if (!found_beyond) dataset->first_beyond_plain = -1;
    dataset->count = kept;
    file->part.with_image -= findings->problem_count;
    file->part.skipped += findings->problem_count;
    file->skipped_because = checked_strdup(findings->problems[0].message);
    file->part.skipped_because = file->skipped_because;
}

static bool judge_images(Opening *opening, const ImageFindings *findings, Error *error) {
    Dataset *dataset = opening->dataset;
    memcpy(opening->file->part.formats, findings->formats, sizeof findings->formats);
    if (findings->problem_count == 0) return true;
    if (dataset->missing_image == MISSING_IMAGE_FAIL)
        return refuse_images(opening->file, &dataset->records[findings->problems[0].key], findings,
                             error);
    leave_out(opening, findings);
    return true;
}

static bool check_not_empty(const DataFile *file, Error *error) {
    const DatasetPart *part = &file->part;
    if (part->count > 0)
        return llround(part->weight * (double)part->count) > 0 ||
               error_set(error, "%s: of %lld samples the weight %g leaves none in an epoch",
                         file->path, (long long)part->count, part->weight);
    if (part->skipped > 0)
        return error_set(
            error,
            "%s: the images of all %lld samples are missing (the first: %s); is %s the right image "
            "folder?",
            file->path, (long long)part->skipped,
            part->skipped_because ? part->skipped_because : "", file->image_folder);
    return error_set(error, "%s: the data set has no samples", file->path);
}

/// An image folder that is a file must be an archive, whatever is done about missing images.
static bool check_archive(const char *image_folder, Error *error) {
    struct stat status;
    return stat(image_folder, &status) != 0 || archive_path_is_folder(image_folder, error);
}

static bool open_json(Opening *opening, Error *error) {
    DataFile *file = opening->file;
    file->file = sample_file_open(file->path, error);
    return file->file && check_archive(file->image_folder, error) &&
           sample_file_scan(file->file, add_sample, opening, error);
}

/// What is in a pack was looked at when it was made, but for files beside it that may have gone.
static bool look_at_packed(const Opening *opening, const Record *record, Error *error) {
    Sample sample;
    const DataFile *file = opening->file;
    const int64_t index = opening->dataset->count;
    if (!opening->images || record->words < 0 || pack_image_count(file->pack) ||
        !image_check_is_own(opening->images, index))
        return true;
    const bool ok = dataset_file_sample(file, record, &sample, error);
    char where[1024];
    if (!ok && sample.id)
        error_context(error, "%s",
                      dataset_file_describe(file, record, sample.id, where, sizeof where));
    else if (ok && sample.image_path)
        image_check_put(opening->images, index, sample.image_path);
    sample_free(&sample);
    return ok;
}

static bool open_pack(Opening *opening, Error *error) {
    DataFile *file = opening->file;
    file->pack = pack_open(file->path, error);
    if (!file->pack || (!pack_image_count(file->pack) && !check_archive(file->image_folder, error)))
        return false;
    const int64_t count = pack_sample_count(file->pack);
    if (pack_number_count(file->pack) >= INT32_MAX - file->first_position)
        return error_set(error, "%s: too many samples", file->path);
    for (int64_t i = 0; i < count; i++) {
        PackSample sample;
        pack_describe(file->pack, i, &sample);
        const Record record = {.offset = i,
                               .checksum = sample.checksum,
                               .bytes = sample.text_bytes,
                               .words = sample.words,
                               .position = file->first_position + sample.number};
        if (!look_at_packed(opening, &record, error)) return false;
        keep_record(opening, record, sample.beyond_plain);
    }
    file->part.skipped = pack_number_count(file->pack) - count;
    return true;
}

/// Ends the look at the images of a file, which has been read if `ok`.
static bool finish_images(Opening *opening, bool ok, Error *error) {
    ImageFindings findings = {0};
    const ImageSharers *sharers = opening->sharers;
    if (!opening->images) return ok;
    image_check_finish(opening->images, &findings);
    if (sharers)
        ok = sharers->exchange(sharers->context, ok, opening->dataset->count, &findings, error);
    ok = ok && judge_images(opening, &findings, error);
    image_findings_free(&findings);
    return ok;
}

static bool open_file(Dataset *dataset, const DatasetFile *options, int64_t first_position,
                      const ImageSharers *sharers, Error *error) {
    DataFile *file = &dataset->files[dataset->file_count++];
    file->path = checked_strdup(options->path);
    file->image_folder = checked_strdup(options->image_folder ? options->image_folder : ".");
    file->first_position = first_position;
    file->part =
        (DatasetPart){.path = file->path, .weight = options->weight, .first = dataset->count};
    Opening opening = {.dataset = dataset, .file = file, .sharers = sharers};
    if (dataset->missing_image != MISSING_IMAGE_UNCHECKED)
        opening.images = image_check_start(sharers);
    bool ok = pack_is_at(options->path) ? open_pack(&opening, error) : open_json(&opening, error);
    ok = finish_images(&opening, ok, error);
    byte_buffer_free(&opening.beyond_plain);
    file->part.count = dataset->count - file->part.first;
    return ok && check_not_empty(file, error);
}

Dataset *dataset_open_shared(const DatasetFile *files, int count, MissingImage missing_image,
                             const ImageSharers *sharers, Error *error) {
    CHECK(count > 0, "a data set of %d files", count);
    Dataset *dataset = checked_calloc(1, sizeof *dataset);
    dataset->path = count == 1 ? checked_strdup(files[0].path)
                               : format_string("%s and %d more file%s", files[0].path, count - 1,
                                               count > 2 ? "s" : "");
    dataset->files = checked_calloc((size_t)count, sizeof *dataset->files);
    dataset->missing_image = missing_image;
    dataset->first_beyond_plain = -1;
    int64_t position = 0;
    for (int i = 0; i < count; i++) {
        if (!open_file(dataset, &files[i], position, sharers, error)) {
            dataset_close(dataset);
            return NULL;
        }
        position += dataset->files[i].part.count + dataset->files[i].part.skipped;
    }
    return dataset;
}

Dataset *dataset_open_files(const DatasetFile *files, int count, MissingImage missing_image,
                            Error *error) {
    return dataset_open_shared(files, count, missing_image, NULL, error);
}

Dataset *dataset_open(const DatasetOptions *options, Error *error) {
    const DatasetFile file = {(char *)options->annotations, (char *)options->image_folder, 1};
    return dataset_open_files(&file, 1, options->missing_image, error);
}

void dataset_close(Dataset *dataset) {
    if (!dataset) return;
    for (int i = 0; i < dataset->file_count; i++) {
        sample_file_close(dataset->files[i].file);
        pack_close(dataset->files[i].pack);
        free(dataset->files[i].path);
        free(dataset->files[i].image_folder);
        free(dataset->files[i].skipped_because);
    }
    free(dataset->files);
    free(dataset->records);
    free(dataset->path);
    free(dataset);
}
