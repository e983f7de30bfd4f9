// A child ends in order when this process does, however that ends, and keeps the job's lock until
// it has: a sweep that is started again meanwhile waits for it.
#include "train/sweep/sweep_child.h"

#include "autograd/clock.h"
#include "autograd/output/output_file.h"
#include "autograd/stop_request.h"
#include "autograd/text/byte_buffer.h"
#include "autograd/text/utf8.h"
#include "ops/kernels.h"
#include "train/group/process_group.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COMMAND_NOT_STARTED = 127, LOG_TAIL_BYTES = 4096 };

// ---- signals

static SweepChild *running;
static int num_running;
static int signal_in_order;

static void hand_on(int signal_number) {
    StopUrgency urgency = stop_request_note(signal_number);
    for (int i = 0; i < num_running && urgency != STOP_AS_BEFORE; i++)
        if (running[i].job && running[i].pid > 0)
            kill(running[i].pid, urgency == STOP_IN_ORDER ? signal_in_order : SIGTERM);
}

void sweep_child_pass_on_signals(SweepChild *children, int count, bool is_launched_otherwise) {
    running = children;
    num_running = count;
    // mpirun and srun end a job by SIGTERM, but hand SIGUSR1 on to its processes
    signal_in_order = is_launched_otherwise ? SIGUSR1 : SIGTERM;
    stop_request_handle(hand_on);
}

// ---- the environment

/// What mpirun and srun say to this process is not about its children.
static bool is_of_launcher(const char *variable) {
    static const char *const BEGINS[] = {"OMPI_COMM_WORLD_",
                                         "OMPI_UNIVERSE_SIZE=",
                                         "OMPI_FIRST_RANKS=",
                                         "OMPI_FILE_LOCATION=",
                                         "OMPI_APP_CTX_",
                                         "OMPI_NUM_APP_CTX=",
                                         "OMPI_MCA_orte_",
                                         "OMPI_MCA_ess",
                                         "OMPI_MCA_pmix",
                                         "OMPI_MCA_initial_",
                                         "OMPI_LOCAL_",
                                         "OMPI_COMMAND=",
                                         "OMPI_ARGV=",
                                         "PMIX_",
                                         "PMI_",
                                         "PMI2_",
                                         "HYDRA_",
                                         "HYDI_",
                                         "MPI_LOCALNRANKS=",
                                         "MPI_LOCALRANKID=",
                                         "SLURM_STEP",
                                         "SLURM_PROCID=",
                                         "SLURM_LOCALID=",
                                         "SLURM_TASK_PID=",
                                         "SLURM_GTIDS=",
                                         "SLURM_NODEID=",
                                         "SLURM_LAUNCH_NODE_"};
    for (size_t i = 0; i < sizeof BEGINS / sizeof *BEGINS; i++)
        if (!strncmp(variable, BEGINS[i], strlen(BEGINS[i]))) return true;
    return false;
}

static void forget_launcher(void) {
    extern char **environ;
    for (int i = 0; environ[i];) {
        if (is_of_launcher(environ[i])) {
            char *name = format_string("%.*s", (int)strcspn(environ[i], "="), environ[i]);
            unsetenv(name); // closes the gap: the next one is in this place now
            free(name);
        } else {
            i++;
        }
    }
}

/// The GPUs that are a slot's, of those that this process sees.
static void share_gpus(const SweepShare *share) {
    const int gpus = ops_cuda_count();
    char *visible = getenv("CUDA_VISIBLE_DEVICES"), *names[256];
    int count = 0;
    ByteBuffer own = {0};
    if (gpus < 2) return;
    visible = visible ? checked_strdup(visible) : NULL;
    for (char *name = visible ? strtok(visible, ",") : NULL; name && count < 256;
         name = strtok(NULL, ","))
        names[count++] = name;
    for (int p = 0; p < share->processes && p < gpus; p++) {
        const int gpu = (share->slot * share->processes + p) % gpus;
        if (gpu < count)
            byte_buffer_print(&own, "%s%s", p ? "," : "", names[gpu]);
        else
            byte_buffer_print(&own, "%s%d", p ? "," : "", gpu);
    }
    setenv("CUDA_VISIBLE_DEVICES", own.data, 1);
    byte_buffer_free(&own);
    free(visible);
}

// ---- starting

/// Its arguments; words of `launch` first. The caller frees the array.
static char **command_of(const SweepJob *job, const SweepShare *share, const StringList *launch,
                         char *program, char *config, char *processes) {
    char **command = checked_calloc((unsigned long)launch->count + 6, sizeof *command);
    static char train[] = "train", eval[] = "eval", option[] = "--processes";
    int count = 0;
    for (int i = 0; i < launch->count; i++) command[count++] = launch->values[i];
    command[count++] = program;
    command[count++] = job->kind == SWEEP_TRAIN ? train : eval;
    command[count++] = config;
    if (!launch->count && share->processes > 1) {
        command[count++] = option;
        command[count++] = processes;
    }
    return command;
}

static void become(char **command, const SweepChild *child, const SweepShare *share,
                   bool is_launched_otherwise, int log, pid_t parent, const sigset_t *signals) {
    char threads[16];
    sigprocmask(SIG_SETMASK, signals, NULL);
    setpgid(0, 0); // a terminal's Ctrl-C does not reach it but through us
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(COMMAND_NOT_STARTED);
    int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0) dup2(nothing, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    run_lock_pass_on(child->lock);
    if (!is_launched_otherwise) {
        if (process_group_is_launched()) forget_launcher();
        share_gpus(share);
        snprintf(threads, sizeof threads, "%d", share->threads);
        setenv("OMP_NUM_THREADS", threads, 0);
    }
    execvp(command[0], command);
    fprintf(stderr, "%s: cannot be started: %s\n", command[0], strerror(errno));
    _exit(COMMAND_NOT_STARTED);
}

/// The job's configuration for the child, whose path the caller frees; NULL on failure.
static char *write_config(const SweepJob *job, const SweepShare *share, bool is_launched_otherwise,
                          Error *error) {
    char *path = format_string("%s/config.yaml", job->folder);
    if (!is_launched_otherwise && job->config->training.threads == 0) {
        // results do not depend on it
        job->config->training.threads = share->threads;
        job->config->origins[config_find_key("training.threads")].kind = ORIGIN_COMMAND_LINE;
    }
    char *yaml = config_set_keys_to_yaml(job->config);
    output_remove_remains(path); // of a kill
    bool ok = output_whole_file(path, yaml, strlen(yaml), error);
    free(yaml);
    if (ok) return path;
    free(path);
    return NULL;
}

static int open_log(const SweepJob *job, Error *error) {
    char *path = format_string("%s/log.txt", job->folder);
    int log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    if (log < 0) error_set(error, "%s: cannot be written: %s", path, strerror(errno));
    free(path);
    return log;
}

bool sweep_child_start(SweepChild *child, SweepJob *job, RunLock *lock, const SweepShare *share,
                       const StringList *launch, Error *error) {
    char program[PATH_MAX], processes[16];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) return error_set(error, "/proc/self/exe: %s", strerror(errno));
    program[length] = 0;
    snprintf(processes, sizeof processes, "%d", share->processes);
    char *config = write_config(job, share, launch->count > 0, error);
    if (!config) return false;
    int log = open_log(job, error);
    if (log < 0) {
        free(config);
        return false;
    }
    char **command = command_of(job, share, launch, program, config, processes);
    const SweepChild starting = {.job = job, .lock = lock, .started = clock_seconds()};
    // a signal that comes before there is anyone to hand it on to waits
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) become(command, &starting, share, launch->count > 0, log, parent, &before);
    if (pid > 0) {
        *child = starting;
        child->pid = pid;
        job->state = SWEEP_RUNNING;
    } else {
        error_set(error, "a process cannot be started: %s", strerror(errno));
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(log);
    free(command);
    free(config);
    return pid > 0;
}

// ---- ending

bool sweep_child_has_ended(const SweepChild *child, int *status) {
    *status = 0;
    pid_t ended = waitpid(child->pid, status, WNOHANG);
    return ended == child->pid || (ended < 0 && errno != EINTR);
}

/// The end of the log; the caller frees it.
static char *read_tail(const SweepJob *job) {
    char *path = format_string("%s/log.txt", job->folder),
         *text = checked_calloc(1, LOG_TAIL_BYTES + 1);
    int log = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = log < 0 ? 0 : lseek(log, 0, SEEK_END);
    ssize_t got = log < 0 ? 0
                          : pread(log, text, LOG_TAIL_BYTES,
                                  size > LOG_TAIL_BYTES ? size - LOG_TAIL_BYTES : 0);
    text[got > 0 ? got : 0] = 0;
    if (log >= 0) close(log);
    free(path);
    return text;
}

/// Its last line that begins with the program's name and the verb, or else its last line.
static char *telling_line(char *tail, const char *verb) {
    char *last = NULL, *said = NULL, *prefix = format_string("difflmm %s: ", verb);
    for (char *line = strtok(tail, "\r\n"); line; line = strtok(NULL, "\r\n")) {
        last = line;
        if (!strncmp(line, prefix, strlen(prefix))) said = line + strlen(prefix);
    }
    free(prefix);
    return said ? said : last;
}

char *sweep_child_last_words(const SweepJob *job, int status) {
    char *tail = read_tail(job),
         *line = telling_line(tail, job->kind == SWEEP_TRAIN ? "train" : "eval"), *words;
    if (line && !is_utf8(line, strlen(line))) line = NULL;
    if (WIFSIGNALED(status))
        words = format_string("ended by signal %d (%s)%s%s", WTERMSIG(status),
                              strsignal(WTERMSIG(status)), line ? "; its last words: " : "",
                              line ? line : "");
    else if (line)
        words = checked_strdup(line);
    else
        words = format_string("exit code %d", WEXITSTATUS(status));
    free(tail);
    return words;
}
