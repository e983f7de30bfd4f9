// The plan for people.
#include "autograd/text/utf8.h"
#include "train/plan/plan_parts.h"

#include "train/log/progress.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/// "1,234,567" in a buffer that the next eight calls leave alone.
static const char *grouped(int64_t n) {
    static _Thread_local char buffers[8][32];
    static _Thread_local int next;
    char digits[24], *out = buffers[next++ % 8];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)n), used = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-') out[used++] = ',';
        out[used++] = digits[i];
    }
    out[used] = 0;
    return out;
}

static void row(FILE *out, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void row(FILE *out, const char *name, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(out, "  %-28s ", name);
    utf8_vprint(out, format, arguments);
    fputc('\n', out);
    va_end(arguments);
}

static void byte_row(FILE *out, const char *name, int64_t bytes, const char *remark) {
    char *text = format_bytes(bytes);
    row(out, name, "%12s%s%s", text, *remark ? "  " : "", remark);
    free(text);
}

static void print_parts(const Plan *plan, FILE *out) {
    int64_t sums[2] = {0};
    if (!plan->part_count) return;
    fprintf(out, "\nparameters\n");
    for (int trained = 1; trained >= 0; trained--)
        for (int i = 0; i < plan->part_count; i++) {
            const PlanPart *part = &plan->parts[i];
            if (part->trained != (bool)trained) continue;
            sums[trained] += part->parameters;
            if (trained && plan->evaluates)
                row(out, part->name, "%15s  trained before", grouped(part->parameters));
            else if (trained)
                row(out, part->name, "%15s  learning rate %g, weight decay %g",
                    grouped(part->parameters), part->learning_rate, part->weight_decay);
            else
                row(out, part->name, "%15s  frozen", grouped(part->parameters));
        }
    row(out, "trained", "%15s  of %s", grouped(sums[1]), grouped(sums[0] + sums[1]));
}

static void print_files(const Plan *plan, FILE *out) {
    fprintf(out, "\nfiles\n");
    for (int i = 0; i < plan->file_count; i++) {
        const PlanFile *file = &plan->files[i];
        const char *verdict = file->found                     ? "ok"
                              : access(file->path, F_OK) == 0 ? "UNUSABLE"
                                                              : "MISSING";
        row(out, file->key, "%-8s  %s%s%s", verdict, file->path, *file->detail ? ": " : "",
            file->found ? file->detail : "see below");
    }
}

static void print_changes(const Plan *plan, FILE *out) {
    if (!plan->changes || !*plan->changes) return;
    fprintf(out, "\nchanges\n");
    for (const char *line = plan->changes; *line; line += strcspn(line, "\n") + 1)
        utf8_print(out, "  %.*s\n", (int)strcspn(line, "\n"), line);
}

static void print_data(const Plan *plan, FILE *out) {
    const PlanData *data = &plan->data;
    if (!data->known) return;
    fprintf(out, "\ndata\n");
    row(out, "samples", "%15s  %s with an image, %s without", grouped(data->samples),
        grouped(data->with_image), grouped(data->samples - data->with_image));
    if (data->missing_images)
        row(out, "missing images", "%15s  their samples are left out",
            grouped(data->missing_images));
    if (data->held_out_samples)
        row(out, "held-out samples", "%15s", grouped(data->held_out_samples));
    if (!data->lengths_known) return;
    const char *how = data->every_sample_measured ? "" : "  (from a sample)";
    row(out, "length", "%15.0f  tokens on average, %s at most%s", data->mean_length,
        grouped(data->longest), how);
    row(out, "tokens of the run", "%15s%s", grouped((int64_t)data->tokens), how);
    row(out, "supervised", "%15s%s", grouped((int64_t)data->supervised), how);
    if (data->cut)
        row(out, "cut", "%15s  longer than data.model_max_length%s", grouped(data->cut), how);
    if (data->unsupervised)
        row(out, "nothing to learn", "%15s  no token of them is supervised%s",
            grouped(data->unsupervised), how);
    if (data->answers_cut_off)
        row(out, "answers cut off", "%15s  of these, by data.model_max_length%s",
            grouped(data->answers_cut_off), how);
}

/// With data.tokens_per_batch.
static void print_packed(const Plan *plan, FILE *out) {
    const double budget = (double)plan->config->data.tokens_per_batch;
    row(out, "global batch", "%15s  micro-batches: %lld accumulated x %lld process%s",
        grouped(plan->schedule.global_batch),
        (long long)plan->config->training.gradient_accumulation_steps,
        (long long)plan->options.processes, plan->options.processes == 1 ? "" : "es");
    if (plan->data.tokens_per_batch > 0)
        row(out, "micro-batch", "%15.0f  tokens on average, %.1f%% of %s, in %.1f samples",
            plan->data.tokens_per_batch, 100 * plan->data.tokens_per_batch / budget,
            grouped(plan->config->data.tokens_per_batch), plan->data.samples_per_batch);
}

static void print_schedule(const Plan *plan, FILE *out) {
    const PlanSchedule *schedule = &plan->schedule;
    const TrainingSection *training = &plan->config->training;
    if (plan->evaluates) return;
    fprintf(out, "\nsteps\n");
    if (plan->config->data.tokens_per_batch)
        print_packed(plan, out);
    else
        row(out, "global batch", "%15s  %lld samples x %lld accumulated x %lld process%s",
            grouped(schedule->global_batch), (long long)training->per_device_train_batch_size,
            (long long)training->gradient_accumulation_steps, (long long)plan->options.processes,
            plan->options.processes == 1 ? "" : "es");
    if (schedule->known) row(out, "steps of an epoch", "%15s", grouped(schedule->steps_per_epoch));
    if (!schedule->known && training->max_steps < 0) return;
    row(out, "steps in all", "%15s  %s to warm up", grouped(schedule->total_steps),
        grouped(schedule->warmup_steps));
    if (schedule->first_step) row(out, "done already", "%15s", grouped(schedule->first_step));
}

static void print_memory(const Plan *plan, FILE *out) {
    const PlanMemory *memory = &plan->memory;
    if (!memory->known) return;
    fprintf(out, "\nmemory of a process%s\n", memory->cuda ? ", on the GPU" : "");
    for (int kind = 0; kind < MEMORY_KINDS; kind++)
        byte_row(out, PLAN_KIND_NAMES[kind], memory->by_kind[kind], "");
    char *remark = format_string(
        "in %s%s%s", PLAN_PHASE_NAMES[memory->phase],
        memory->assumed_longest ? ", if every sequence has model_max_length tokens" : "",
        memory->phase == PHASE_FEATURES ? ", 32 images at a time" : "");
    byte_row(out, "together, at the peak", memory->peak, remark);
    free(remark);
    if (memory->phase == PHASE_ASKING)
        row(out, "questions at once", "%15s  each answered with the most tokens",
            grouped(plan->evaluation.at_once));
    else if (memory->phase != PHASE_FEATURES)
        row(out, "largest micro-batch", "%12s  tokens, %s images", grouped(memory->batch_tokens),
            grouped(memory->batch_images));
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        if (memory->peak_of[phase] && phase != (int)memory->phase) {
            char *name = format_string("peak in %s", PLAN_PHASE_NAMES[phase]);
            byte_row(out, name, memory->peak_of[phase], "");
            free(name);
        }
    if (memory->gpu) byte_row(out, "the GPU has", memory->gpu, "");
    fprintf(out, "\nmemory of the machine, for a process\n");
    if (!memory->cuda) {
        byte_row(out, "peak of the above", memory->peak, "");
        byte_row(out, "blocks kept for reuse", memory->kept, "at most");
        byte_row(out, "prepared weights", memory->prepared, "in the product library's layout");
    }
    if (memory->feature_cache) byte_row(out, "feature cache", memory->feature_cache, "");
    if (memory->loader) byte_row(out, "images read ahead", memory->loader, "");
    if (plan->evaluates)
        byte_row(out, "answers under way", memory->answers, "with their attention");
    else
        byte_row(out, "checkpoint being written", memory->snapshot, "on rank 0");
    byte_row(out, "the program itself", memory->program, "about");
    byte_row(out, "together", memory->host, "");
    remark = format_string("for %lld process%s", (long long)memory->processes_here,
                           memory->processes_here == 1 ? "" : "es");
    byte_row(out, "available now", memory->machine, remark);
    free(remark);
}

static void print_features(const PlanDisk *disk, FILE *out) {
    char *remark = format_string("at most, for %s images of %s bytes%s",
                                 grouped(disk->feature_images), grouped(disk->feature_bytes),
                                 disk->features_free >= 0 && disk->features > disk->features_free
                                     ? ": MORE THAN IS FREE"
                                     : "");
    byte_row(out, "features in their folder", disk->features, remark);
    free(remark);
}

static void print_disk(const Plan *plan, FILE *out) {
    const PlanDisk *disk = &plan->disk;
    if (!disk->known && !disk->features) return;
    fprintf(out, "\ndisk\n");
    if (disk->features) print_features(disk, out);
    if (!disk->known) return;
    byte_row(out, "a checkpoint", disk->checkpoint_bytes, "");
    row(out, "checkpoints written, kept", "%12s, %s", grouped(disk->written), grouped(disk->kept));
    byte_row(out, "needed", disk->needed, "beside what is there, one more while it is written");
    if (disk->free >= 0) byte_row(out, "free", disk->free, "");
}

static void print_evaluation(const Plan *plan, FILE *out) {
    const PlanEvaluation *evaluation = &plan->evaluation;
    if (!evaluation->known) return;
    int64_t maps = (int64_t)evaluation->layers * evaluation->heads,
            packing = 2 * evaluation->answer_bytes;
    fprintf(out, "\nevaluation, task %s\n", evaluation->task);
    row(out, "items", "%15s", grouped(evaluation->items));
    if (!evaluation->tokens) return; // they are judged only
    row(out, "tokens of answers", "%15s  at most, each with %s map%s of attention",
        grouped(evaluation->tokens), grouped(maps), maps == 1 ? "" : "s");
    byte_row(out, "answers on the disk", evaluation->answer_bytes, "at most");
    byte_row(out, "while they are packed", packing,
             evaluation->free >= 0 && packing > evaluation->free ? "MORE THAN IS FREE" : "");
    if (evaluation->free >= 0) byte_row(out, "free", evaluation->free, "");
    if (!evaluation->timed_items) return;
    row(out, "an item", "%12.3f s  of %d that were asked, on one process",
        evaluation->seconds_per_item, evaluation->timed_items);
    char *text = format_duration(evaluation->seconds);
    row(out, "asking all of them", "%12s  without judging%s", text,
        plan->options.processes > 1 ? ", if it scales perfectly over the processes" : "");
    free(text);
}

static void print_time(const Plan *plan, FILE *out) {
    const PlanTime *time = &plan->time;
    if (!time->known) return;
    fprintf(out, "\ntime, from %d steps of one process\n", time->steps);
    row(out, "a step", "%12.3f s", time->seconds_per_step);
    row(out, "tokens per second", "%12.0f", time->tokens_per_second);
    char *text = format_duration(time->features_seconds);
    if (time->features_seconds > 0) row(out, "feature cache", "%12s", text);
    free(text);
    text = format_duration(time->seconds);
    row(out, "what is left of the run", "%12s  without evaluation%s and saving%s", text,
        plan->config->eval.tasks.count ? " (eval.tasks as well)" : "",
        plan->options.processes > 1 ? ", if it scales perfectly over the processes" : "");
    free(text);
}

void plan_print(const Plan *plan, FILE *out) {
    utf8_print(out, "plan of %s\n", plan->config->path ? plan->config->path : "the command line");
    print_parts(plan, out);
    print_files(plan, out);
    print_changes(plan, out);
    print_data(plan, out);
    print_schedule(plan, out);
    print_memory(plan, out);
    print_disk(plan, out);
    print_evaluation(plan, out);
    print_time(plan, out);
    if (!plan->problem_count) {
        fprintf(out, "\nThe %s can run.\n", plan->evaluates ? "evaluation" : "job");
        return;
    }
    fprintf(out, "\nThe %s cannot run:\n", plan->evaluates ? "evaluation" : "job");
    for (int i = 0; i < plan->problem_count; i++) fprintf(out, "  %s\n", plan->problems[i].message);
}
