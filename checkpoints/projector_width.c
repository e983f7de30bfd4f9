#include "checkpoints/projector_width.h"

bool projector_sizes(MatrixShape *matrix, const void *source, bool is_llava,
                     ProjectorSizes *sizes) {
    static const char *const names[2][2] = {
        {"mm_projector.linear.0.weight", "mm_projector.linear.2.weight"},
        {"mm_projector.0.weight", "mm_projector.2.weight"}};
    int64_t first[2], second[2];
    if (!matrix(source, names[is_llava][0], first) || !matrix(source, names[is_llava][1], second) ||
        second[1] != first[0])
        return false;
    *sizes = (ProjectorSizes){first[1], first[0], second[0]};
    return true;
}

static bool matrix_of_parameters(const void *source, const char *name, int64_t shape[2]) {
    const Parameter *parameter = parameters_find(source, name);
    if (!parameter || parameter->value->rank != 2) return false;
    shape[0] = parameter->value->shape[0];
    shape[1] = parameter->value->shape[1];
    return true;
}

bool parameters_projector_sizes(const ParameterSet *parameters, bool is_llava,
                                ProjectorSizes *sizes) {
    return projector_sizes(matrix_of_parameters, parameters, is_llava, sizes);
}

bool projector_width_check(MatrixShape *matrix, const void *source, const char *path,
                           const ParameterSet *parameters, Error *error) {
    ProjectorSizes own, stored;
    bool is_llava = parameters_find(parameters, "mm_projector.0.weight") != NULL;
    if (!parameters_projector_sizes(parameters, is_llava, &own) ||
        !projector_sizes(matrix, source, is_llava, &stored) || stored.width == own.width ||
        stored.in != own.in || stored.out != own.out)
        return true;
    return error_set(error,
                     "%s: the projector is %lld wide between its two layers, that of the "
                     "configured model %lld; set model.projector_width to %lld",
                     path, (long long)stored.width, (long long)own.width, (long long)stored.width);
}
