/// Parsers in the form of a command: parse_NAME(argc, argv) reads the file argv[1] and all that is
/// in it. What is refused is printed to stderr.
#pragma once

int parse_image(int argc, char **argv);
int parse_tokenizer(int argc, char **argv);
int parse_word_piece(int argc, char **argv);
/// argv[2]: the folder of images.
int parse_conversations(int argc, char **argv);
int parse_coco(int argc, char **argv);
int parse_weights(int argc, char **argv);
int parse_pickle(int argc, char **argv);
int parse_state(int argc, char **argv);
int parse_peft(int argc, char **argv);
/// A section `sweep`, its cells, and what they would have to run.
int parse_sweep(int argc, char **argv);

// Files of evaluations (parsers_of_evaluations.c).

/// With instances.json beside it; of the split "val".
int parse_referring(int argc, char **argv);
/// Captions; argv[2]: their masks.
int parse_grounded_captions(int argc, char **argv);
int parse_grounded_prediction(int argc, char **argv);
/// Narratives; argv[2]: panoptic annotations.
int parse_narratives(int argc, char **argv);
/// Of POPE: one file, or the folder of the three.
int parse_pope(int argc, char **argv);
int parse_gqa(int argc, char **argv);
/// argv[2]: the file of images.
int parse_regions(int argc, char **argv);
/// An answer of groundLMM's scripts; argv[2]: the tokenizer of the model that answered.
int parse_dump(int argc, char **argv);
