/// The evaluation of attention maps: every image is described by the model, every noun that names a
/// category gives a point, and points are counted against the masks of that category.
#pragma once
#include "eval/attention/answers.h"
#include "eval/metrics/point_accuracy.h"

typedef struct PointTaskOptions {
    AnswerOptions answers;
    const CocoAnnotations *annotations;
    /// file names of the annotations are relative to it
    const char *image_folder;
    const char *prompt;
    GroupReduction reduction;
    /// masks by region growing
    bool region_growing;
    /// images from the first on; -1: all
    int64_t samples;
    /// images of which an overlay is written, from the first on
    int64_t pictures;
    /// images asked about at once
    int batch_size;
    /// receives pictures/NNN.png; exists
    const char *output_dir;
    /// for the record
    const char *architecture;
    /// for the record; NULL: untrained
    const char *checkpoint;
    void (*progress)(void *context, int64_t done, int64_t total, const PointAccuracy *so_far);
    void *progress_context;
} PointTaskOptions;

/// Runs the task and writes <output_dir>/results.json: figures, and for every image the answer with
/// its phrases and points. On failure, or when the program is asked to stop, no picture of this run
/// is left behind.
bool point_task_run(const PointTaskOptions *options, PointAccuracy *sum, Error *error);
