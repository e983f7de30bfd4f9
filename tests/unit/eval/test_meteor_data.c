// rooms: eval data autograd
// METEOR's word lists and table of paraphrases, whole and broken.
#include "autograd/text/byte_buffer.h"
#include "eval/metrics/meteor/meteor.h"
#include "tests/unit/temporary_folder.h"

#include <sys/stat.h>
#include <zlib.h>

static void write_bytes(const char *name, const char *text, size_t length) {
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    fclose(file);
}

/// Whole word lists.
static void write_lists(void) {
    mkdir(in_folder("function"), 0755);
    mkdir(in_folder("nonbreaking"), 0755);
    mkdir(in_folder("synonym"), 0755);
    write_text("function/english.words", "the\na\n");
    write_text("nonbreaking/english.prefixes", "# none\n\nMr\r\nNo #NUMERIC_ONLY#\n");
    write_text("synonym/english.synsets",
               "dog\n00000001 00000002\nhound\n1\ngood\n3\nnice\n3\nfox\n7");
    write_text("synonym/english.exceptions", "good\nbetter best\nnice\nbetter\nunheard\nheard\n");
}

static void expect_lists_refused(const char *message) {
    Error error = {0};
    assert_null(meteor_data_open(temporary_folder, NULL, &error));
    if (!strstr(error.message, message)) fail_msg("'%s' does not say '%s'", error.message, message);
}

static void expect_synsets(const MeteorResources *resources, const char *word, int count,
                           const int32_t *expected) {
    int32_t *sets;
    assert_int_equal(meteor_synsets(resources, word, strlen(word), &sets), count);
    if (count > 0) assert_memory_equal(sets, expected, (size_t)count * sizeof *sets);
    free(sets);
}

static void a_word_has_the_synonyms_of_its_base_forms(void **state) {
    (void)state;
    write_lists();
    Error error = {0};
    MeteorResources *resources = meteor_resources_open(temporary_folder, &error);
    if (!resources) fail_msg("%s", error.message);
    expect_synsets(resources, "dog", 2, (int32_t[]){1, 2});
    expect_synsets(resources, "dogs", 2, (int32_t[]){1, 2});
    expect_synsets(resources, "foxes", 1, (int32_t[]){7});
    expect_synsets(resources, "better", 1, (int32_t[]){3});
    expect_synsets(resources, "heard", 0, NULL); // its base form has none
    expect_synsets(resources, "dogss", 0, NULL);
    expect_synsets(resources, "s", 0, NULL);
    expect_synsets(resources, "", 0, NULL);
    char word[400];
    memset(word, 's', sizeof word);
    word[sizeof word - 1] = '\0';
    expect_synsets(resources, word, 0, NULL);
    meteor_resources_close(resources);
}

static void a_missing_list_is_named(void **state) {
    (void)state;
    expect_lists_refused("function/english.words");
    write_lists();
    remove(in_folder("synonym/english.exceptions"));
    expect_lists_refused("synonym/english.exceptions");
}

static void lists_of_another_kind_are_refused_by_line(void **state) {
    (void)state;
    write_lists();
    write_text("function/english.words", "");
    expect_lists_refused("english.words is empty");
    write_lists();
    write_text("synonym/english.synsets", "dog\n1 2\nhound\n1 x\n");
    expect_lists_refused("english.synsets:4: 'x' is no number");
    write_text("synonym/english.synsets", "dog\n99999999999\n");
    expect_lists_refused("english.synsets:2: '99999999999' is no number");
    write_text("synonym/english.synsets", "dog\n1\nhound\n");
    expect_lists_refused("english.synsets ends behind line 3");
    write_lists();
    write_text("synonym/english.exceptions", "dog");
    expect_lists_refused("english.exceptions ends behind line 1");
    write_lists();
    write_bytes("nonbreaking/english.prefixes", "Mr\0Mrs\n", 7);
    expect_lists_refused("bytes that are zero");
    write_lists();
    write_bytes("synonym/english.synsets", "\x1f\x8b\x08\0\0\0\0\0", 8);
    expect_lists_refused("english.synsets");
}

// ---- paraphrases

static void write_gzip(const char *name, const char *text, size_t length) {
    gzFile file = gzopen(in_folder(name), "wb");
    assert_int_equal(gzwrite(file, text, (unsigned)length), length);
    gzclose(file);
}

static void expect_table_refused(const char *message) {
    Error error = {0};
    assert_null(paraphrases_open(in_folder("table.gz"), &error));
    if (!strstr(error.message, message) || !strstr(error.message, "/table.gz"))
        fail_msg("'%s' does not say '%s'", error.message, message);
}

static Paraphrases *open_table(const char *text) {
    Error error = {0};
    write_gzip("table.gz", text, strlen(text));
    Paraphrases *table = paraphrases_open(in_folder("table.gz"), &error);
    if (!table) fail_msg("%s", error.message);
    return table;
}

/// The paraphrases of "x y ...", as "a b, c".
static const char *paraphrases_of_text(const Paraphrases *table, const char *first,
                                       const char *second) {
    static const char *const vocabulary[] = {"a", "b", "c", "d", "e"};
    static char text[256];
    int32_t words[2] = {paraphrases_word(table, first, strlen(first)), -1};
    if (second) words[1] = paraphrases_word(table, second, strlen(second));
    ParaphraseWalk walk = paraphrases_of(table, words, second ? 2 : 1);
    int count;
    *text = '\0';
    for (const uint16_t *next; (next = paraphrases_next(&walk, &count));) {
        if (*text) strcat(text, ",");
        for (int i = 0; i < count; i++) {
            for (size_t v = 0; v < sizeof vocabulary / sizeof *vocabulary; v++) {
                if (paraphrases_word(table, vocabulary[v], 1) != next[i]) continue;
                if (i > 0) strcat(text, " ");
                strcat(text, vocabulary[v]);
            }
        }
    }
    return text;
}

static void paraphrases_come_in_the_order_of_the_file(void **state) {
    (void)state;
    // phrases that come again, not beside their first pairs
    Paraphrases *table = open_table("0.1\na b\nc\n0.1\na b\nd e\n0.2\nc\na b\n0.1\na b\ne\n"
                                    "0.5\nc\nd\n1e-3\nd\nd d d\n");
    assert_int_equal(paraphrases_count(table), 6);
    assert_int_equal(paraphrases_longest(table), 2);
    assert_int_equal(paraphrases_vocabulary_size(table), 5);
    assert_string_equal(paraphrases_of_text(table, "a", "b"), "c,d e,e");
    assert_string_equal(paraphrases_of_text(table, "c", NULL), "a b,d");
    assert_string_equal(paraphrases_of_text(table, "d", NULL), "d d d");
    assert_string_equal(paraphrases_of_text(table, "a", NULL), "");
    assert_string_equal(paraphrases_of_text(table, "a", "unknown"), "");
    const int32_t three[] = {0, 1, 2};
    ParaphraseWalk walk = paraphrases_of(table, three, 3);
    int count;
    assert_null(paraphrases_next(&walk, &count));
    paraphrases_close(table);
}

static void a_table_of_many_phrases_finds_each(void **state) {
    (void)state;
    enum { PHRASES = 20000 };
    ByteBuffer text = {0};
    for (int i = 0; i < PHRASES; i++)
        byte_buffer_print(&text, "0.5\nx%d y%d\nz%d\n", i % 200, i / 200, i);
    Paraphrases *table = open_table(text.data);
    for (int i = 0; i < PHRASES; i += 7) {
        char x[16], y[16], z[16];
        snprintf(x, sizeof x, "x%d", i % 200);
        snprintf(y, sizeof y, "y%d", i / 200);
        snprintf(z, sizeof z, "z%d", i);
        const int32_t words[] = {paraphrases_word(table, x, strlen(x)),
                                 paraphrases_word(table, y, strlen(y))};
        ParaphraseWalk walk = paraphrases_of(table, words, 2);
        int count;
        const uint16_t *found = paraphrases_next(&walk, &count);
        assert_non_null(found);
        assert_true(count == 1 && found[0] == paraphrases_word(table, z, strlen(z)));
        assert_null(paraphrases_next(&walk, &count));
    }
    paraphrases_close(table);
    byte_buffer_free(&text);
}

static void broken_tables_are_refused_by_line(void **state) {
    (void)state;
    expect_table_refused("No such file");
    write_gzip("table.gz", "", 0);
    expect_table_refused("is empty");
    write_gzip("table.gz", "0.5\na\n", 6);
    expect_table_refused("ends within a pair, behind line 2");
    write_gzip("table.gz", "0.5\na\nb\n0.5\n", 12);
    expect_table_refused("ends within a pair, behind line 4");
    write_gzip("table.gz", "0.5\na\nb\nc\nd\ne\n", 14);
    expect_table_refused(":4: expected a probability and not 'c");
    write_gzip("table.gz", "0.5\n\nb\n", 7);
    expect_table_refused(":2 is empty; expected three lines a pair");
    ByteBuffer text = {0};
    byte_buffer_put_text(&text, "0.5\na\n");
    for (int i = 0; i < 65; i++) byte_buffer_put_text(&text, "b ");
    write_gzip("table.gz", text.data, text.size);
    expect_table_refused(":3: more than 64 words in a phrase");
    byte_buffer_clear(&text);
    byte_buffer_put_text(&text, "0.5\n");
    for (int i = 0; i < 70000; i++) byte_buffer_put_byte(&text, 'a');
    write_gzip("table.gz", text.data, text.size);
    expect_table_refused(":2: far too long");
    byte_buffer_clear(&text);
    for (int i = 0; i < 33000; i++) byte_buffer_print(&text, "0.5\na%d\nb%d\n", i, i);
    write_gzip("table.gz", text.data, text.size);
    expect_table_refused("more than 65536 different words");
    byte_buffer_free(&text);
}

static void a_truncated_table_is_told_from_a_whole_one(void **state) {
    (void)state;
    ByteBuffer text = {0};
    for (int i = 0; i < 5000; i++) byte_buffer_print(&text, "0.5\na%d\nb%d\n", i, i * i % 977);
    write_gzip("table.gz", text.data, text.size);
    struct stat status;
    assert_int_equal(stat(in_folder("table.gz"), &status), 0);
    assert_int_equal(truncate(in_folder("table.gz"), status.st_size / 2), 0);
    expect_table_refused("it is truncated");
    // and one whose bytes are others
    write_gzip("table.gz", text.data, text.size);
    FILE *file = fopen(in_folder("table.gz"), "r+b");
    fseek(file, status.st_size / 3, SEEK_SET);
    fwrite("\xff\xff\xff\xff\xff\xff\xff\xff", 1, 8, file);
    fclose(file);
    Error error = {0};
    assert_null(paraphrases_open(in_folder("table.gz"), &error));
    assert_non_null(strstr(error.message, "/table.gz"));
    byte_buffer_free(&text);
}

static void a_table_that_is_named_must_be_there(void **state) {
    (void)state;
    write_lists();
    Error error = {0};
    MeteorData *data = meteor_data_open(temporary_folder, NULL, &error);
    if (!data) fail_msg("%s", error.message);
    assert_null(data->paraphrases);
    meteor_data_close(data);
    assert_null(meteor_data_open(temporary_folder, in_folder("no.gz"), &error));
    assert_non_null(strstr(error.message, "/no.gz"));
    write_gzip("paraphrase-en.gz", "0.5\na\nb\n", 8);
    const char *const places[] = {NULL, temporary_folder, in_folder("paraphrase-en.gz")};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        data = meteor_data_open(temporary_folder, places[i], &error);
        assert_non_null(data->paraphrases);
        meteor_data_close(data);
    }
    assert_null(meteor_data_open(temporary_folder, in_folder("function"), &error));
    assert_non_null(strstr(error.message, "/function/paraphrase-en.gz"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_word_has_the_synonyms_of_its_base_forms),
        IN_FOLDER(a_missing_list_is_named),
        IN_FOLDER(lists_of_another_kind_are_refused_by_line),
        IN_FOLDER(paraphrases_come_in_the_order_of_the_file),
        IN_FOLDER(a_table_of_many_phrases_finds_each),
        IN_FOLDER(broken_tables_are_refused_by_line),
        IN_FOLDER(a_truncated_table_is_told_from_a_whole_one),
        IN_FOLDER(a_table_that_is_named_must_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
