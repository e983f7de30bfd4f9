// Feeds every verb of the program, and every parser by itself, with command lines and files that
// nobody would write, and says what went wrong: a signal, a hang, a leak, an exit code other than
// 0, 1, 2, a failure without a message or with one that no terminal should get, a file left behind.
// tests/fuzz/run.sh explains the use.
//
// A worker process runs some hundred cases; this one watches it and goes on behind a case that
// ended it. A case is a function of target, seed and number alone.
#include "autograd/clock.h"
#include "autograd/error.h"
#include "tests/fuzz/execute.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_KINDS = 512, KEPT_PER_KIND = 2, NOBODY = 65534, MOST_TARGETS = 32 };

#if defined __SANITIZE_ADDRESS__
enum { SANITIZED = 1, SECONDS_PER_CASE = 40 };
/// A size that a file claims fails as it does without the sanitizer; a signal tells the supervisor.
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "abort_on_error=1:allocator_may_return_null=1:max_allocation_size_mb=4000:"
           "hard_rss_limit_mb=5000:detect_leaks=1:leak_check_at_exit=0:print_summary=1";
}
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "print_stacktrace=1:abort_on_error=1"; }
/// Open MPI and oneDNN keep memory to the end by design; HDF5 1.10 loses what it has read of an
/// object header that turns out damaged.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libhdf5\nleak:libmpi\nleak:libopen-pal\nleak:libdnnl\nleak:libgomp\n";
}
int __lsan_do_recoverable_leak_check(void);
static bool leaks(void) { return __lsan_do_recoverable_leak_check() != 0; }
#else
enum { SANITIZED = 0, SECONDS_PER_CASE = 15, MEMORY_LIMIT_MB = 6000 };
static bool leaks(void) { return false; }
#endif

/// Findings that read alike but for numbers.
typedef struct Kind {
    char text[240];
    /// target, seed and number of the first one
    char first[64];
    int64_t count;
} Kind;

typedef struct Counts {
    int64_t executions, exits[3], findings;
    double seconds, slowest;
    int64_t slowest_case;
} Counts;

/// What the worker tells, in memory that outlives it.
typedef struct Shared {
    /// of the case that runs
    volatile int64_t number;
    /// when; 0: none runs
    volatile double started;
    /// some case of the batch did
    volatile bool leaked;
    Kind kinds[MOST_KINDS];
    int num_kinds;
    Counts counts[MOST_TARGETS];
} Shared;

typedef struct Campaign {
    const char *seeds, *folder;
    uint64_t seed;
    Capture capture;
    Shared *shared;
    /// of the seeds, as they lie in <folder>/tree
    Tree tree;
    bool verbose;
    /// The name of the folder that cases run in, odd for odd seeds.
    const char *tree_name;
} Campaign;

// ---- findings

/// Numbers are all alike, and what is quoted or a path.
static void reduce(const char *text, char *out, size_t size) {
    size_t length = 0;
    for (const char *c = text; *c && *c != '\n' && length + 2 < size; c++) {
        if (*c >= '0' && *c <= '9') {
            if (!length || out[length - 1] != '#') out[length++] = '#';
        } else {
            out[length++] = (*c & 0x80) || *c < 0x20 ? '?' : *c;
        }
    }
    out[length] = 0;
}

static void keep(const Campaign *campaign, const FuzzCase *fuzz_case, const char *name,
                 const char *finding) {
    char *folder = format_string("%s/found/%s", campaign->folder, name),
         *case_path = format_string("%s/case", folder),
         *text_path = format_string("%s/finding", folder),
         *out_path = format_string("%s/out", folder), *err_path = format_string("%s/err", folder);
    mkdir(folder, 0777);
    case_save(fuzz_case, campaign->seeds, case_path);
    ByteBuffer text = bytes_copy(finding, strlen(finding)), out = {0}, err = {0};
    byte_buffer_put(&text, "\n", 1);
    bytes_write(&text, text_path);
    if (bytes_read_descriptor(&out, campaign->capture.out)) bytes_write(&out, out_path);
    if (bytes_read_descriptor(&err, campaign->capture.err)) bytes_write(&err, err_path);
    byte_buffer_free(&text);
    byte_buffer_free(&out);
    byte_buffer_free(&err);
    free(folder);
    free(case_path);
    free(text_path);
    free(out_path);
    free(err_path);
}

static void record(const Campaign *campaign, int target, const FuzzCase *fuzz_case, int64_t number,
                   const char *finding) {
    Shared *shared = campaign->shared;
    char text[sizeof shared->kinds[0].text], name[64];
    char *whole = format_string("%s: %s", TARGETS[target].name, finding);
    reduce(whole, text, sizeof text);
    free(whole);
    snprintf(name, sizeof name, "%s-%llu-%lld", TARGETS[target].name,
             (unsigned long long)campaign->seed, (long long)number);
    shared->counts[target].findings++;
    int i = 0;
    while (i < shared->num_kinds && strcmp(shared->kinds[i].text, text) != 0) i++;
    if (i == MOST_KINDS) return;
    if (i == shared->num_kinds) {
        shared->num_kinds++;
        snprintf(shared->kinds[i].text, sizeof text, "%s", text);
        snprintf(shared->kinds[i].first, sizeof name, "%s", name);
        fprintf(stderr, "%s  (%s)\n", text, name);
    }
    if (shared->kinds[i].count++ < KEPT_PER_KIND) keep(campaign, fuzz_case, name, finding);
}

// ---- the worker

static void run_one(Campaign *campaign, int target, const FuzzCase *original, int64_t number) {
    Shared *shared = campaign->shared;
    FuzzCase limited = {.file_limit = original->file_limit};
    snprintf(limited.target, sizeof limited.target, "%s", original->target);
    for (int i = 0; i < original->count; i++)
        case_add_argument(&limited, original->arguments[i], strlen(original->arguments[i]));
    if (campaign->verbose) {
        case_print(original, campaign->seeds, stdout);
        fflush(stdout);
    }
    CHECK(case_place(original), "a file cannot be put in place: %s", strerror(errno));
    shared->number = number;
    shared->started = clock_seconds();
    target_limit_cost(&TARGETS[target], &limited);
    Outcome outcome = execute(&TARGETS[target], &limited, campaign->capture);
    shared->started = 0;
    Counts *counts = &shared->counts[target];
    counts->executions++;
    if (outcome.exit_code >= 0 && outcome.exit_code < 3) counts->exits[outcome.exit_code]++;
    counts->seconds += outcome.seconds;
    if (outcome.seconds > counts->slowest) {
        counts->slowest = outcome.seconds;
        counts->slowest_case = number;
    }
    char *finding = judge(&TARGETS[target], original, &outcome);
    if (finding) record(campaign, target, original, number, finding);
    if (campaign->verbose) {
        printf("exit code %d after %.3f s\n", outcome.exit_code, outcome.seconds);
        printf("---- stdout\n%.4000s---- stderr\n%.4000s---- changes\n%s", outcome.out.data,
               outcome.err.data, outcome.changes.data);
        printf("---- judged: %s\n", finding ? finding : "all is well");
        fflush(stdout);
    }
    free(finding);
    outcome_free(&outcome);
    case_free(&limited);
}

/// In the worker: cases [begin, end), or the one that is given. Does not return.
static void work(Campaign *campaign, int target, int64_t begin, int64_t end, const FuzzCase *given,
                 bool check_each) {
    char *folder = format_string("%s/%s", campaign->folder, campaign->tree_name);
    CHECK(chdir(folder) == 0, "%s: %s", folder, strerror(errno));
    free(folder);
    for (int64_t number = begin; number < end; number++) {
        tree_restore(&campaign->tree, campaign->seeds);
        FuzzCase fuzz_case = {0};
        if (!given)
            fuzz_case = target_make_case(&TARGETS[target], campaign->seed, (uint64_t)number,
                                         &campaign->tree, campaign->seeds);
        run_one(campaign, target, given ? given : &fuzz_case, number);
        if (check_each) {
            // What the leak checker prints belongs to the finding.
            int before = dup(STDERR_FILENO);
            dup2(campaign->capture.err, STDERR_FILENO);
            bool leaked = leaks();
            dup2(before, STDERR_FILENO);
            close(before);
            if (leaked) {
                record(campaign, target, given ? given : &fuzz_case, number, "a leak");
                campaign->shared->number = number;
                _exit(0);
            }
        }
        case_free(&fuzz_case);
    }
    campaign->shared->number = end;
    if (!check_each && SANITIZED) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, STDERR_FILENO);
        campaign->shared->leaked = leaks();
    }
    _exit(0);
}

// ---- the supervisor

/// Waits for the worker's end; kills it when a case runs too long. Returns what waitpid() says.
static int watch(const Shared *shared, pid_t worker, bool *hung) {
    int status;
    *hung = false;
    while (waitpid(worker, &status, WNOHANG) == 0) {
        double started = shared->started;
        if (started > 0 && clock_seconds() - started > SECONDS_PER_CASE) {
            *hung = true;
            kill(worker, SIGKILL);
        }
        usleep(2000);
    }
    return status;
}

static int line_length(const char *text, int most) {
    size_t length = strcspn(text, "\n");
    return length < (size_t)most ? (int)length : most;
}

/// The first line of a sanitizer's report and the first of our own functions in it, else what a
/// CHECK said.
static char *describe_death(const Campaign *campaign, int status, bool hung) {
    ByteBuffer err = {0};
    if (hung) return format_string("no end after %d s", SECONDS_PER_CASE);
    bytes_read_descriptor(&err, campaign->capture.err);
    const char *text = err.data ? err.data : "", *report = strstr(text, "ERROR: AddressSanitizer"),
               *runtime = strstr(text, "runtime error"), *check = strstr(text, "internal error"),
               *where = NULL;
    for (const char *frame = report ? report : runtime; frame && !where;) {
        frame = strstr(frame, " in ");
        if (!frame) break;
        frame += 4;
        const char *end = strchr(frame, '\n'), *source = strstr(frame, ".c:");
        if (source && (!end || source < end) && !strstr(frame, "/sanitizer_common") &&
            strncmp(frame, "__interceptor", 13) != 0)
            where = frame;
    }
    const char *first = report ? report : runtime ? runtime : check ? check : "";
    char *description =
        WIFSIGNALED(status)
            ? format_string("signal %d: %.*s%s%.*s", WTERMSIG(status), line_length(first, 90),
                            first, where ? " in " : "", where ? (int)strcspn(where, "\n(") : 0,
                            where ? where : "")
            : format_string("ends the process itself, exit code %d: %.*s", WEXITSTATUS(status),
                            line_length(text, 150), text);
    byte_buffer_free(&err);
    return description;
}

static pid_t start(Campaign *campaign, int target, int64_t begin, int64_t end,
                   const FuzzCase *given, bool check_each) {
    campaign->shared->number = begin;
    campaign->shared->started = 0;
    campaign->shared->leaked = false;
    fflush(NULL);
    pid_t worker = fork();
    CHECK(worker >= 0, "no further process: %s", strerror(errno));
    if (worker == 0) work(campaign, target, begin, end, given, check_each);
    return worker;
}

/// Cases [begin, end) of a target, behind one another.
static void run_cases(Campaign *campaign, int target, int64_t begin, int64_t end,
                      const FuzzCase *given, bool check_each) {
    Shared *shared = campaign->shared;
    while (begin < end) {
        bool hung;
        int status = watch(shared, start(campaign, target, begin, end, given, check_each), &hung);
        int64_t stopped = shared->number;
        bool normal = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (normal && shared->leaked && !check_each)
            run_cases(campaign, target, begin, end, given, true); // which one?
        if (normal) {
            begin = stopped < end ? stopped + 1 : end;
            continue;
        }
        FuzzCase fuzz_case = {0};
        if (!given)
            fuzz_case = target_make_case(&TARGETS[target], campaign->seed, (uint64_t)stopped,
                                         &campaign->tree, campaign->seeds);
        char *death = describe_death(campaign, status, hung);
        if (campaign->verbose) printf("---- %s\n", death);
        shared->counts[target].executions++;
        record(campaign, target, given ? given : &fuzz_case, stopped, death);
        free(death);
        case_free(&fuzz_case);
        begin = stopped + 1;
    }
}

static bool run_saved(Campaign *campaign, const char *path) {
    FuzzCase fuzz_case;
    const Target *target =
        case_load(&fuzz_case, campaign->seeds, path) ? target_find(fuzz_case.target) : NULL;
    if (!target) {
        fprintf(stderr, "fuzz_verbs: %s is no case\n", path);
        return false;
    }
    const int64_t *findings = &campaign->shared->counts[target - TARGETS].findings,
                  before = *findings;
    run_cases(campaign, (int)(target - TARGETS), 0, 1, &fuzz_case, true);
    if (*findings > before) fprintf(stderr, "-- that was %s\n", path);
    case_free(&fuzz_case);
    return true;
}

// ---- the campaign

static int64_t summarize(const Campaign *campaign) {
    const Shared *shared = campaign->shared;
    Counts all = {0};
    printf("%-14s %10s %9s %9s %9s %9s %9s %9s\n", "", "executions", "exit 0", "exit 1", "exit 2",
           "findings", "ms each", "slowest s");
    for (int i = 0; i < NUM_TARGETS; i++) {
        const Counts *counts = &shared->counts[i];
        if (!counts->executions) continue;
        printf("%-14s %10lld %9lld %9lld %9lld %9lld %9.2f %9.2f  (case %lld)\n", TARGETS[i].name,
               (long long)counts->executions, (long long)counts->exits[0],
               (long long)counts->exits[1], (long long)counts->exits[2],
               (long long)counts->findings, 1000 * counts->seconds / (double)counts->executions,
               counts->slowest, (long long)counts->slowest_case);
        all.executions += counts->executions;
        all.findings += counts->findings;
        for (int k = 0; k < 3; k++) all.exits[k] += counts->exits[k];
    }
    printf("%-14s %10lld %9lld %9lld %9lld %9lld\n", "all", (long long)all.executions,
           (long long)all.exits[0], (long long)all.exits[1], (long long)all.exits[2],
           (long long)all.findings);
    for (int i = 0; i < shared->num_kinds; i++)
        printf("%6lld x %s  (%s)\n", (long long)shared->kinds[i].count, shared->kinds[i].text,
               shared->kinds[i].first);
    fflush(stdout);
    return all.findings;
}

static volatile sig_atomic_t stopping;

static void stop(int signal_number) {
    (void)signal_number;
    stopping = 1;
}

/// Rounds over the targets: of each as many cases as take about as long as those of any other.
static void run_rounds(Campaign *campaign, const Target *only, int64_t from, int64_t cases,
                       double seconds) {
    double end = clock_seconds() + seconds;
    int64_t done[MOST_TARGETS] = {0};
    for (bool more = true; more && !stopping;) {
        more = false;
        for (int i = 0; i < NUM_TARGETS && !stopping; i++) {
            if (only && only != &TARGETS[i]) continue;
            int64_t count = TARGETS[i].batch;
            if (cases >= 0 && count > cases - done[i]) count = cases - done[i];
            if (clock_seconds() >= end) count = 0;
            if (count <= 0) continue;
            run_cases(campaign, i, from + done[i], from + done[i] + count, NULL, false);
            done[i] += count;
            more = true;
        }
    }
}

/// The folder with a copy of the seeds, and nothing else writable: whatever paths a case comes to,
/// nobody's files are all that it can harm.
static void settle(Campaign *campaign) {
    mkdir(campaign->folder, 0777);
    if (geteuid() == 0) {
        CHECK(chown(campaign->folder, NOBODY, NOBODY) == 0, "%s: %s", campaign->folder,
              strerror(errno));
        CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "cannot become nobody: %s",
              strerror(errno));
    }
    char *found = format_string("%s/found", campaign->folder),
         *tree = format_string("%s/%s", campaign->folder, campaign->tree_name),
         *command = format_string("rm -rf '%s' && cp -r '%s' '%s'", tree, campaign->seeds, tree);
    mkdir(found, 0777);
    CHECK(system(command) == 0, "the seeds cannot be copied to %s", tree);
    setenv("HOME", tree, 1);
    setenv("TMPDIR", campaign->folder, 1);
    setenv("PATH", "/nowhere", 1); // no launcher either
    int back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(chdir(tree) == 0, "%s: %s", tree, strerror(errno));
    campaign->tree = tree_list();
    CHECK(back >= 0 && fchdir(back) == 0, "the folder before: %s", strerror(errno));
    close(back);
    free(found);
    free(command);
    free(tree);
}

static void limit_memory(void) {
#if !defined __SANITIZE_ADDRESS__
    struct rlimit limit = {(rlim_t)MEMORY_LIMIT_MB << 20, (rlim_t)MEMORY_LIMIT_MB << 20};
    setrlimit(RLIMIT_AS, &limit);
#endif
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
}

static int usage(void) {
    fputs(
        "usage: fuzz_verbs SEEDS FOLDER [--verb NAME] [--seed S] [--case K] [--from K] [--cases N] "
        "[--seconds T] [--saved FILE ...]\n",
        stderr);
    return 2;
}

typedef struct Options {
    /// NULL: every target in turn
    const Target *only;
    /// cases -1: no limit
    int64_t from, cases;
    double seconds;
    /// [saved_count] files of cases
    char **saved;
    int saved_count;
    bool has_case;
} Options;

static bool parse_option(const char *name, const char *value, Campaign *campaign,
                         Options *options) {
    if (!strcmp(name, "--verb")) return (options->only = target_find(value)) != NULL;
    if (!strcmp(name, "--seed"))
        campaign->seed = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--from") || !strcmp(name, "--case"))
        options->from = atoll(value);
    else if (!strcmp(name, "--cases"))
        options->cases = atoll(value);
    else if (!strcmp(name, "--seconds"))
        options->seconds = atof(value);
    else
        return false;
    options->has_case = options->has_case || !strcmp(name, "--case");
    return true;
}

static bool parse_options(int argc, char **argv, Campaign *campaign, Options *options) {
    *options = (Options){.cases = -1, .seconds = 1e9};
    for (int i = 3; i < argc; i += 2) {
        if (!strcmp(argv[i], "--saved")) {
            options->saved = argv + i + 1;
            options->saved_count = argc - i - 1;
            break;
        }
        if (i + 1 == argc || !parse_option(argv[i], argv[i + 1], campaign, options)) return false;
    }
    campaign->verbose = options->has_case || (options->saved_count == 1 && options->cases < 0);
    return !options->has_case || options->only;
}

int main(int argc, char **argv) {
    Campaign campaign = {.seed = 1};
    Options options;
    if (argc < 3 || !parse_options(argc, argv, &campaign, &options)) return usage();
    mkdir(argv[2], 0777);
    campaign.seeds = realpath(argv[1], NULL);
    campaign.folder = realpath(argv[2], NULL);
    if (!campaign.seeds || !campaign.folder) return usage();
    campaign.shared = mmap(NULL, sizeof *campaign.shared, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(campaign.shared != MAP_FAILED, "no shared memory: %s", strerror(errno));
    campaign.capture = (Capture){memfd_create("out", 0), memfd_create("err", 0)};
    campaign.tree_name = campaign.seed % 2 ? "tree \xe9\x01" : "tree";
    limit_memory();
    settle(&campaign);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    bool all_read = true;
    for (int i = 0; i < options.saved_count; i++)
        all_read = run_saved(&campaign, options.saved[i]) && all_read;
    if (options.has_case)
        run_cases(&campaign, (int)(options.only - TARGETS), options.from, options.from + 1, NULL,
                  true);
    else if (options.cases >= 0 || !options.saved_count)
        run_rounds(&campaign, options.only, options.from, options.cases, options.seconds);
    int64_t findings = summarize(&campaign);
    return all_read ? findings > 0 : 2;
}
