#include "train/ground/ground_talk.h"

#include "autograd/home_path.h"
#include "autograd/stop_request.h"
#include "autograd/text/nearest_name.h"
#include "autograd/text/utf8.h"
#include "train/ground/ground_files.h"
#include "train/ground/ground_print.h"
#include "train/ground/line_reader.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Talk {
    Grounder *grounder;
    bool page, is_over;
    char *picture_path;
    Image picture;
    SeenPicture seen;
    /// what was said about the picture, human and gpt in turns; the texts are owned
    Turn *turns;
    int num_turns;
    /// zeros before the first
    GroundedAnswer last;
} Talk;

// ---- signals

static volatile sig_atomic_t interrupted;

/// Ctrl-C concerns the answer; everything else the program.
static void note_signal(int signal_number) {
    if (signal_number == SIGINT)
        interrupted = 1;
    else if (stop_request_note(signal_number) == STOP_IMMEDIATELY) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
}

static bool goes_on(void) { return !interrupted && !stop_requested(); }

// ---- the conversation

static void forget_turns(Talk *talk) {
    for (int i = 0; i < talk->num_turns; i++) free((char *)talk->turns[i].text);
    talk->num_turns = 0;
}

static void add_turn(Talk *talk, Role role, const char *text) {
    talk->turns = checked_realloc(talk->turns, ((size_t)talk->num_turns + 1) * sizeof *talk->turns);
    talk->turns[talk->num_turns++] = (Turn){role, checked_strdup(text)};
}

static void forget_answer(Talk *talk) {
    free((char *)talk->last.question);
    grounded_answer_free(&talk->last);
}

static bool ask(Talk *talk, const char *text, Error *error) {
    if (!is_utf8(text, strlen(text))) return error_set(error, "the question is not UTF-8");
    AnswerPrinter printer = answer_printer(stdout, goes_on);
    AnswerListener listener = {answer_printer_hear, &printer};
    Question question = {.image = &talk->picture,
                         .text = text,
                         .seen = &talk->seen,
                         .number = (uint64_t)talk->num_turns / 2,
                         .earlier = talk->turns,
                         .num_earlier = talk->num_turns};
    GroundedAnswer answer;
    interrupted = 0;
    if (!grounder_ask(talk->grounder, &question, &listener, &answer, error)) {
        Error reason = *error;
        return error->is_configuration && talk->num_turns
                   ? error_set(error, "%s; /new forgets what was said before", reason.message)
                   : false;
    }
    answer_printer_end(&printer, &answer);
    forget_answer(talk);
    talk->last = answer;
    talk->last.question = checked_strdup(text);
    add_turn(talk, ROLE_HUMAN, text);
    add_turn(talk, ROLE_GPT, answer.answer.text);
    return true;
}

// ---- commands

static bool take_picture(Talk *talk, const char *argument, Error *error) {
    Image picture;
    if (!argument) return error_set(error, "/image needs a file: /image FILE");
    char *path = home_path(argument, error);
    if (!path || !image_read(path, &picture, error)) {
        free(path);
        return false;
    }
    forget_turns(talk);
    forget_answer(talk);
    seen_picture_free(&talk->seen);
    image_free(&talk->picture);
    free(talk->picture_path);
    talk->picture = picture;
    talk->picture_path = path;
    utf8_print(stdout, "%s, %d x %d\n", path, picture.width, picture.height);
    return true;
}

static bool begin_anew(Talk *talk, const char *argument, Error *error) {
    if (argument) return error_set(error, "/new takes nothing");
    forget_turns(talk);
    return true;
}

/// The last answer is looked through as well.
static bool look_for(Talk *talk, const char *words, Error *error) {
    if (!grounder_look_for(talk->grounder, words, error)) return false;
    if (!talk->last.question) return true;
    if (!grounder_ground(talk->grounder, &talk->last, error)) return false;
    print_phrases(stdout, terminal_colors(stdout), &talk->last);
    return true;
}

static const char *segmenter_of(const Grounder *grounder) {
    return grounder->segmenter ? grounder->segmenter->name : NULL;
}

static bool save(Talk *talk, const char *argument, Error *error) {
    if (!argument) return error_set(error, "/save needs a folder: /save DIR");
    if (!talk->last.question) return error_set(error, "there is no answer yet to be saved");
    char *folder = home_path(argument, error);
    GroundFiles files = {&talk->last, talk->picture_path, segmenter_of(talk->grounder),
                         talk->grounder->how, talk->page};
    bool ok = folder && ground_files_replace(&files, folder, error);
    if (ok) utf8_print(stdout, "the last answer is in %s\n", folder);
    free(folder);
    return ok;
}

static bool quit(Talk *talk, const char *argument, Error *error) {
    (void)argument, (void)error;
    talk->is_over = true;
    return true;
}

static bool explain(Talk *talk, const char *argument, Error *error);

static const struct {
    const char *name, *argument, *help;
    bool (*run)(Talk *talk, const char *argument, Error *error);
} COMMANDS[] = {
    {"/image", "FILE", "another picture, and a new conversation about it", take_picture},
    {"/new", "", "forget what was said about the picture", begin_anew},
    {"/words", "WORD,...", "look for these in answers; alone: for all that they name", look_for},
    {"/save", "DIR", "write the last answer with its masks and pictures to a folder", save},
    {"/help", "", "this", explain},
    {"/quit", "", "end; so does Ctrl-D", quit},
};
enum { NUM_COMMANDS = sizeof COMMANDS / sizeof *COMMANDS };

static bool explain(Talk *talk, const char *argument, Error *error) {
    (void)talk, (void)argument, (void)error;
    puts("A line is a question about the picture. Ctrl-C ends an answer. Beside questions:");
    for (int i = 0; i < NUM_COMMANDS; i++)
        printf("  %-6s %-9s %s\n", COMMANDS[i].name, COMMANDS[i].argument, COMMANDS[i].help);
    return true;
}

static bool run_command(Talk *talk, char *line, Error *error) {
    const char *names[NUM_COMMANDS];
    char *argument = line + strcspn(line, " \t");
    if (*argument) *argument++ = 0;
    argument += strspn(argument, " \t");
    for (int i = 0; i < NUM_COMMANDS; i++) {
        names[i] = COMMANDS[i].name;
        if (!strcmp(line, names[i]))
            return COMMANDS[i].run(talk, *argument ? argument : NULL, error);
    }
    int nearest = nearest_name(line, names, NUM_COMMANDS);
    if (nearest < 0)
        return error_set(error, "'%s' is no command; /help lists them", quote(line).text);
    return error_set(error, "'%s' is no command; did you mean '%s'?", quote(line).text,
                     names[nearest]);
}

// ---- lines

static void strip_end(char *line) {
    size_t length = strlen(line);
    while (length > 0 && (line[length - 1] == ' ' || line[length - 1] == '\t')) length--;
    line[length] = 0;
}

/// Says what went wrong and goes on.
static void take_line(Talk *talk, char *line) {
    Error error = {0};
    line += strspn(line, " \t");
    strip_end(line);
    bool ok = !*line || (*line == '/' ? run_command(talk, line, &error) : ask(talk, line, &error));
    fflush(stdout);
    if (!ok && !stop_requested()) utf8_print(stderr, "%s\n", error.message);
}

static void converse(Talk *talk) {
    LineReader reader = {.descriptor = STDIN_FILENO};
    bool is_typed = isatty(STDIN_FILENO);
    while (!talk->is_over && !stop_requested()) {
        char *line = NULL;
        interrupted = 0;
        if (is_typed) {
            fputs("> ", stdout);
            fflush(stdout);
        }
        LineOutcome outcome = line_reader_next(&reader, goes_on, &line);
        if (outcome == LINE_READ) take_line(talk, line);
        if (outcome != LINE_READ && is_typed) putchar('\n');
        talk->is_over = talk->is_over || outcome == LINE_END;
        if (outcome == LINE_UNWANTED && !interrupted) talk->is_over = true;
        free(line);
    }
    line_reader_free(&reader);
}

bool ground_talk(Grounder *grounder, const TalkOptions *options, Error *error) {
    Talk talk = {.grounder = grounder, .page = options->page};
    stop_request_handle(note_signal);
    bool ok = image_read(options->picture_path, &talk.picture, error);
    if (ok) {
        talk.picture_path = checked_strdup(options->picture_path);
        if (isatty(STDIN_FILENO)) puts("A line is a question about the picture; /help says more.");
        if (options->prompt) {
            char *prompt = checked_strdup(options->prompt);
            take_line(&talk, prompt);
            free(prompt);
        }
        converse(&talk);
        if (stop_requested()) ok = stop_request_error(error);
    }
    forget_turns(&talk);
    forget_answer(&talk);
    seen_picture_free(&talk.seen);
    free(talk.turns);
    free(talk.picture_path);
    image_free(&talk.picture);
    return ok;
}
