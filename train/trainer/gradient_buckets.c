// Backward completes the language model's layers from the last to the first, and the adapters after
// them: the reverse of the order of registration, LoRA first.
#include "train/trainer/gradient_buckets.h"

#include "autograd/tape.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct Bucket {
    /// [numel]; values only if sharded
    Tensor *gradients, *values;
    /// a multiple of the number of ranks
    int64_t numel;
    /// how many lie in it, and of how many the gradient is not complete
    int parameters, pending;
} Bucket;

/// Where a parameter lies.
typedef struct Place {
    int bucket;
    int64_t offset;
} Place;

struct GradientBuckets {
    ParameterSet *set;
    ProcessGroup *group;
    bool shard;
    Bucket *items;
    /// next: the first whose sum has not begun
    int count, next;
    /// by parameter
    Place *places;
    ParameterRange *ranges;
    int range_count;
};

/// Parameters in the order of the buckets.
static int *completion_order(const ParameterSet *set) {
    int *order = checked_malloc((size_t)(set->count + 1) * sizeof *order), filled = 0;
    for (int lora = 1; lora >= 0; lora--)
        for (int i = set->count - 1; i >= 0; i--)
            if ((set->items[i].group == GROUP_LORA) == lora) order[filled++] = i;
    return order;
}

/// Deals the parameters out to buckets.
static void place_parameters(GradientBuckets *buckets, int64_t bucket_elements) {
    int *order = completion_order(buckets->set);
    for (int i = 0; i < buckets->set->count; i++) {
        int64_t n = tensor_numel(buckets->set->items[order[i]].value);
        Bucket *last = buckets->count ? &buckets->items[buckets->count - 1] : NULL;
        if (!last || (last->numel > 0 && last->numel + n > bucket_elements))
            last = &buckets->items[buckets->count++];
        buckets->places[order[i]] = (Place){buckets->count - 1, last->numel};
        last->numel += n;
        last->parameters++;
    }
    free(order);
    for (int b = 0; b < buckets->count; b++) {
        int64_t ranks = process_count(buckets->group);
        buckets->items[b].numel = (buckets->items[b].numel + ranks - 1) / ranks * ranks;
    }
}

static Tensor *zeros(Device *device, int64_t count) {
    Tensor *x = tensor_new_persistent(device, FLOAT32, SHAPE(count), NULL);
    device->fill_zero(device, x->data, (size_t)count * sizeof(float));
    return x;
}

static void allocate_buckets(GradientBuckets *buckets) {
    Device *device = buckets->set->items[0].value->device;
    for (int b = 0; b < buckets->count; b++) {
        buckets->items[b].gradients = zeros(device, buckets->items[b].numel);
        if (buckets->shard) buckets->items[b].values = zeros(device, buckets->items[b].numel);
    }
}

static void move_in(GradientBuckets *buckets, int parameter) {
    Tensor *value = buckets->set->items[parameter].value;
    Place place = buckets->places[parameter];
    Bucket *bucket = &buckets->items[place.bucket];
    scope_begin();
    Tensor *gradient = tensor_slice(bucket->gradients, place.offset, value->rank, value->shape);
    if (value->name) gradient->name = checked_strdup(value->name);
    leaf_set_gradient(value, gradient);
    if (buckets->shard)
        tensor_move(value, tensor_slice(bucket->values, place.offset, value->rank, value->shape));
    scope_end();
}

/// The elements of a parameter that are this rank's.
static void add_range(GradientBuckets *buckets, int parameter) {
    Place place = buckets->places[parameter];
    int64_t n = tensor_numel(buckets->set->items[parameter].value);
    ParameterRange range = {parameter, 0, n};
    if (buckets->shard) {
        int64_t part = buckets->items[place.bucket].numel / process_count(buckets->group);
        int64_t first = part * process_rank(buckets->group) - place.offset, end = first + part;
        range.first = first < 0 ? 0 : first;
        range.count = (end < n ? end : n) - range.first;
    }
    if (range.count > 0) buckets->ranges[buckets->range_count++] = range;
}

GradientBuckets *gradient_buckets_new(ParameterSet *parameters, ProcessGroup *group,
                                      int64_t bucket_bytes, bool shard) {
    size_t count = (size_t)parameters->count;
    GradientBuckets *buckets = checked_calloc(1, sizeof *buckets);
    *buckets = (GradientBuckets){.set = parameters,
                                 .group = group,
                                 .shard = shard && process_count(group) > 1,
                                 .items = checked_calloc(count + 1, sizeof(Bucket)),
                                 .places = checked_calloc(count + 1, sizeof(Place)),
                                 .ranges = checked_calloc(count + 1, sizeof(ParameterRange))};
    if (!count) return buckets;
    place_parameters(buckets, bucket_bytes / (int64_t)sizeof(float));
    allocate_buckets(buckets);
    for (int i = 0; i < parameters->count; i++) {
        move_in(buckets, i);
        add_range(buckets, i);
    }
    return buckets;
}

void gradient_buckets_free(GradientBuckets *buckets) {
    if (!buckets || process_group_is_broken(buckets->group)) return;
    for (int b = 0; b < buckets->count; b++) {
        tensor_release(buckets->items[b].gradients);
        tensor_release(buckets->items[b].values);
    }
    free(buckets->items);
    free(buckets->places);
    free(buckets->ranges);
    free(buckets);
}

const ParameterRange *gradient_buckets_ranges(const GradientBuckets *buckets, int *count) {
    *count = buckets->range_count;
    return buckets->ranges;
}

bool gradient_buckets_sharded(const GradientBuckets *buckets) { return buckets->shard; }

// ---- a step

static void begin_sum(GradientBuckets *buckets, int index) {
    for (int i = 0; i < buckets->set->count; i++)
        if (buckets->places[i].bucket == index) leaf_settle_gradient(buckets->set->items[i].value);
    if (buckets->shard)
        process_group_reduce_scatter(buckets->group, buckets->items[index].gradients);
    else
        process_group_all_reduce(buckets->group, buckets->items[index].gradients);
}

static void gradient_complete(int parameter, void *context) {
    GradientBuckets *buckets = context;
    buckets->items[buckets->places[parameter].bucket].pending--;
    while (buckets->next < buckets->count && buckets->items[buckets->next].pending == 0)
        begin_sum(buckets, buckets->next++);
    process_group_progress(buckets->group);
}

void gradient_buckets_begin(GradientBuckets *buckets) {
    for (int b = 0; b < buckets->count; b++)
        buckets->items[b].pending = buckets->items[b].parameters;
    if (process_count(buckets->group) > 1) tape_on_leaf_complete(gradient_complete, buckets);
}

bool gradient_buckets_finish(GradientBuckets *buckets, int64_t step, Error *error) {
    char what[64];
    snprintf(what, sizeof what, "the gradients of step %lld", (long long)step);
    tape_on_leaf_complete(NULL, NULL);
    while (buckets->next < buckets->count) begin_sum(buckets, buckets->next++);
    buckets->next = 0;
    return process_group_wait(buckets->group, what, error);
}

bool gradient_buckets_gather_values(GradientBuckets *buckets, Error *error) {
    if (!buckets->shard) return true;
    for (int b = 0; b < buckets->count; b++)
        process_group_all_gather(buckets->group, buckets->items[b].values);
    return process_group_wait(buckets->group, "the updated weights", error);
}
