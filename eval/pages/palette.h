/// Colours that tell things apart, on light and on dark grounds: the series of a chart, the phrases
/// of a caption.
#pragma once
#include <stdint.h>

typedef struct Color {
    uint8_t red, green, blue;
} Color;

enum { PALETTE_SIZE = 10 };

/// Colour number `index`, repeated after PALETTE_SIZE. Any two of them are at least 20 apart (CIE
/// 1976 Delta E).
Color palette_color(int index);
