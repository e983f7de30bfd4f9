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
