/// Questions about what is in an image, with their answers, in the form of POPE
/// [Li et al. 2023, arXiv 2305.10355]: coco_pope_random.json, coco_pope_popular.json and
/// coco_pope_adversarial.json, which differ in how the things were chosen that are not there.
#pragma once
#include "autograd/error.h"

typedef struct PopeQuestion {
    /// as text; unique in its file
    char *id;
    /// "Is there a dog in the image?"
    char *text;
    /// indices into files and images
    int file, image;
    /// the label: yes, and not no
    bool is_yes;
} PopeQuestion;

typedef struct PopeFile {
    /// "coco_pope_random": the file's name without its ending
    char *name;
    /// "random": the last word of a name with "_pope_"; NULL without that. Points into `name`
    const char *category;
} PopeFile;

typedef struct PopeQuestions {
    /// one, or those of a folder: random, popular, adversarial
    PopeFile *files;
    int num_files;
    /// file names, in the order in which they are met first
    char **images;
    int num_images;
    /// file by file, in the files' order; at least one of each file
    PopeQuestion *items;
    int count;
} PopeQuestions;

/// Reads one file of JSON Lines (or a list, as POPE has it for GQA and A-OKVQA), or the three of a
/// folder, coco_pope_random.json or gqa_pope_seem_random.json and so on: of every line
/// "question_id", "image", "text" and "label", yes or no. Blank lines are passed over. Errors name
/// the file and the line: what is missing or of another kind, ids that occur twice, no UTF-8; and a
/// folder that lacks one of the files, or has one twice. All is to be freed with pope_free(), also
/// on failure.
bool pope_read(const char *path, PopeQuestions *out, Error *error);
void pope_free(PopeQuestions *questions);
