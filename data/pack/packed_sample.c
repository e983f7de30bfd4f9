#include "data/pack/packed_sample.h"

#include "data/sample_file.h"

/// Whether the index says of the sample what its text does: a pack may have been made up.
static bool is_as_indexed(const PackSample *packed, const Sample *sample, Error *error) {
    return (sample_words(sample) == packed->words &&
            sample_is_beyond_plain(sample) == packed->beyond_plain) ||
           error_set(error, "the pack's index says otherwise of it than its text; make the pack "
                            "again with 'difflmm prepare'");
}

/// The picture, if the pack has pictures and this one.
static bool find_image(const Pack *pack, Sample *sample, Error *error) {
    Error damage = {0};
    if (!sample->image_name || !pack_image_count(pack)) return true;
    return pack_image(pack, sample->image_name, &sample->packed_image, &damage) ||
           !damage.message[0] || error_set(error, "%s", damage.message);
}

bool packed_sample_read(const Pack *pack, int64_t index, const char *image_folder, Sample *sample,
                        Error *error) {
    PackSample packed;
    *sample = (Sample){0};
    if (!pack_sample(pack, index, &packed, error)) return false;
    struct json_t *json = sample_text_parse(packed.text, (size_t)packed.text_bytes, error);
    if (!json)
        return error_context(error, "%s: sample %lld", pack_path(pack), (long long)packed.number);
    if (!sample_read(json, image_folder, sample, error) || !is_as_indexed(&packed, sample, error) ||
        !find_image(pack, sample, error))
        return false;
    sample->tokens = packed.tokens;
    sample->num_tokens = packed.num_tokens;
    sample->spans = packed.spans;
    sample->num_spans = packed.num_spans;
    sample->tokens_of = pack_tokens_of(pack);
    return true;
}
