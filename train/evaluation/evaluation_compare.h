/// Two evaluations of the same items, figure by figure: paired differences with intervals.
#pragma once
#include "autograd/error.h"

#include <stdio.h>

/// a, b: folders that evaluations left (eval.output_dir); both of the same task and images. Reads
/// their configurations, annotations and verdicts, and prints a table, or with `as_json` an object
/// {"<figure>": {"a", "b", "difference": b - a, "interval": [low, high]}}. Needs no model (but
/// BERT, where it was used).
bool evaluation_compare(const char *a, const char *b, bool as_json, FILE *out, Error *error);
