#include "train/features/feature_fill.h"

#include "autograd/text/utf8.h"

FeatureCache *feature_fill(const FeatureFilling *filling, const Dataset *dataset, int64_t limit,
                           bool *stopping, Error *error) {
    const DataSection *data = &filling->config->data;
    const bool is_first = process_rank(filling->group) == 0;
    const FeatureCacheOptions options = {.model = filling->model,
                                         .dataset = dataset,
                                         .image_aspect = data->image_aspect_ratio,
                                         .image_normalization = data->image_normalization,
                                         .limit = limit,
                                         .damaged_image = data->missing_image,
                                         .group = filling->group,
                                         .folder = filling->folder};
    FeatureCache *cache = feature_cache_new(&options, stopping, is_first ? stderr : NULL, error);
    if (cache && filling->folder && is_first)
        utf8_print(stderr, "features of %lld of %lld images were read from %s\n",
                   (long long)feature_cache_count_found(cache),
                   (long long)feature_cache_count(cache), data->feature_folder);
    return cache;
}
