// mpirun itself answers SIGTERM and SIGINT by ending the job as failed, a second later (Open MPI's
// odls_base_sigkill_timeout), saved or not. It hands SIGUSR1 on, though, and then waits. So this
// process stays beside mpirun and translates.
#include "train/launch.h"

#include "autograd/stop_request.h"
#include "train/command.h"
#include "train/group/process_group.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t mpirun;

static void hand_on(int signal_number) {
    StopUrgency urgency = stop_request_note(signal_number);
    if (urgency != STOP_AS_BEFORE) kill(mpirun, urgency == STOP_IN_ORDER ? SIGUSR1 : SIGTERM);
}

/// Whether processes may read each other's memory: seccomp filters of containers often forbid it.
static bool may_read_memory(void) {
    char from = 1, to = 0;
    struct iovec local = {&to, 1}, remote = {&from, 1};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
}

/// What a job on one machine needs, unless the user has decided otherwise: root, as in containers;
/// more processes than cores; processes not bound, so that each one's threads have its share of the
/// cores and not one. Open MPI 4 reads OMPI_*, Open MPI 5 PRTE_*; other implementations need none
/// of it.
static void prepare_environment(void) {
    static const char *const settings[][2] = {
        {"OMPI_ALLOW_RUN_AS_ROOT", "1"},
        {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
        {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
        {"OMPI_MCA_hwloc_base_binding_policy", "none"},
        {"PRTE_ALLOW_RUN_AS_ROOT", "1"},
        {"PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
        {"PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"},
        {"PRTE_MCA_hwloc_default_binding_policy", "none"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        setenv(settings[i][0], settings[i][1], 0);
    if (may_read_memory()) return;
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
    setenv("OMPI_MCA_smsc", "^cma", 0);
}

/// In the child: becomes mpirun, in a process group of its own, so that a terminal's Ctrl-C does
/// not reach it.
static void become_mpirun(pid_t parent, char **arguments, const sigset_t *signals) {
    sigprocmask(SIG_SETMASK, signals, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(EXIT_FAILED);
    int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0) dup2(nothing, STDIN_FILENO);
    prepare_environment();
    execvp(arguments[0], arguments);
    if (errno == ENOENT)
        fprintf(
            stderr,
            "difflmm train: --processes needs mpirun, which is not on the PATH; install Open MPI "
            "(Debian: openmpi-bin)\n");
    else
        fprintf(stderr, "difflmm train: mpirun cannot be started: %s\n", strerror(errno));
    _exit(EXIT_FAILED);
}

static int wait_for_mpirun(void) {
    int status;
    while (waitpid(mpirun, &status, 0) < 0)
        if (errno != EINTR) return EXIT_FAILED;
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    fprintf(stderr, "difflmm train: mpirun was ended by signal %d\n", WTERMSIG(status));
    return EXIT_FAILED;
}

/// mpirun -n COUNT PROGRAM VERB ...; the caller frees the array.
static char **command_of(char *program, char *count, char **argv) {
    int rest = 0;
    while (argv[rest]) rest++;
    char **command = checked_calloc((size_t)rest + 5, sizeof *command);
    static char mpirun_name[] = "mpirun", count_option[] = "-n";
    char *first[] = {mpirun_name, count_option, count, program};
    memcpy(command, first, sizeof first);
    memcpy(command + 4, argv, (size_t)rest * sizeof *argv);
    return command;
}

int launch_processes(int count, char **argv) {
    char program[PATH_MAX], number[16];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) {
        perror("difflmm train: /proc/self/exe");
        return EXIT_FAILED;
    }
    program[length] = 0;
    snprintf(number, sizeof number, "%d", count);
    char **command = command_of(program, number, argv);
    // A signal that comes before there is anyone to hand it on to waits.
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t parent = getpid(), child = fork();
    if (child == 0) become_mpirun(parent, command, &before);
    free(command);
    if (child < 0) {
        perror("difflmm train: mpirun cannot be started");
        return EXIT_FAILED;
    }
    mpirun = child;
    stop_request_handle(hand_on);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return wait_for_mpirun();
}
