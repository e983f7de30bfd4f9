#include "train/ground/ground_folder.h"

#include "autograd/json_file.h"
#include "autograd/output/output_directory.h"
#include "autograd/output/output_file.h"
#include "autograd/output/output_folder.h"
#include "autograd/stop_request.h"
#include "autograd/text/utf8.h"
#include "eval/attention/answer_store.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/ground/ground_files.h"
#include "train/group/run_lock.h"
#include "train/log/progress.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/// What was asked with.
static const char RECORD[] = "ground.json";

/// A picture of the folder.
typedef struct Item {
    char *path;
    /// of its folder in DIR
    char *name;
    /// while it is asked about
    Image picture;
} Item;

typedef struct Work {
    Grounder *grounder;
    const FolderOptions *options;
    /// sorted by path
    Item *items;
    int count;
    /// those without a folder
    Item **missing;
    int num_missing, num_asked, num_done, num_failed;
    /// those of the feed that is under way, in its order
    Item **asked;
    int num_in_feed;
    /// an answer could not be written: not the picture's fault
    bool is_stuck;
    Error first_failure;
    Progress *progress;
} Work;

// ---- the folder's pictures

static size_t stem_length(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : strlen(name);
}

static int is_picture(const struct dirent *entry) {
    static const char *const ENDINGS[] = {".jpg",  ".jpeg", ".png", ".gif",
                                          ".webp", ".bmp",  ".tif", ".tiff"};
    const char *ending = entry->d_name + stem_length(entry->d_name);
    for (size_t i = 0; i < sizeof ENDINGS / sizeof *ENDINGS; i++)
        if (ending > entry->d_name && !strcasecmp(ending, ENDINGS[i])) return 1;
    return 0;
}

/// Whether another one of the entries [count], or a file of ours, has the name of entry i but for
/// its ending.
static bool shares_stem(struct dirent **entries, int count, int i) {
    size_t length = stem_length(entries[i]->d_name);
    static const char *const OURS[] = {RECORD, "run.lock"};
    for (size_t k = 0; k < sizeof OURS / sizeof *OURS; k++)
        if (strlen(OURS[k]) == length && !strncmp(OURS[k], entries[i]->d_name, length)) return true;
    for (int k = 0; k < count; k++)
        if (k != i && stem_length(entries[k]->d_name) == length &&
            !strncmp(entries[k]->d_name, entries[i]->d_name, length))
            return true;
    return false;
}

static bool list_pictures(Work *work, Error *error) {
    const char *folder = work->options->pictures;
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_picture, alphasort);
    if (count < 0) return error_set(error, "%s: cannot be listed: %s", folder, strerror(errno));
    work->items = checked_calloc((size_t)count + 1, sizeof *work->items);
    work->missing = checked_calloc((size_t)count + 1, sizeof *work->missing);
    work->asked = checked_calloc((size_t)count + 1, sizeof *work->asked);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        size_t length = shares_stem(entries, count, i) ? strlen(name) : stem_length(name);
        work->items[work->count++] = (Item){.path = format_string("%s/%s", folder, name),
                                            .name = format_string("%.*s", (int)length, name)};
    }
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    return count > 0 ||
           error_set(error,
                     "%s: there is no picture in it (" IMAGE_FORMATS ", by their names' endings)",
                     folder);
}

static char *result_folder(const Work *work, const Item *item) {
    return format_string("%s/%s", work->options->out, item->name);
}

/// Another picture's folder could have the name that a kill leaves of this one's.
static bool could_be_taken_for_remains(const Work *work, const Item *item) {
    size_t length = strlen(item->name);
    for (int i = 0; i < work->count; i++)
        if (!strncmp(work->items[i].name, item->name, length) && work->items[i].name[length] == '.')
            return true;
    return false;
}

static void find_missing(Work *work) {
    for (int i = 0; i < work->count; i++) {
        Item *item = &work->items[i];
        char *folder = result_folder(work, item), *answer = format_string("%s/answer.json", folder);
        if (!could_be_taken_for_remains(work, item)) output_directory_remove_remains(folder);
        if (access(answer, F_OK) != 0) work->missing[work->num_missing++] = item;
        free(folder);
        free(answer);
    }
}

// ---- what was asked with

static json_t *asked_with(const Work *work, Error *error) {
    const FolderOptions *options = work->options;
    json_t *with = evaluation_grounded_with(work->grounder->config, error);
    if (!with) return NULL;
    json_object_set_new(with, "prompt", json_string(options->prompt));
    json_object_set_new(with, "--words",
                        options->words ? json_string(options->words) : json_null());
    json_object_set_new(with, "--html", json_boolean(options->page));
    return with;
}

static char *record_path(const Work *work) {
    return format_string("%s/%s", work->options->out, RECORD);
}

/// An earlier run was asked with the same; is_new receives whether there was none.
static bool agree(const Work *work, const json_t *with, bool *is_new, Error *error) {
    char *path = record_path(work);
    output_remove_remains(path);
    *is_new = access(path, F_OK) != 0;
    json_t *before = *is_new ? NULL : json_file_read_object(path, 0, error);
    bool ok = *is_new || (before && answers_go_together(path, before, with, error));
    free(path);
    json_decref(before);
    return ok;
}

static bool write_record(const Work *work, const json_t *with, Error *error) {
    char *path = record_path(work), *text = json_dumps(with, JSON_INDENT(1));
    bool ok = output_whole_file(path, text, strlen(text), error);
    free(text);
    free(path);
    return ok;
}

// ---- asking

/// A picture that cannot be answered; the others go on.
static void note_failure(Work *work, const Error *reason) {
    progress_update(work->progress, ++work->num_done, "%s", "");
    if (!work->num_failed++) work->first_failure = *reason;
    progress_print(work->progress, "%s", reason->message);
}

static bool write_answer(const Work *work, const Item *item, const GroundedAnswer *answer,
                         Error *error) {
    const Grounder *grounder = work->grounder;
    GroundFiles files = {answer, item->path, grounder->segmenter ? grounder->segmenter->name : NULL,
                         grounder->how, work->options->page};
    char *folder = result_folder(work, item);
    bool ok = ground_files_make(&files, folder, error);
    free(folder);
    return ok;
}

/// QuestionFeed.next: the next picture that can be read.
static bool ask_next(void *context, Question *question, Error *error) {
    Work *work = context;
    (void)error;
    *question = (Question){.text = work->options->prompt};
    while (!question->image && work->num_asked < work->num_missing) {
        Item *item = work->missing[work->num_asked++];
        Error reason = {0};
        if (image_read(item->path, &item->picture, &reason)) {
            work->asked[work->num_in_feed++] = item;
            question->image = &item->picture;
        } else {
            note_failure(work, &reason);
        }
    }
    return true;
}

/// QuestionFeed.answered.
static bool take_answer(void *context, int64_t number, Answer *answer, Error *error) {
    Work *work = context;
    Item *item = work->asked[number];
    GroundedAnswer grounded = {
        .picture = &item->picture, .question = work->options->prompt, .answer = *answer};
    Error reason = {0};
    bool is_grounded = grounder_ground(work->grounder, &grounded, &reason);
    bool ok = !is_grounded || write_answer(work, item, &grounded, error);
    work->is_stuck = !ok;
    if (!is_grounded) {
        error_context(&reason, "%s", item->path);
        note_failure(work, &reason);
    }
    grounded_answer_free(&grounded);
    *answer = (Answer){0};
    image_free(&item->picture);
    item->picture = (Image){0};
    if (ok && is_grounded) progress_update(work->progress, ++work->num_done, "%s", "");
    return ok;
}

/// All pictures that are left, up to one that is to blame if the model cannot be asked about it.
static bool feed(Work *work, Error *error) {
    const Grounder *grounder = work->grounder;
    const QuestionFeed questions = {work, ask_next, take_answer};
    work->num_in_feed = 0;
    if (answer_feed(&grounder->answers.options, (int)grounder->config->eval.batch_size, &questions,
                    error))
        return true;
    if (stop_requested() || work->is_stuck || error->is_configuration || !work->num_in_feed)
        return false;
    Item *item = work->asked[work->num_in_feed - 1];
    error_context(error, "%s", item->path);
    note_failure(work, error);
    return true;
}

static bool ask_all(Work *work, Error *error) {
    work->num_done = work->count - work->num_missing;
    work->progress = progress_begin(stderr, "pictures", work->num_done, work->count, 16);
    bool ok = true;
    while (ok && work->num_asked < work->num_missing)
        ok = stop_requested() ? stop_request_error(error) : feed(work, error);
    progress_end(work->progress);
    if (!ok && stop_requested())
        error_set(error, "stopped on request: what was answered is kept, and the same command goes "
                         "on with the rest");
    return ok;
}

static bool answer_missing(Work *work, Error *error) {
    json_t *with = asked_with(work, error);
    bool is_new;
    bool ok = with && agree(work, with, &is_new, error);
    if (ok) find_missing(work);
    if (ok && work->num_missing)
        ok = grounder_load(work->grounder, error) && (!is_new || write_record(work, with, error)) &&
             ask_all(work, error);
    json_decref(with);
    return ok;
}

static bool say_what_was_done(const Work *work, Error *error) {
    int answered = work->num_missing - work->num_failed;
    utf8_print(stdout, "%d of %d pictures answered in %s, %d of them before\n",
               work->count - work->num_failed, work->count, work->options->out,
               work->count - work->num_failed - answered);
    return !work->num_failed ||
           error_set(error, "%d of %d pictures could not be answered, the first because: %s",
                     work->num_failed, work->count, work->first_failure.message);
}

static void work_free(Work *work) {
    for (int i = 0; i < work->count; i++) {
        free(work->items[i].path);
        free(work->items[i].name);
        image_free(&work->items[i].picture);
    }
    free(work->items);
    free(work->asked);
    free(work->missing);
}

bool ground_folder(Grounder *grounder, const FolderOptions *options, Error *error) {
    Work work = {.grounder = grounder, .options = options};
    OutputFolder folder = {0};
    stop_request_listen();
    bool ok = list_pictures(&work, error) && output_folder_make(&folder, options->out, error);
    RunLock *lock = ok ? run_lock_take(options->out, error) : NULL;
    ok = lock && answer_missing(&work, error) && say_what_was_done(&work, error);
    run_lock_release(lock);
    output_folder_close(&folder, !ok);
    work_free(&work);
    return ok;
}
