#include "models/language/sampling.h"

#include "autograd/philox.h"
#include "autograd/random.h"

#include <math.h>
#include <stdlib.h>

static int32_t most_probable(const float *logits, int vocab_size) {
    int best = 0;
    for (int i = 1; i < vocab_size; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

static int more_probable_first(const void *a, const void *b) {
    const SamplingCandidate *x = a, *y = b;
    if (x->probability != y->probability) return x->probability > y->probability ? -1 : 1;
    return (x->token > y->token) - (x->token < y->token);
}

int sampling_nucleus(const float *logits, int vocab_size, const Sampling *sampling,
                     SamplingCandidate *candidates) {
    const double largest = logits[most_probable(logits, vocab_size)];
    double total = 0.0, sum = 0.0;
    for (int i = 0; i < vocab_size; i++) {
        double p = exp(((double)logits[i] - largest) / sampling->temperature);
        candidates[i] = (SamplingCandidate){p, i};
        total += p;
    }
    qsort(candidates, (size_t)vocab_size, sizeof *candidates, more_probable_first);
    int count = 0;
    while (count < vocab_size && (count == 0 || sum < sampling->top_p)) {
        candidates[count].probability /= total;
        sum += candidates[count++].probability;
    }
    return count;
}

int32_t sample_token(const float *logits, int vocab_size, const Sampling *sampling, uint64_t index,
                     int position) {
    if (sampling->temperature <= 0.0) return most_probable(logits, vocab_size);
    SamplingCandidate *candidates = checked_malloc((size_t)vocab_size * sizeof *candidates);
    int count = sampling_nucleus(logits, vocab_size, sampling, candidates), chosen = 0;
    double sum = 0.0, passed = 0.0;
    for (int i = 0; i < count; i++) sum += candidates[i].probability;
    RandomStream stream = random_stream(sampling->seed, RANDOM_GENERATION, index);
    float uniform;
    philox_uniform(stream.key, stream.index, (uint64_t)position, &uniform, 1);
    while (chosen < count - 1 &&
           (passed += candidates[chosen].probability) <= (double)uniform * sum)
        chosen++;
    int32_t token = candidates[chosen].token;
    free(candidates);
    return token;
}
