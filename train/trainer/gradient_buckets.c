// A bucket is complete with the last of its parameters, so those that are completed one after the
// other should lie together: neighbours in the order of registration are neighbours in the network.
// The last registered lie first, as networks are registered from their beginning; were they not,
// buckets would be completed later, and nothing else would change.
#include "train/trainer/gradient_buckets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/// The buckets that a backward pass has completed, in that order.
typedef struct Completions {
    int count, buckets[];
} Completions;

struct GradientBuckets {
    ParameterSet *set;
    ProcessGroup *group;
    bool shard;
    Bucket *items;
    int count;
    /// [count], in which order buckets are summed; next: the place in it of the first whose sum has
    /// not begun
    int *order, next;
    /// this rank's last backward pass, and whether `order` is what one of rank 0 was
    Completions *completions;
    bool is_observed;
    LeafListener listener;
    /// by parameter
    Place *places;
    ParameterRange *ranges;
    int range_count;
};

/// Deals the parameters out to buckets.
static void place_parameters(GradientBuckets *buckets, int64_t bucket_elements) {
    for (int i = buckets->set->count - 1; i >= 0; i--) {
        int64_t n = tensor_numel(buckets->set->items[i].value);
        Bucket *last = buckets->count ? &buckets->items[buckets->count - 1] : NULL;
        if (!last || (last->numel > 0 && last->numel + n > bucket_elements))
            last = &buckets->items[buckets->count++];
        buckets->places[i] = (Place){buckets->count - 1, last->numel};
        last->numel += n;
        last->parameters++;
    }
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

static size_t bytes_of_completions(const GradientBuckets *buckets) {
    return sizeof(Completions) + (size_t)buckets->count * sizeof(int);
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
    buckets->order = checked_calloc((size_t)buckets->count, sizeof *buckets->order);
    for (int b = 0; b < buckets->count; b++) buckets->order[b] = b;
    buckets->completions = checked_calloc(1, bytes_of_completions(buckets));
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
    free(buckets->order);
    free(buckets->completions);
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
    Completions *completions = buckets->completions;
    int completed = buckets->places[parameter].bucket;
    if (--buckets->items[completed].pending == 0)
        completions->buckets[completions->count++] = completed;
    while (buckets->next < buckets->count &&
           buckets->items[buckets->order[buckets->next]].pending == 0)
        begin_sum(buckets, buckets->order[buckets->next++]);
    process_group_progress(buckets->group);
}

const LeafListener *gradient_buckets_begin(GradientBuckets *buckets) {
    for (int b = 0; b < buckets->count; b++)
        buckets->items[b].pending = buckets->items[b].parameters;
    buckets->listener = (LeafListener){gradient_complete, buckets};
    return process_count(buckets->group) > 1 ? &buckets->listener : NULL;
}

/// Takes over the order that rank 0 has seen, if it has seen every bucket.
static bool observe_order(GradientBuckets *buckets, Error *error) {
    Completions *seen = buckets->completions;
    if (!process_group_broadcast(buckets->group, 0, seen, bytes_of_completions(buckets), error))
        return false;
    buckets->is_observed = seen->count == buckets->count;
    if (buckets->is_observed)
        memcpy(buckets->order, seen->buckets, (size_t)seen->count * sizeof *seen->buckets);
    return true;
}

bool gradient_buckets_finish(GradientBuckets *buckets, int64_t step, Error *error) {
    char what[64];
    snprintf(what, sizeof what, "the gradients of step %lld", (long long)step);
    while (buckets->next < buckets->count) begin_sum(buckets, buckets->order[buckets->next++]);
    bool ok = process_group_wait(buckets->group, what, error) &&
              (buckets->is_observed || buckets->count < 2 || observe_order(buckets, error));
    buckets->next = 0;
    if (buckets->completions) buckets->completions->count = 0;
    return ok;
}

int gradient_buckets_begun(const GradientBuckets *buckets) { return buckets->next; }

bool gradient_buckets_gather_values(GradientBuckets *buckets, Error *error) {
    if (!buckets->shard) return true;
    for (int b = 0; b < buckets->count; b++)
        process_group_all_gather(buckets->group, buckets->items[b].values);
    return process_group_wait(buckets->group, "the updated weights", error);
}
