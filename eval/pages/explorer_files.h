/// What the explorer's page adds to the look of a report, and what moves it:
/// eval/pages/explorer.css and explorer_maps.js, explorer_pictures.js and explorer.js, put into the
/// program at build time, with the SHA-256 of their bytes: the page's policy names these, so that
/// nothing else in it is run.
#pragma once

extern const char EXPLORER_STYLE[], EXPLORER_MAPS_SCRIPT[], EXPLORER_PICTURES_SCRIPT[],
    EXPLORER_SCRIPT[];
extern const unsigned char EXPLORER_STYLE_SHA256[32], EXPLORER_MAPS_SCRIPT_SHA256[32],
    EXPLORER_PICTURES_SCRIPT_SHA256[32], EXPLORER_SCRIPT_SHA256[32];
