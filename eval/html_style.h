/// The look of a report. Colours are named once and change with the reader's light or dark setting.
#pragma once

extern const char HTML_STYLE[];
