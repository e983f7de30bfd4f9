/// Starting one job as several processes of this machine.
#pragma once

/// Runs `mpirun -n <count> difflmm <argv...>` and returns its exit code. SIGINT, SIGTERM and
/// SIGUSR1 reach the processes as SIGUSR1 (save and stop); a second SIGINT or SIGTERM ends them at
/// once, and so does the death of this process. To be called before MPI is started.
int launch_processes(int count, char **argv);
