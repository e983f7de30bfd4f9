/// The look of a report: eval/pages/report.css, put into the program at build time. Colours are
/// named once and change with the reader's light or dark setting.
#pragma once

extern const char HTML_STYLE[];
