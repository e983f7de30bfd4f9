// What the tasks' judging shares.
#include "autograd/output/output_file.h"
#include "data/coco_segmentation.h"
#include "eval/tasks/evaluation.h"

#include <stdlib.h>
#include <string.h>

char *task_prompt(const char *prompt, const char *expression) {
    const char *place = expression ? strstr(prompt, "{}") : NULL;
    if (!place) return format_string("%s", prompt);
    return format_string("%.*s%s%s", (int)(place - prompt), prompt, expression, place + 2);
}

int *task_order_by_image(int count, int num_images, int (*image_of)(const void *data, int index),
                         const void *data) {
    int *order = checked_malloc(((size_t)count + 1) * sizeof *order),
        *place = checked_calloc((size_t)num_images + 2, sizeof *place);
    for (int i = 0; i < count; i++) place[image_of(data, i) + 1]++;
    for (int i = 0; i < num_images; i++) place[i + 1] += place[i];
    for (int i = 0; i < count; i++) order[place[image_of(data, i)]++] = i;
    free(place);
    return order;
}

bool judge_tokens(const Judge *judge, const ReadAnswer *read, const int *tokens, int num_tokens,
                  const CocoMask *truth, int num_truth, JudgedGroup *group, Error *error) {
    *group = (JudgedGroup){.pointing = point_of_tokens(read, tokens, num_tokens)};
    if (!judge->segmenter) return true;
    bool ok = segments_of_pointing(judge->segmenter, read->answer, &group->pointing, truth,
                                   num_truth, &group->segments, error);
    if (!ok) judged_group_free(group);
    return ok;
}

void judged_group_free(JudgedGroup *group) {
    pointing_free(&group->pointing);
    segments_free(&group->segments);
}

json_t *verdict_phrase(const Answer *answer, int begin, int end, const JudgedGroup *group) {
    Point point = group->pointing.point;
    json_t *mask =
        group->segments.count ? coco_runs_write(&group->segments.items[0].mask) : json_null();
    return json_pack("{s:o, s:i, s:i, s:[i, i], s:o}", "phrase",
                     json_stringn(answer->text + begin, (size_t)(end - begin)), "begin", begin,
                     "end", end, "point", point.column, point.row, "mask", mask);
}

/// The tokens of the chunk's root, if the task takes the chunk and it has any.
static int tokens_of_chunk(const ChunkRules *rules, const NounChunk *chunk, const Answer *answer,
                           int *tokens) {
    int count = tokens_overlapping(answer, (int)chunk->root_begin, (int)chunk->root_end, tokens);
    return count && rules->takes && !rules->takes(rules->context, chunk, answer) ? 0 : count;
}

json_t *judge_chunks(const Judge *judge, const Answer *answer, const CocoMask *truth, int num_truth,
                     const ChunkRules *rules, Error *error) {
    NounChunkList chunks;
    if (!phrase_finder_find(judge->phrases, answer->text, &chunks, error)) return NULL;
    ReadAnswer read = answer_read(answer, &judge->options->grounding);
    int *tokens = checked_malloc(((size_t)answer->num_tokens + 1) * sizeof *tokens);
    json_t *phrases = json_array();
    bool ok = true;
    for (int i = 0; read.options.remove_corner && i < chunks.count; i++) {
        int count = tokens_of_chunk(rules, &chunks.items[i], answer, tokens);
        if (count) read_answer_note_group(&read, tokens, count);
    }
    for (int i = 0; ok && i < chunks.count; i++) {
        const NounChunk *chunk = &chunks.items[i];
        int count = tokens_of_chunk(rules, chunk, answer, tokens);
        JudgedGroup group;
        if (!count) continue;
        ok = judge_tokens(judge, &read, tokens, count, truth, num_truth, &group, error);
        if (!ok) break;
        json_t *phrase = verdict_phrase(answer, (int)chunk->begin, (int)chunk->end, &group);
        json_object_set_new(phrase, "root",
                            json_pack("[i, i]", (int)chunk->root_begin, (int)chunk->root_end));
        if (rules->describe) rules->describe(rules->context, &group, phrase);
        json_array_append_new(phrases, phrase);
        judged_group_free(&group);
    }
    free(tokens);
    read_answer_free(&read);
    noun_chunks_free(&chunks);
    if (ok) return phrases;
    json_decref(phrases);
    return NULL;
}

double verdict_number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
}

bool verdict_mask(const json_t *phrase, CocoMask *mask) {
    const json_t *runs = json_object_get(phrase, "mask");
    Error error;
    return json_is_object(runs) && coco_runs_read(runs, mask, &error);
}

bool publish_json(const char *folder, const char *name, json_t *predictions, Error *error) {
    char *text = json_dumps(predictions, JSON_COMPACT),
         *path = format_string("%s/%s", folder, name);
    bool ok = output_whole_file(path, text, strlen(text), error);
    free(text);
    free(path);
    json_decref(predictions);
    return ok;
}

int *figures_begin_by_image(Figures *figures, const Task *task, const void *data, int64_t count) {
    int *units = checked_malloc(((size_t)count + 1) * sizeof *units), num_units = 0;
    int64_t last = -1;
    for (int64_t i = 0; i < count; i++) {
        TaskItem item = {0};
        task->item(data, i, &item);
        num_units += item.image != last;
        last = item.image;
        units[i] = num_units - 1;
    }
    figures_begin(figures, num_units);
    for (int64_t i = 0; i < count; i++) {
        TaskItem item = {0};
        task->item(data, i, &item);
        figures_name_unit(figures, units[i], item.image_id);
    }
    return units;
}
