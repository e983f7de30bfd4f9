/// The networks that network_outputs can run, one table for each family, and what their functions
/// work with.
#pragma once
#include "autograd/tensor.h"

/// One command: its inputs, options and outputs.
typedef struct Run Run;

typedef enum RunPhase { RUN_LOAD, RUN_FORWARD, RUN_BACKWARD, RUN_PHASES } RunPhase;

/// A family's table ends with an empty row. `load` gives NULL on failure.
typedef struct NetworkKind {
    const char *name;
    void *(*load)(Run *run, const char *folder, Device *device, DType dtype, Error *error);
    /// inside a scope
    void (*run)(Run *run, void *network);
    void (*release)(void *network);
} NetworkKind;

extern const NetworkKind vision_networks[], language_networks[], sam_networks[];

/// The text behind "key=", or the fallback.
const char *run_option(const Run *run, const char *key, const char *fallback);
int run_option_int(const Run *run, const char *key, int fallback);
bool run_has_input(const Run *run, const char *name);
/// The FLOAT32 input of that name; without one the program stops.
Tensor *run_input(const Run *run, Device *device, const char *name);
/// Token ids [batch,length], living as long as the run.
const int32_t *run_input_ids(const Run *run, const char *name, int64_t *batch, int64_t *length);
/// Keeps x's values for the file of outputs.
void run_output(Run *run, const char *name, const Tensor *x);
/// The time since the last phase's end was this phase's.
void run_phase(Run *run, Device *device, RunPhase phase);
