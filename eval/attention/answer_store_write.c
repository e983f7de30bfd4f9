// Answers are put into a journal as they come, and packed into an HDF5 file when all are there.
#include "autograd/output/journal.h"
#include "autograd/output/output_file.h"
#include "eval/attention/answer_file_name.h"
#include "eval/attention/answer_record.h"
#include "eval/attention/answer_store.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *answer_file_path(const char *folder, int round, int process, const char *ending) {
    return format_string("%s/answers-%03d-%03d.%s", folder, round, process, ending);
}

bool answer_file_is_named(const char *entry, const char *ending, int *round, int *process) {
    int length = 0;
    return sscanf(entry, "answers-%6d-%6d.%n", round, process, &length) == 2 && length &&
           *round >= 0 && *process >= 0 && !strcmp(entry + length, ending);
}

struct AnswerWriter {
    char *path;
    Journal *journal;
};

AnswerWriter *answer_writer_open(const char *folder, int round, int process,
                                 const json_t *asked_with, Error *error) {
    char *path = answer_file_path(folder, round, process, "journal");
    Journal *journal = journal_open(path, true, error);
    if (!journal) {
        free(path);
        return NULL;
    }
    AnswerWriter *writer = checked_calloc(1, sizeof *writer);
    *writer = (AnswerWriter){path, journal};
    char *text = json_dumps(asked_with, JSON_COMPACT | JSON_SORT_KEYS);
    bool ok = journal_count(journal) > 0 || journal_append(journal, text, strlen(text), error);
    free(text);
    if (ok) return writer;
    answer_writer_close(writer);
    return NULL;
}

bool answer_writer_put(AnswerWriter *writer, const char *id, const Answer *answer, Error *error) {
    size_t size;
    char *record = answer_to_record(id, answer, &size);
    bool ok = journal_append(writer->journal, record, size, error);
    free(record);
    return ok;
}

void answer_writer_close(AnswerWriter *writer) {
    if (!writer) return;
    if (journal_count(writer->journal) < 2) unlink(writer->path); // it says nothing
    journal_close(writer->journal);
    free(writer->path);
    free(writer);
}

static bool pack_records(const Journal *journal, const char *path, StateWriter *writer,
                         Error *error) {
    size_t size;
    char *asked_with = journal_read(journal, 0, &size, error);
    int64_t count = journal_count(journal) - 1;
    bool ok = asked_with && state_write_attribute_string(writer, "asked_with", asked_with, error) &&
              state_write_attribute_int(writer, "count", count, error);
    free(asked_with);
    for (int64_t i = 0; ok && i < count; i++) {
        char *record = journal_read(journal, i + 1, &size, error), *id = NULL;
        Answer answer;
        ok = record && answer_from_record(path, record, size, &id, &answer, error);
        free(record);
        if (!ok) break;
        ok = answer_to_state(writer, i, id, &answer, error);
        answer_free(&answer);
        free(id);
    }
    return ok;
}

static bool pack_journal(const char *folder, int round, int process, Error *error) {
    char *from = answer_file_path(folder, round, process, "journal"),
         *to = answer_file_path(folder, round, process, "h5");
    Journal *journal = journal_open(from, false, error);
    bool ok = journal != NULL;
    if (ok && journal_count(journal) > 1) { // one without answers says nothing
        output_remove_remains(to);          // of a kill while it was packed before
        StateWriter *writer = state_create(to, error);
        ok = writer && pack_records(journal, from, writer, error);
        if (ok)
            ok = state_commit(writer, error);
        else
            state_abandon(writer);
    }
    journal_close(journal);
    if (ok && unlink(from) != 0)
        ok = error_set(error, "%s: cannot be removed: %s", from, strerror(errno));
    free(from);
    free(to);
    return ok;
}

bool answer_store_pack(const char *folder, int process, int count, Error *error) {
    struct dirent **entries = NULL;
    int round, of, num_entries = scandir(folder, &entries, NULL, alphasort);
    bool ok =
        num_entries >= 0 || error_set(error, "%s: cannot be listed: %s", folder, strerror(errno));
    for (int i = 0; i < num_entries; i++) {
        if (ok && answer_file_is_named(entries[i]->d_name, "journal", &round, &of) &&
            of % count == process)
            ok = pack_journal(folder, round, of, error);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

int64_t answer_store_bytes(int num_tokens, int layers, int heads, int cells) {
    // HDF5's structures; of a token its numbers, its text and, of a given text, an utterance
    static const int64_t FIXED = 2560, TOKEN = 3 * 8 + 8 + 2 * 8;
    return FIXED + (int64_t)num_tokens * ((int64_t)layers * heads * cells * 4 + TOKEN);
}
