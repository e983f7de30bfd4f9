/// Inside the emulator: which kernels have been executed, for the check that tests leave none out.
#pragma once

/// Notes the kernel if the environment variable CUDA_ON_CPU_EXECUTED names a folder: a line
/// "address program" in a file of the program's own there, the address as the program's symbol
/// table has it. kernels_executed.sh reads them.
void executed_record(const void *kernel);
