#include "tests/fuzz/execute.h"

#include "autograd/clock.h"
#include "train/command.h"

#include <ctype.h>
#include <dirent.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/// A user reads no more than that.
enum { MOST_LINES = 24, MOST_BYTES = 6000 };

void outcome_free(Outcome *outcome) {
    byte_buffer_free(&outcome->out);
    byte_buffer_free(&outcome->err);
    byte_buffer_free(&outcome->changes);
}

static void note_change(void *context, TreeChange change, const char *path) {
    static const char *const words[] = {"added", "removed", "changed"};
    byte_buffer_print(context, "%s %s\n", words[change], path);
}

/// Returns what the descriptor was.
static int redirect(int descriptor, int to) {
    int before = dup(descriptor);
    if (ftruncate(to, 0) == 0) lseek(to, 0, SEEK_SET);
    dup2(to, descriptor);
    return before;
}

static void restore(int descriptor, int before) {
    dup2(before, descriptor);
    close(before);
}

/// Makes writing fail (EFBIG) behind so many bytes of any file; 0: no longer.
static void limit_files(size_t bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
}

static int count_descriptors(void) {
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory)) count++;
    if (directory) closedir(directory);
    return count;
}

Outcome execute(const Target *target, const FuzzCase *fuzz_case, Capture capture) {
    Outcome outcome = {0};
    Tree before = tree_list();
    // Commands may change their arguments, the text and the order.
    char *arguments[MOST_ARGUMENTS + 1] = {0}, *owned[MOST_ARGUMENTS];
    for (int i = 0; i < fuzz_case->count; i++)
        arguments[i] = owned[i] = checked_strdup(fuzz_case->arguments[i]);
    fflush(NULL);
    int out = redirect(STDOUT_FILENO, capture.out), err = redirect(STDERR_FILENO, capture.err);
    limit_files(fuzz_case->file_limit);
    outcome.descriptors = -count_descriptors();
    double started = clock_seconds();
    outcome.exit_code = target->run(fuzz_case->count, arguments);
    outcome.seconds = clock_seconds() - started;
    fflush(NULL);
    outcome.descriptors += count_descriptors();
    limit_files(0);
    restore(STDOUT_FILENO, out);
    restore(STDERR_FILENO, err);
    for (int i = 0; i < fuzz_case->count; i++) free(owned[i]);
    bytes_read_descriptor(&outcome.out, capture.out);
    bytes_read_descriptor(&outcome.err, capture.err);
    Tree after = tree_list();
    byte_buffer_print(&outcome.changes, "%s", "");
    tree_compare(&before, &after, note_change, &outcome.changes);
    tree_free(&before);
    tree_free(&after);
    return outcome;
}

// ---- judging

/// The first byte that no terminal should get, -1: none.
static int control_byte(const ByteBuffer *text) {
    for (size_t i = 0; i < text->size; i++) {
        const unsigned char c = (unsigned char)text->data[i];
        if (c < 0x20 && c != '\n' && c != '\t') return c;
    }
    return -1;
}

static int count_lines(const ByteBuffer *text) {
    int lines = 0;
    for (size_t i = 0; i < text->size; i++) lines += text->data[i] == '\n';
    return lines;
}

/// "checkpoint-3.h5.a1B2c3": as mkstemp() and mkdtemp() name what is not complete.
static bool is_temporary(const char *path, size_t length) {
    size_t from = length;
    while (from && isalnum((unsigned char)path[from - 1])) from--;
    if (length - from != 6 || from < 2 || path[from - 1] != '.') return false;
    for (size_t i = from; i < length; i++)
        if (isdigit((unsigned char)path[i]) || isupper((unsigned char)path[i])) return true;
    return false;
}

/// Whether `line` is about the folder of a training that had begun, what is in it, or a folder
/// above it.
static bool is_kept(const Target *target, const Outcome *outcome, const char *line) {
    static const char record[] = "/metrics.jsonl\n";
    const char *text = outcome->changes.data, *found = strstr(text, record);
    if (strcmp(target->name, "train") != 0 || !found) return false;
    const char *folder = found;
    while (folder > text && folder[-1] != ' ') folder--;
    const char *path = strchr(line, ' ') + 1;
    size_t length = (size_t)(found - folder), mine = strcspn(path, "\n"),
           common = length < mine ? length : mine;
    return !strncmp(path, folder, common) &&
           (length == mine || (length < mine ? path[length] : folder[mine]) == '/');
}

/// Whether `line` is about features that a run kept: damaged ones are replaced.
static bool is_mended(const char *line) {
    return !strncmp(line, "changed kept/features-", strlen("changed kept/features-"));
}

static char *judge_files(const Target *target, const Outcome *outcome) {
    const char *text = outcome->changes.data;
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        size_t length = strcspn(line, "\n");
        if (is_temporary(line, length))
            return format_string("temporary name left: %.*s", (int)length, line);
        if (!strncmp(line, "removed", 7) && strcmp(target->name, "train") != 0)
            return format_string("file removed: %.*s", (int)length, line);
        if (outcome->exit_code != EXIT_DONE && !is_kept(target, outcome, line) && !is_mended(line))
            return format_string("left behind by a failed run: %.*s", (int)length, line);
    }
    return NULL;
}

static char *judge_json(const FuzzCase *fuzz_case, const Outcome *outcome) {
    bool asked = false;
    for (int i = 1; i < fuzz_case->count; i++) {
        asked = asked || !strcmp(fuzz_case->arguments[i], "--json");
        if (!strcmp(fuzz_case->arguments[i], "--help") || !strcmp(fuzz_case->arguments[i], "-h"))
            return NULL;
    }
    if (!asked || !outcome->out.size) return NULL;
    json_error_t error;
    json_t *root = json_loadb(outcome->out.data, outcome->out.size, 0, &error);
    json_decref(root);
    return root ? NULL : format_string("no JSON in spite of --json: %s", error.text);
}

/// What config prints is a configuration that comes to the same.
static char *judge_config(const FuzzCase *fuzz_case, const Outcome *outcome) {
    if (fuzz_case->count < 2 || outcome->exit_code || !strstr(fuzz_case->arguments[1], ".yaml"))
        return NULL;
    for (int i = 1; i < fuzz_case->count; i++)
        if (!strcmp(fuzz_case->arguments[i], "--help") || !strcmp(fuzz_case->arguments[i], "-h"))
            return NULL;
    Error error = {0};
    Config *config = config_load_text(outcome->out.data, "what config printed", NULL, 0, &error);
    if (!config) return format_string("config refuses what it printed: %s", error.message);
    char *again = config_to_yaml(config);
    bool same = !strcmp(again, outcome->out.data);
    free(again);
    config_free(config);
    return same ? NULL : checked_strdup("config prints another configuration the second time");
}

char *judge(const Target *target, const FuzzCase *fuzz_case, const Outcome *outcome) {
    const ByteBuffer *out = &outcome->out, *err = &outcome->err;
    const char *said = err->data;
    bool failed = outcome->exit_code != EXIT_DONE, is_plan = !strcmp(target->name, "plan");
    if (outcome->exit_code < EXIT_DONE || outcome->exit_code > EXIT_USAGE)
        return format_string("exit code %d", outcome->exit_code);
    if (failed && !err->size && !(is_plan && out->size)) return checked_strdup("no message");
    if (control_byte(err) >= 0) return checked_strdup("a control byte in a message");
    if (control_byte(out) >= 0) return checked_strdup("a control byte in the output");
    if (failed && (count_lines(err) > MOST_LINES || err->size > MOST_BYTES))
        return format_string("a message of %d lines, %zu bytes", count_lines(err), err->size);
    if (strstr(said, "internal error") || strstr(said, "Success"))
        return format_string("a message that is none: %.100s", said);
    // HDF5 cannot let go of a file that it may write nowhere, which is what a limit comes to.
    if (outcome->descriptors > 0 && !fuzz_case->file_limit)
        return format_string("leaves %d descriptors open", outcome->descriptors);
    char *finding = judge_files(target, outcome);
    if (!finding && target->has_json) finding = judge_json(fuzz_case, outcome);
    if (!finding && !strcmp(target->name, "config")) finding = judge_config(fuzz_case, outcome);
    return finding;
}
