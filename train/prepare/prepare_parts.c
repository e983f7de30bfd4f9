#include "train/prepare/prepare_parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/// Where a record is.
typedef struct Place {
    int journal;
    int64_t record;
} Place;

typedef struct NamedPlace {
    char *name;
    /// of the picture
    size_t size;
    Place place;
} NamedPlace;

typedef struct BlockPlace {
    int64_t number;
    Place place;
    bool is_refused;
} BlockPlace;

struct PrepareParts {
    char *folder;
    Journal **journals;
    int num_journals, next_round;
    /// sorted by number, each once
    BlockPlace *blocks;
    int64_t num_blocks, block_capacity;
    NamedPlace *images;
    int64_t num_images, image_capacity;
};

static const char IMAGE_RECORD = 'I';

static bool is_named(const char *entry, int *round, int *process) {
    int length = 0;
    return sscanf(entry, "blocks-%6d-%6d.journal%n", round, process, &length) == 2 && length &&
           !entry[length] && *round >= 0 && *process >= 0;
}

// ---- reading

static void note_block(PrepareParts *parts, Place place, const char *record, size_t size,
                       bool skips) {
    PreparedBlock block;
    if (prepared_block_read(record, size, &block)) {
        if (parts->num_blocks == parts->block_capacity) {
            parts->block_capacity = parts->block_capacity ? 2 * parts->block_capacity : 256;
            parts->blocks = checked_realloc(parts->blocks,
                                            (size_t)parts->block_capacity * sizeof *parts->blocks);
        }
        parts->blocks[parts->num_blocks++] =
            (BlockPlace){block.number, place, problems_refused(&block.problems, skips) > 0};
    }
    prepared_block_free(&block);
}

static void note_image(PrepareParts *parts, Place place, const char *record, size_t size) {
    const char *end = memchr(record + 1, 0, size - 1);
    if (!end) return;
    const size_t bytes = size - (size_t)(end + 1 - record);
    if (parts->num_images == parts->image_capacity) {
        parts->image_capacity = parts->image_capacity ? 2 * parts->image_capacity : 256;
        parts->images =
            checked_realloc(parts->images, (size_t)parts->image_capacity * sizeof *parts->images);
    }
    parts->images[parts->num_images++] = (NamedPlace){checked_strdup(record + 1), bytes, place};
}

/// Whether the journal is of this preparation; then notes what is in it.
static bool read_journal(PrepareParts *parts, Journal *journal, const char *identity, bool skips,
                         Error *error) {
    const int64_t count = journal_count(journal);
    for (int64_t i = 0; i < count; i++) {
        size_t size;
        char *record = journal_read(journal, i, &size, error);
        if (!record) return false;
        const Place place = {parts->num_journals, i};
        const bool is_ours = i > 0 || !strcmp(record, identity);
        if (i > 0 && size > 1 && record[0] == IMAGE_RECORD)
            note_image(parts, place, record, size);
        else if (i > 0)
            note_block(parts, place, record, size, skips);
        free(record);
        if (!is_ours) return error_set(error, "of something else");
    }
    return count > 0 || error_set(error, "nothing is in it");
}

static int by_name(const void *a, const void *b) {
    const NamedPlace *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void sort_images(PrepareParts *parts) {
    int64_t kept = 0;
    if (parts->num_images > 0)
        qsort(parts->images, (size_t)parts->num_images, sizeof *parts->images, by_name);
    for (int64_t i = 0; i < parts->num_images; i++) {
        if (kept && !strcmp(parts->images[kept - 1].name, parts->images[i].name))
            free(parts->images[i].name);
        else
            parts->images[kept++] = parts->images[i];
    }
    parts->num_images = kept;
}

static int by_block(const void *a, const void *b) {
    const BlockPlace *x = a, *y = b;
    const int64_t order[] = {x->number - y->number, x->place.journal - y->place.journal,
                             x->place.record - y->place.record};
    for (int i = 0; i < 3; i++)
        if (order[i]) return order[i] > 0 ? 1 : -1;
    return 0;
}

/// What was looked at again counts as it was seen last.
static void sort_blocks(PrepareParts *parts) {
    int64_t kept = 0;
    if (parts->num_blocks > 0)
        qsort(parts->blocks, (size_t)parts->num_blocks, sizeof *parts->blocks, by_block);
    for (int64_t i = 0; i < parts->num_blocks; i++) {
        if (kept && parts->blocks[kept - 1].number == parts->blocks[i].number) kept--;
        parts->blocks[kept++] = parts->blocks[i];
    }
    parts->num_blocks = kept;
}

static void open_journal(PrepareParts *parts, const char *path, const char *identity, bool skips,
                         bool may_remove) {
    Error unused;
    Journal *journal = journal_open(path, false, &unused);
    if (journal && read_journal(parts, journal, identity, skips, &unused)) {
        parts->journals =
            checked_realloc(parts->journals, (size_t)(parts->num_journals + 1) * sizeof journal);
        parts->journals[parts->num_journals++] = journal;
        return;
    }
    journal_close(journal);
    if (may_remove) unlink(path);
}

PrepareParts *prepare_parts_open(const char *folder, const char *identity, bool skips,
                                 bool may_remove, Error *error) {
    PrepareParts *parts = checked_calloc(1, sizeof *parts);
    struct dirent **entries = NULL;
    const int count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        int round, process;
        char *path = format_string("%s/%s", folder, entries[i]->d_name);
        if (is_named(entries[i]->d_name, &round, &process)) {
            open_journal(parts, path, identity, skips, may_remove);
            if (round >= parts->next_round) parts->next_round = round + 1;
        }
        free(path);
        free(entries[i]);
    }
    free(entries);
    sort_images(parts);
    sort_blocks(parts);
    if (count >= 0) return parts;
    error_set(error, "%s: cannot be listed: %s", folder, strerror(errno));
    prepare_parts_close(parts);
    return NULL;
}

void prepare_parts_close(PrepareParts *parts) {
    if (!parts) return;
    for (int i = 0; i < parts->num_journals; i++) journal_close(parts->journals[i]);
    for (int64_t i = 0; i < parts->num_images; i++) free(parts->images[i].name);
    free(parts->journals);
    free(parts->images);
    free(parts->blocks);
    free(parts);
}

int prepare_parts_next_round(const PrepareParts *parts) { return parts->next_round; }

/// NULL: it is not there.
static const BlockPlace *find_block(const PrepareParts *parts, int64_t number) {
    int64_t first = 0, end = parts->num_blocks;
    while (first < end) {
        const int64_t middle = first + (end - first) / 2;
        if (parts->blocks[middle].number == number) return &parts->blocks[middle];
        if (parts->blocks[middle].number < number)
            first = middle + 1;
        else
            end = middle;
    }
    return NULL;
}

bool prepare_parts_have(const PrepareParts *parts, int64_t number) {
    const BlockPlace *block = find_block(parts, number);
    return block && !block->is_refused;
}

int64_t prepare_parts_end(const PrepareParts *parts) {
    return parts->num_blocks ? parts->blocks[parts->num_blocks - 1].number + 1 : 0;
}

static char *read_record(const PrepareParts *parts, Place place, size_t *size, Error *error) {
    return journal_read(parts->journals[place.journal], place.record, size, error);
}

char *prepare_parts_block(const PrepareParts *parts, int64_t number, size_t *size, Error *error) {
    const BlockPlace *block = find_block(parts, number);
    if (!block) {
        error_set(error, "block %lld of the samples is missing; run the same command again",
                  (long long)number);
        return NULL;
    }
    return read_record(parts, block->place, size, error);
}

int64_t prepare_parts_image_count(const PrepareParts *parts) { return parts->num_images; }

void prepare_parts_count_images(const PrepareParts *parts, PackTotals *totals) {
    for (int64_t i = 0; i < parts->num_images; i++) {
        const PackImage image = {parts->images[i].name, NULL, (int64_t)parts->images[i].size};
        pack_count_image(totals, &image);
    }
}

bool prepare_parts_image(const PrepareParts *parts, int64_t index, PackImage *image, char **record,
                         Error *error) {
    const NamedPlace *named = &parts->images[index];
    size_t size;
    *record = read_record(parts, named->place, &size, error);
    if (!*record) return false;
    *image = (PackImage){named->name, *record + size - named->size, (int64_t)named->size};
    return true;
}

// ---- writing

Journal *prepare_part_begin(const char *folder, int round, int process, const char *identity,
                            Error *error) {
    char *path = format_string("%s/blocks-%03d-%03d.journal", folder, round, process);
    Journal *journal = journal_open(path, true, error);
    free(path);
    if (!journal || journal_append(journal, identity, strlen(identity), error)) return journal;
    journal_close(journal);
    return NULL;
}

bool prepare_part_put(Journal *journal, const ByteBuffer *block, const BlockImage *images,
                      int num_images, Error *error) {
    ByteBuffer record = {0};
    bool ok = true;
    for (int i = 0; ok && i < num_images; i++) {
        byte_buffer_clear(&record);
        byte_buffer_put_byte(&record, IMAGE_RECORD);
        byte_buffer_put(&record, images[i].name, strlen(images[i].name) + 1);
        byte_buffer_put(&record, images[i].bytes, images[i].size);
        ok = journal_append(journal, record.data, record.size, error);
    }
    byte_buffer_free(&record);
    return ok && journal_append(journal, block->data, block->size, error);
}

void prepare_parts_remove(const char *folder) {
    struct dirent **entries = NULL;
    const int count = scandir(folder, &entries, NULL, NULL);
    for (int i = 0; i < count; i++) {
        int round, process;
        char *path = format_string("%s/%s", folder, entries[i]->d_name);
        if (is_named(entries[i]->d_name, &round, &process)) unlink(path);
        free(path);
        free(entries[i]);
    }
    free(entries);
    rmdir(folder);
}
