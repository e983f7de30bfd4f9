/// The look of a report: eval/pages/report.css, put into the program at build time. Colours are
/// named once and change with the reader's light or dark setting.
#pragma once

extern const char HTML_STYLE[];
/// Of its bytes, for pages whose policy names what they may use.
extern const unsigned char HTML_STYLE_SHA256[32];
/// Sorts tables of the class "sortable": eval/pages/sort_table.js.
extern const char SORT_TABLE_SCRIPT[];
