/// Starting one job as several processes of this machine.
#pragma once

/// Takes "--processes N" or "--processes=N" out of the arguments of a command (argv[0] is the
/// verb). Returns N, 0 if it is not there, or -1 with a message on stderr if N is no count or this
/// process is one of several already.
int launch_take_count(int *argc, char **argv);

/// Runs `mpirun -n <count> difflmm <argv...>` and returns its exit code. SIGINT, SIGTERM and
/// SIGUSR1 reach the processes as SIGUSR1 (save and stop); a second SIGINT or SIGTERM ends them at
/// once, and so does the death of this process. To be called before MPI is started.
int launch_processes(int count, char **argv);
