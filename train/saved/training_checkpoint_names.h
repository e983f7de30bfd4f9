/// Where things lie in a training checkpoint, for what writes it (train/saved/training_snapshot.c)
/// and what reads it (train/saved/training_checkpoint.c).
#pragma once

/// folders of arrays, each by its parameter's name
static const char WEIGHTS[] = "weights", EXP_AVG[] = "optimizer/exp_avg",
                  EXP_AVG_SQ[] = "optimizer/exp_avg_sq";
/// the resolved configuration as text, and the value of the attribute training/format
static const char CONFIG[] = "config.yaml", FORMAT[] = "difflmm training checkpoint 2";
