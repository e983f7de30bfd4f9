#include "eval/metrics/meteor/paraphrases.h"
#include "eval/metrics/text/string_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    MOST_WORDS = 64,      // of a phrase
    VOCABULARY = 1 << 16, // words that 16 bits tell apart
    LINE_BYTES = 1 << 16, // of the longest line
    FIRST_PLACES = 1 << 12,
    GZIP_BUFFER = 1 << 18,
};
/// Lines of text that are read; the English table has 272 MB.
static const int64_t MOST_BYTES = (int64_t)8 << 30;

/// Pairs of one phrase that follow each other in the file.
typedef struct Run {
    /// the phrase, in `words`: its length and its words
    size_t phrase;
    /// its paraphrases, in `words`: of each its length and its words
    size_t begin;
    uint32_t count;
    /// the next run of the same phrase, or -1
    int32_t next;
} Run;

struct Paraphrases {
    StringTable *vocabulary;
    uint16_t *words;
    size_t word_count, word_capacity;
    Run *runs;
    int run_count, run_capacity;
    /// Open addressing over the first runs of phrases; -1: free. A power of two.
    int32_t *places;
    int place_count;
    int longest;
    int64_t pairs;
};

static uint32_t hash_of(const uint16_t *words, int count) {
    uint32_t hash = 2166136261u;
    for (int i = 0; i < count; i++) hash = (hash ^ words[i]) * 16777619u;
    return hash ^ hash >> 15;
}

/// The place of a phrase, or the free one where it belongs.
static int32_t *place_of(const Paraphrases *table, const uint16_t *words, int count) {
    const uint32_t mask = (uint32_t)table->place_count - 1;
    for (uint32_t i = hash_of(words, count) & mask;; i = (i + 1) & mask) {
        int32_t *place = &table->places[i];
        if (*place < 0) return place;
        const uint16_t *other = table->words + table->runs[*place].phrase;
        if (other[0] == count && memcmp(other + 1, words, (size_t)count * sizeof *words) == 0)
            return place;
    }
}

static void make_places(Paraphrases *table, int count) {
    const size_t bytes = (size_t)count * sizeof *table->places;
    free(table->places);
    table->places = checked_malloc(bytes);
    memset(table->places, 0xff, bytes);
    table->place_count = count;
}

/// Of the first runs, which are those that no other run leads to, there is one place each.
static void grow_places(Paraphrases *table) {
    make_places(table, 2 * table->place_count);
    for (int i = 0; i < table->run_count; i++) {
        const uint16_t *phrase = table->words + table->runs[i].phrase;
        int32_t *place = place_of(table, phrase + 1, phrase[0]);
        if (*place < 0) *place = i;
    }
}

static size_t put_phrase(Paraphrases *table, const uint16_t *words, int count) {
    if (table->word_count + MOST_WORDS + 1 > table->word_capacity) {
        table->word_capacity += table->word_capacity / 2 + 4096;
        table->words = checked_realloc(table->words, table->word_capacity * sizeof *table->words);
    }
    const size_t at = table->word_count;
    table->words[at] = (uint16_t)count;
    memcpy(table->words + at + 1, words, (size_t)count * sizeof *words);
    table->word_count += (size_t)count + 1;
    return at;
}

/// The last run if it is of this phrase, else a new one.
static Run *run_of(Paraphrases *table, const uint16_t *words, int count) {
    if (table->run_count > 0) {
        Run *last = &table->runs[table->run_count - 1];
        const uint16_t *phrase = table->words + last->phrase;
        if (phrase[0] == count && memcmp(phrase + 1, words, (size_t)count * sizeof *words) == 0)
            return last;
    }
    if (table->run_count == table->run_capacity) {
        table->run_capacity += table->run_capacity / 2 + 1024;
        table->runs =
            checked_realloc(table->runs, (size_t)table->run_capacity * sizeof *table->runs);
    }
    int32_t *place = place_of(table, words, count);
    const int32_t number = table->run_count;
    if (*place < 0) {
        *place = number;
    } else {
        Run *before = &table->runs[*place];
        while (before->next >= 0) before = &table->runs[before->next];
        before->next = number;
    }
    const size_t phrase = put_phrase(table, words, count);
    table->runs[table->run_count++] = (Run){phrase, table->word_count, 0, -1};
    if (2 * table->run_count > table->place_count) grow_places(table);
    if (count > table->longest) table->longest = count;
    return &table->runs[number];
}

// ---- the file

typedef struct Reader {
    const char *path;
    gzFile file;
    int64_t line, bytes;
    char text[LINE_BYTES];
    Error *error;
} Reader;

/// The next line, without its end, in `text`. False at the end, and with a message on failure.
static bool next_line(Reader *reader, bool *failed) {
    if (!gzgets(reader->file, reader->text, LINE_BYTES)) {
        int status;
        const char *what = gzerror(reader->file, &status);
        *failed = status != Z_OK && status != Z_STREAM_END;
        if (*failed)
            error_set(reader->error, "%s cannot be read behind line %lld: %s", reader->path,
                      (long long)reader->line, status == Z_BUF_ERROR ? "it is truncated" : what);
        return false;
    }
    reader->line++;
    const size_t length = strlen(reader->text);
    reader->bytes += (int64_t)length;
    *failed = (length == LINE_BYTES - 1 && reader->text[length - 1] != '\n') ||
              reader->bytes > MOST_BYTES;
    if (*failed)
        error_set(reader->error, "%s:%lld: far too long for a table of paraphrases", reader->path,
                  (long long)reader->line);
    return !*failed;
}

/// Reads a line of words, one or more. Their number, or 0 with a message.
static int next_phrase(Paraphrases *table, Reader *reader, uint16_t words[MOST_WORDS]) {
    bool failed;
    int count = 0;
    if (!next_line(reader, &failed)) {
        if (!failed)
            error_set(reader->error, "%s ends within a pair, behind line %lld", reader->path,
                      (long long)reader->line);
        return 0;
    }
    for (const char *c = reader->text; *(c += strspn(c, " \t\r\n\f"));) {
        const size_t length = strcspn(c, " \t\r\n\f");
        const int32_t word = string_table_add(table->vocabulary, c, length);
        if (word >= VOCABULARY || count == MOST_WORDS) {
            error_set(reader->error, "%s:%lld: more than %d %s", reader->path,
                      (long long)reader->line, count == MOST_WORDS ? MOST_WORDS : VOCABULARY,
                      count == MOST_WORDS ? "words in a phrase" : "different words");
            return 0;
        }
        words[count++] = (uint16_t)word;
        c += length;
    }
    if (count == 0)
        error_set(reader->error,
                  "%s:%lld is empty; expected three lines a pair: a probability, a phrase, a "
                  "paraphrase of it",
                  reader->path, (long long)reader->line);
    return count;
}

/// The first line of a pair has to be a number: else this is another file.
static bool check_probability(Reader *reader) {
    char *end;
    strtod(reader->text, &end);
    end += strspn(end, " \t\r\n");
    return (end != reader->text && !*end) ||
           error_set(reader->error, "%s:%lld: expected a probability and not '%s'", reader->path,
                     (long long)reader->line, quote(reader->text).text);
}

static bool read_pairs(Paraphrases *table, Reader *reader) {
    uint16_t phrase[MOST_WORDS], paraphrase[MOST_WORDS];
    bool failed;
    while (next_line(reader, &failed)) {
        if (!check_probability(reader)) return false;
        const int count = next_phrase(table, reader, phrase),
                  other = count > 0 ? next_phrase(table, reader, paraphrase) : 0;
        if (other == 0) return false;
        run_of(table, phrase, count)->count++;
        put_phrase(table, paraphrase, other);
        table->pairs++;
    }
    if (failed) return false;
    return table->pairs > 0 ||
           error_set(reader->error, "%s is empty; expected a table of paraphrases", reader->path);
}

Paraphrases *paraphrases_open(const char *path, Error *error) {
    Reader *reader = checked_calloc(1, sizeof *reader);
    *reader = (Reader){.path = path, .error = error, .file = gzopen(path, "rb")};
    if (!reader->file) {
        error_set(error, "%s: cannot open: %s", path, strerror(errno));
        free(reader);
        return NULL;
    }
    gzbuffer(reader->file, GZIP_BUFFER);
    Paraphrases *table = checked_calloc(1, sizeof *table);
    table->vocabulary = string_table_new();
    make_places(table, FIRST_PLACES);
    const bool is_read = read_pairs(table, reader);
    gzclose(reader->file);
    free(reader);
    if (!is_read) {
        paraphrases_close(table);
        return NULL;
    }
    table->word_capacity = table->word_count;
    table->words = checked_realloc(table->words, table->word_count * sizeof *table->words);
    return table;
}

void paraphrases_close(Paraphrases *table) {
    if (!table) return;
    string_table_free(table->vocabulary);
    free(table->words);
    free(table->runs);
    free(table->places);
    free(table);
}

int64_t paraphrases_count(const Paraphrases *table) { return table->pairs; }
size_t paraphrases_bytes(const Paraphrases *table) {
    return table->word_capacity * sizeof *table->words +
           (size_t)table->run_capacity * sizeof *table->runs +
           (size_t)table->place_count * sizeof *table->places;
}
int paraphrases_longest(const Paraphrases *table) { return table->longest; }
int paraphrases_vocabulary_size(const Paraphrases *table) {
    return string_table_size(table->vocabulary);
}
int32_t paraphrases_word(const Paraphrases *table, const char *word, size_t length) {
    return string_table_find(table->vocabulary, word, length);
}

// ---- looking up

static void begin_run(ParaphraseWalk *walk, int32_t run) {
    const Run *begun = run >= 0 ? &walk->table->runs[run] : NULL;
    walk->run = run;
    walk->left = begun ? begun->count : 0;
    walk->next = begun ? walk->table->words + begun->begin : NULL;
}

ParaphraseWalk paraphrases_of(const Paraphrases *table, const int32_t *words, int count) {
    ParaphraseWalk walk = {.table = table, .run = -1};
    uint16_t phrase[MOST_WORDS];
    if (count > table->longest) return walk;
    for (int i = 0; i < count; i++) {
        if (words[i] < 0) return walk;
        phrase[i] = (uint16_t)words[i];
    }
    begin_run(&walk, *place_of(table, phrase, count));
    return walk;
}

const uint16_t *paraphrases_next(ParaphraseWalk *walk, int *count) {
    if (walk->left == 0 && walk->run >= 0) begin_run(walk, walk->table->runs[walk->run].next);
    if (walk->left == 0) return NULL;
    const uint16_t *words = walk->next + 1;
    *count = walk->next[0];
    walk->next = words + *count;
    walk->left--;
    return words;
}
