#include "train/prepare/prepare_file.h"

#include "autograd/crc32c.h"
#include "autograd/output/output_file.h"
#include "autograd/output/output_folder.h"
#include "autograd/text/utf8.h"
#include "train/group/run_lock.h"
#include "train/log/progress.h"
#include "train/prepare/prepare_pack.h"
#include "train/prepare/prepare_workers.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/// A file's preparation on one rank.
typedef struct Run {
    const FilePreparation *file;
    SampleFile *samples;
    /// the pack, the folder of its parts, and the report of problems
    char *pack, *parts_folder, *report;
    /// what is prepared and how, and what its tokens depend on
    char *identity, *tokens_of;
    PrepareParts *parts;
    bool is_first;
} Run;

static bool agree(const Run *run, bool ok, Error *error) {
    return process_group_agree(run->file->group, ok, error);
}

// ---- names and identity

char *prepare_pack_path(const FilePreparation *file) {
    const char *slash = strrchr(file->path, '/'), *name = slash ? slash + 1 : file->path,
               *dot = strrchr(name, '.');
    const int length = (int)(dot && dot > name ? (size_t)(dot - name) : strlen(name));
    if (file->options->folder)
        return format_string("%s/%.*s%s.pack.h5", file->options->folder, length, name, file->infix);
    return format_string("%.*s%.*s.pack.h5", (int)(name - file->path), file->path, length, name);
}

static bool identify(Run *run, Error *error) {
    const FilePreparation *file = run->file;
    const char *slash = strrchr(file->path, '/');
    uint32_t checksum = 0;
    if (!crc32c_add_file(&checksum, file->path, error)) return false;
    run->tokens_of = conversation_identity(file->preparing.tokenizer, &file->preparing.format);
    json_t *about = json_pack(
        "{s:o, s:I, s:I, s:o, s:s, s:b, s:b, s:i, s:i}", "file",
        json_stringn(slash ? slash + 1 : file->path, strlen(slash ? slash + 1 : file->path)),
        "bytes", (json_int_t)sample_file_size(run->samples), "crc32c", (json_int_t)checksum,
        "image_folder", json_string(file->preparing.image_folder), "tokens_of", run->tokens_of,
        "skips_images", file->preparing.skips, "with_images", file->preparing.with_images,
        "visual_tokens", file->preparing.format.visual_tokens, "model_max_length",
        file->preparing.format.model_max_length);
    if (!about) return error_set(error, "%s: the path is no text in UTF-8", file->path);
    run->identity = json_dumps(about, JSON_COMPACT);
    json_decref(about);
    return true;
}

/// Whether the pack is there, made of this file in this way.
static bool is_prepared(const Run *run) {
    Error unused;
    Pack *pack = pack_is_at(run->pack) ? pack_open(run->pack, &unused) : NULL;
    const bool is = pack && !strcmp(pack_source(pack), run->identity);
    pack_close(pack);
    return is;
}

// ---- looking at samples

/// The samples as they come out of the file.
typedef struct Gathering {
    Run *run;
    Workers *workers;
    Progress *progress;
    RawBlock block;
    /// the last sample's
    int64_t offset, line;
    int64_t seen;
} Gathering;

static bool is_own(const Run *run, int64_t block) {
    return block % process_count(run->file->group) == process_rank(run->file->group) &&
           !prepare_parts_have(run->parts, block);
}

static bool hand_over(Gathering *gathering, Error *error) {
    return !gathering->block.count || workers_add(gathering->workers, &gathering->block, error);
}

/// Puts a sample into the block, its text or why it has none, which are the block's then.
static bool put(Gathering *gathering, const SamplePlace *place, int64_t number, char *text,
                char *reason, Error *error) {
    RawBlock *block = &gathering->block;
    if (!block->count) {
        block->number = number / PREPARE_BLOCK;
        block->first = number;
    }
    gathering->line +=
        sample_file_lines_between(gathering->run->samples, gathering->offset, place->offset);
    gathering->offset = place->offset;
    block->places[block->count] = *place;
    block->lines[block->count] = gathering->line;
    block->texts[block->count] = text;
    block->reasons[block->count++] = reason;
    return number % PREPARE_BLOCK < PREPARE_BLOCK - 1 || hand_over(gathering, error);
}

static void count_seen(Gathering *gathering, int64_t offset) {
    gathering->seen++;
    process_group_progress(gathering->run->file->group);
    progress_update(gathering->progress, offset >> 10, "%lld samples", (long long)gathering->seen);
}

static bool take_sample(void *context, const SamplePlace *place, int64_t number, json_t *json,
                        Error *error) {
    Gathering *gathering = context;
    json_decref(json);
    count_seen(gathering, place->offset + place->bytes);
    if (!is_own(gathering->run, number / PREPARE_BLOCK)) return true;
    char *text = sample_file_text(gathering->run->samples, place, number, error);
    return text && put(gathering, place, number, text, NULL, error);
}

static bool take_spoiled_line(void *context, int64_t offset, int64_t number, const Error *why,
                              Error *error) {
    Gathering *gathering = context;
    const SamplePlace place = {.offset = offset};
    count_seen(gathering, offset);
    return !is_own(gathering->run, number / PREPARE_BLOCK) ||
           put(gathering, &place, number, NULL, checked_strdup(why->message), error);
}

static bool look_at_samples(Run *run, Journal *journal, Error *error) {
    const FilePreparation *file = run->file;
    Gathering gathering = {.run = run, .line = 1};
    const int64_t kib = (sample_file_size(run->samples) >> 10) + 1;
    gathering.workers = workers_start(&file->preparing, journal, file->threads, error);
    if (!gathering.workers) return false;
    gathering.progress =
        progress_begin(run->is_first ? stderr : NULL, "preparing, KiB", 0, kib, kib / 4 + 1);
    bool ok = sample_file_scan_all(run->samples, take_sample, take_spoiled_line, &gathering, error);
    // What stands before a mistake in the file is looked at all the same.
    Error unused;
    ok = hand_over(&gathering, ok ? error : &unused) && ok;
    ok = workers_finish(gathering.workers, ok ? error : &unused) && ok;
    if (ok) progress_update(gathering.progress, kib, "%lld samples", (long long)gathering.seen);
    progress_end(gathering.progress);
    return ok;
}

static bool open_parts(Run *run, Error *error) {
    run->parts = prepare_parts_open(run->parts_folder, run->identity, run->file->preparing.skips,
                                    run->is_first, error);
    return run->parts != NULL;
}

static bool look(Run *run, Error *error) {
    const int rank = process_rank(run->file->group);
    Journal *journal = prepare_part_begin(run->parts_folder, prepare_parts_next_round(run->parts),
                                          rank, run->identity, error);
    if (!journal) return false;
    const bool ok = look_at_samples(run, journal, error);
    journal_close(journal);
    return ok;
}

// ---- the end

static void tell(const Run *run, const PackTotals *totals, const ProblemList *problems) {
    const bool skips = run->file->preparing.skips;
    utf8_print(stdout, "%s: %lld samples, %lld of them can be used, %lld tokens\n", run->file->path,
               (long long)totals->numbers, (long long)totals->samples, (long long)totals->tokens);
    problems_print(problems, skips, stdout);
    if (problems->count) utf8_print(stdout, "  all of them: %s\n", run->report);
}

static bool may_pack(const Run *run, const PackTotals *totals, const ProblemList *problems,
                     Error *error) {
    const int64_t refused = problems_refused(problems, run->file->preparing.skips);
    if (refused && !run->file->options->leaves_out)
        return error_set(error,
                         "%s: training would refuse samples, %lld problems (%s); mend them and run "
                         "the same command again, which looks at those samples alone, or leave "
                         "them out with --leave-out",
                         run->file->path, (long long)refused, run->report);
    return totals->samples > 0 || error_set(error, "%s: no sample can be used", run->file->path);
}

/// By the first rank, when all have looked at their samples; has_looked: everywhere to the end.
static bool conclude(Run *run, bool has_looked, Error *error) {
    PackTotals totals;
    ProblemList problems = {0};
    Error unused;
    prepare_parts_close(run->parts);
    bool ok = open_parts(run, has_looked ? error : &unused) &&
              prepare_collect(run->parts, &totals, &problems, has_looked ? error : &unused) &&
              problems_write(&problems, run->report, has_looked ? error : &unused);
    if (ok) tell(run, &totals, &problems);
    ok = ok && has_looked && may_pack(run, &totals, &problems, error) &&
         prepare_write_pack(run->parts, &totals, run->pack, run->identity, run->tokens_of, error);
    problems_free(&problems);
    if (ok) utf8_print(stdout, "  packed: %s\n", run->pack);
    return ok;
}

static bool prepare(Run *run, Error *error) {
    static const double PATIENCE = 24 * 3600;
    ProcessGroup *group = run->file->group;
    bool has_looked = agree(run, run->is_first ? open_parts(run, error) : true, error);
    has_looked = has_looked && agree(run, run->parts || open_parts(run, error), error);
    has_looked = has_looked && agree(run, look(run, error), error);
    process_group_set_timeout(group, PATIENCE); // one rank writes, the disk takes its time
    const bool ok = agree(
        run, !run->is_first || !run->parts ? has_looked : conclude(run, has_looked, error), error);
    prepare_parts_close(run->parts);
    run->parts = NULL;
    return ok;
}

/// Of a kill while something was written.
static void remove_remains(const Run *run) {
    output_remove_remains(run->pack);
    output_remove_remains(run->report);
}

/// The first rank has the folder of parts to itself.
static bool prepare_locked(Run *run, Error *error) {
    OutputFolder folder = {0};
    RunLock *lock = NULL;
    bool ok = true;
    if (run->is_first) {
        ok = output_folder_make(&folder, run->parts_folder, error);
        if (ok) lock = run_lock_take(run->parts_folder, error);
        ok = lock != NULL;
        if (ok) remove_remains(run);
    }
    ok = agree(run, ok, error) && prepare(run, error);
    run_lock_release(lock);
    if (run->is_first && ok) prepare_parts_remove(run->parts_folder);
    output_folder_close(&folder, !ok);
    return ok;
}

/// The pack is there. A kill may have left its parts; another run may be about to remove them.
static void tell_prepared(const Run *run) {
    bool is_held;
    Error unused;
    RunLock *lock = run_lock_try(run->parts_folder, &is_held, &unused);
    run_lock_release(lock);
    if (lock) prepare_parts_remove(run->parts_folder);
    utf8_print(stdout, "%s is there already, made of this file in this way\n", run->pack);
}

static void close_run(Run *run) {
    sample_file_close(run->samples);
    free(run->pack);
    free(run->parts_folder);
    free(run->report);
    free(run->identity);
    free(run->tokens_of);
}

bool prepare_file(const FilePreparation *file, Error *error) {
    Run run = {.file = file, .is_first = process_rank(file->group) == 0};
    run.pack = prepare_pack_path(file);
    run.parts_folder = format_string("%s.parts", run.pack);
    run.report = format_string("%s.problems.jsonl", run.pack);
    run.samples = sample_file_open(file->path, error);
    bool ok =
        agree(&run, run.samples && identify(&run, error), error) &&
        process_group_same(file->group, "the data", run.identity, strlen(run.identity), error);
    double missing = ok && !is_prepared(&run);
    ok = ok && process_group_sum(file->group, &missing, 1, error);
    if (ok && missing > 0)
        ok = prepare_locked(&run, error);
    else if (ok && run.is_first)
        tell_prepared(&run);
    close_run(&run);
    return ok;
}
