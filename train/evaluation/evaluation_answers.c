#include "train/evaluation/evaluation_setup.h"

AnswerStore *evaluation_open_answers(const Config *config, const char *folder,
                                     const json_t *asked_with, Error *error) {
    const EvalSection *eval = &config->eval;
    AnswerStore *store = answer_store_open(folder, asked_with, error);
    if (!store || !eval->answers || !official_dumps_are_in(folder)) return store;
    bool is_mixed = answer_store_count(store) > 0;
    answer_store_close(store);
    if (is_mixed) {
        config_refuse(config, "eval.answers", error,
                      "'%s' holds answers of this program beside .pth files; expected either",
                      folder);
        return NULL;
    }
    DumpOptions options = {eval->tokenizer ? eval->tokenizer : config->model.llm, eval->geometry,
                           (int)eval->offset};
    if (options.tokenizer) return answer_store_open_dumps(folder, &options, error);
    config_refuse(config, "eval.tokenizer", error,
                  "is missing: '%s' holds .pth files, whose ids are read with the tokenizer of the "
                  "model that answered",
                  folder);
    return NULL;
}
