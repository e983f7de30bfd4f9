#include "train/prepare/prepare_features.h"

#include "autograd/text/utf8.h"
#include "train/features/feature_fill.h"
#include "train/group/going_on.h"
#include "train/group/shared_look.h"
#include "train/trainer/model_setup.h"

/// The samples of these files, the first `limit` of them (-1: all).
static bool fill(const FeatureFilling *filling, const DatasetFiles *files, int64_t limit,
                 Error *error) {
    const DataSection *data = &filling->config->data;
    bool stopping = false;
    if (!files->count) return true;
    SharedLook look = {filling->group, "the prepared data", &stopping};
    const ImageSharers sharers = shared_look_sharers(&look);
    Dataset *dataset =
        dataset_open_shared(files->values, files->count, data->missing_image, &sharers, error);
    bool ok = ranks_go_on(filling->group, dataset != NULL, &stopping, error);
    FeatureCache *cache = ok ? feature_fill(filling, dataset, limit, &stopping, error) : NULL;
    if (cache && process_rank(filling->group) == 0)
        utf8_print(stdout, "%s: features of %lld images are in %s\n", dataset_path(dataset),
                   (long long)feature_cache_count(cache), data->feature_folder);
    ok = cache != NULL;
    feature_cache_free(cache);
    dataset_close(dataset);
    return ok;
}

static bool fill_folder(const Config *config, const DatasetFiles *train, const DatasetFiles *eval,
                        const ModelSetup *setup, ProcessGroup *group, Error *error) {
    FeatureFolder *folder = feature_folder_open(config, setup->model, true, error);
    const FeatureFilling filling = {config, setup->model, group, folder};
    const bool ok = process_group_agree(group, folder != NULL, error) &&
                    fill(&filling, train, -1, error) &&
                    fill(&filling, eval, config->training.eval_samples, error);
    feature_folder_close(folder);
    return ok;
}

bool prepare_features(const Config *config, const DatasetFiles *train, const DatasetFiles *eval,
                      ProcessGroup *group, Error *error) {
    ModelSetup setup = {0};
    OutputFolder made = {0};
    if (!config->data.feature_folder) return true;
    bool ok = feature_folder_make(config, &made, error) &&
              model_setup_open_device(config, group, &setup, error) &&
              model_setup_read_encoders(config, &setup, error);
    ok = process_group_agree(group, ok, error) &&
         fill_folder(config, train, eval, &setup, group, error);
    model_setup_close(&setup);
    output_folder_close(&made, !ok);
    return ok;
}
