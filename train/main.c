// difflmm: one program, one verb per thing that a person wants.
#include "autograd/home_path.h"
#include "autograd/text/nearest_name.h"
#include "autograd/text/utf8.h"
#include "data/images/image.h"
#include "train/command.h"
#include "train/version.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Verb {
    const char *name;
    int (*command)(int argc, char **argv);
    const char *summary;
} Verb;

#define ROW(name, summary) {#name, command_##name, summary},
static const Verb TABLE[] = {VERBS(ROW)};
#undef ROW
enum { NUM_VERBS = sizeof TABLE / sizeof *TABLE };

static void print_help(void) {
    puts("DiffLMM: trains language models to see through frozen CLIP and diffusion features, and "
         "shows\n"
         "what their attention points at.\n"
         "\n"
         "usage: difflmm VERB ...\n");
    for (int i = 0; i < NUM_VERBS; i++) printf("  %-10s %s\n", TABLE[i].name, TABLE[i].summary);
    puts("  help VERB  how a verb is used, with examples (also: difflmm VERB --help)\n"
         "\n"
         "A configuration is a YAML file; configs/ holds some to start from. Any key of it can be "
         "set on the\n"
         "command line as section.key=value. Paths are relative to the current directory, ~/ is "
         "home.\n"
         "\n"
         "  train/quickstart.sh                          a first run from start to end, no GPU "
         "needed\n"
         "  difflmm config                               every key of a configuration explained\n"
         "  difflmm config configs/tiny_stage1.yaml      what a configuration comes to\n"
         "\n"
         "Exit codes: 0 done, 1 failed, 2 bad usage or configuration.");
}

static int refuse_verb(const char *name) {
    const char *names[NUM_VERBS];
    for (int i = 0; i < NUM_VERBS; i++) names[i] = TABLE[i].name;
    int nearest = nearest_name(name, names, NUM_VERBS);
    if (nearest >= 0)
        utf8_print(stderr, "difflmm: there is no verb '%s', did you mean '%s'?\n", name,
                   names[nearest]);
    else
        utf8_print(stderr, "difflmm: there is no verb '%s'; 'difflmm --help' lists them\n", name);
    return EXIT_USAGE;
}

static int run_verb(int argc, char **argv) {
    for (int i = 0; i < NUM_VERBS; i++)
        if (!strcmp(argv[0], TABLE[i].name)) return TABLE[i].command(argc, argv);
    return refuse_verb(argv[0]);
}

/// An argument with `~/` or `~user/` at its beginning, or at that of an option's value, replaced
/// as a shell does it at the beginning; no prompt or word begins so. NULL: there is nothing to
/// replace.
static char *with_home_path(char *argument) {
    const bool is_option = argument[0] == '-' && strchr(argument, '=');
    char *path = is_option ? strchr(argument, '=') + 1 : argument;
    char *full = path[0] == '~' && strchr(path, '/') ? home_path(path, NULL) : NULL;
    if (!full || path == argument) return full;
    char *whole = format_string("%.*s%s", (int)(path - argument), argument, full);
    free(full);
    return whole;
}

/// The strings live as long as the program.
static char **with_home_paths(int argc, char **argv) {
    static char **arguments;
    arguments = checked_calloc((unsigned long)argc + 1, sizeof *arguments);
    for (int i = 0; i < argc; i++) {
        char *full = with_home_path(argv[i]);
        arguments[i] = full ? full : argv[i];
    }
    return arguments;
}

/// Of the first few images: the same ones come in every epoch, and a damaged folder may have
/// thousands.
static void warn_of_image(const char *message) {
    enum { MOST_SHOWN = 10 };
    static atomic_int count;
    const int before = atomic_fetch_add(&count, 1);
    if (before < MOST_SHOWN) fprintf(stderr, "warning: %s\n", message);
    if (before == MOST_SHOWN) fprintf(stderr, "warning: further images are damaged as well\n");
}

/// Results that did not reach the disk or the pipe are a failure too.
static int after_output(int exit_code) {
    const bool had_failed = ferror(stdout); // why is no longer known
    if (fflush(stdout) == 0 && !had_failed) return exit_code;
    fprintf(stderr, "difflmm: standard output: %s\n",
            had_failed ? "not everything could be written" : strerror(errno));
    return exit_code == EXIT_DONE ? EXIT_FAILED : exit_code;
}

/// The number of a standard stream that the caller closed would be that of the next file opened,
/// and messages would be written into it. What stands in its place now fails as a closed one does.
static void keep_standard_streams(void) {
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++)
        if (fcntl(stream, F_GETFD) < 0)
            open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/// Threads that wait for each other spin for tens of milliseconds by default, which is a disaster
/// as soon as anything else wants a core: steps become ten times slower. The program has them spin
/// some tens of microseconds, about as long as waking a thread takes. The OpenMP run time reads its
/// setting when it is loaded, so the program starts once more with it. Users who set one of the two
/// variables are left alone.
static void start_with_short_spinning(char **argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0 || setenv("GOMP_SPINCOUNT", "1000", 1)) return;
    path[length] = 0;
    execv(path, argv);
}

int main(int argc, char **argv) {
    keep_standard_streams();
    start_with_short_spinning(argv);
    if (argc < 2) {
        print_help();
        return EXIT_USAGE;
    }
    const char *first = argv[1];
    bool is_help = !strcmp(first, "help");
    if (is_help && argc > 2) {
        char *arguments[] = {argv[2], (char[]){"--help"}, NULL};
        return after_output(run_verb(2, arguments));
    }
    if (is_help || !strcmp(first, "--help") || !strcmp(first, "-h")) {
        print_help();
        return after_output(EXIT_DONE);
    }
    if (!strcmp(first, "--version")) {
        puts("difflmm " DIFFLMM_REVISION);
        return after_output(EXIT_DONE);
    }
    image_on_warning(warn_of_image);
    return after_output(run_verb(argc - 1, with_home_paths(argc - 1, argv + 1)));
}
