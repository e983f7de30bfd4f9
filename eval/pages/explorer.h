/// An explorer of attention: one HTML page that needs no other file and asks for none. Of every
/// example it shows the picture and the answer; pointing at a word lays what that word looked at
/// over the picture, with point, mask and truth of its phrase. Works by keyboard and with screen
/// readers, in light and dark.
///
///   Explorer *page = explorer_new(&(ExplorerAbout){.title = "...", .sides = {"trained"}});
///   explorer_add_example(page, &example, error);    any number of times
///   explorer_save(page, "explorer.html", error);
///   explorer_free(page);
///
/// What is in the page of an example's maps: of every phrase and every token its deviation from the
/// answer's mean map, and that mean, each with its own range and 256 levels or fewer. So the page's
/// map of a phrase is the map that its point was read from, up to half a level. Where an example
/// would pass EXPLORER_EXAMPLE_BYTES, tokens, layers and masks are kept more coarsely or
/// left out, phrases' maps never.
#pragma once
#include "data/coco_mask.h"
#include "data/images/image.h"
#include "eval/attention/grounding.h"

typedef struct Explorer Explorer;

enum {
    /// answers to the same picture, side by side
    EXPLORER_SIDES = 2,
    /// in the page, with all its pictures: 100 examples stay below 6 MB
    EXPLORER_EXAMPLE_BYTES = 59000
};

/// All strings are text of any bytes: what is not UTF-8 is shown as U+FFFD.
typedef struct ExplorerAbout {
    const char *title;
    /// a line below the title, or NULL
    const char *subtitle;
    /// what figures, hits and the truth are here; NULL: there are none
    const char *explanation;
    /// names of the answers; the second NULL: one answer per picture
    const char *sides[EXPLORER_SIDES];
} ExplorerAbout;

typedef enum ExplorerHit { EXPLORER_HIT_UNKNOWN, EXPLORER_MISS, EXPLORER_HIT } ExplorerHit;

/// A phrase of an answer. Zeros and NULL: not known, but for `iou`.
typedef struct ExplorerPhrase {
    /// bytes [begin, end) of the answer's text; equal: it does not stand in the text
    int begin, end;
    /// what it is called then
    const char *name;
    /// the tokens whose attention gave the point; none: it points nowhere
    const int *tokens;
    int num_tokens;
    Point point;
    /// of the picture's size
    const CocoMask *mask, *truth;
    /// what the truth is called there; a category, for the page's filter
    const char *truth_name, *category;
    /// of the point in the truth
    ExplorerHit hit;
    /// of mask and truth; NAN: not known
    double iou;
} ExplorerPhrase;

typedef struct ExplorerAnswer {
    /// with maps, in the picture's size; NULL: this side has none
    const Answer *answer;
    /// how its attention was read
    GroundingOptions how;
    const ExplorerPhrase *phrases;
    int num_phrases;
    /// of the whole answer, the worst first: low is bad; NAN: not known
    double figure;
} ExplorerAnswer;

typedef struct ExplorerExample {
    const char *id;
    /// what was asked, or NULL
    const char *question;
    /// its place among all examples there are, from 0
    int64_t number;
    const Image *picture;
    ExplorerAnswer answers[EXPLORER_SIDES];
} ExplorerExample;

Explorer *explorer_new(const ExplorerAbout *about);
void explorer_free(Explorer *explorer);
/// Nothing of the example is kept but what the page needs. Fails if a picture cannot be encoded.
bool explorer_add_example(Explorer *explorer, const ExplorerExample *example, Error *error);
/// The whole page; the caller frees it.
char *explorer_page(const Explorer *explorer);
/// Writes the page, whole or not at all.
bool explorer_save(const Explorer *explorer, const char *path, Error *error);
