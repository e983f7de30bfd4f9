#include "eval/metrics/text/ptb_rules.h"

// The rules are those of the published lexer in our own notation. tests/parity/check_ptb_rules.py
// compares them, in every state, with the automaton in the jar of version 3.4.1.

const NamedPattern PTB_NAMED[] = {
    // ---- marks
    {"space", "[ \\t\\u00A0\\u2000-\\u200A\\u3000]"},
    {"newline", "\\r|\\r?\\n|[\\u2028\\u2029\\u000B\\u000C\\u0085]"},
    {"blank", "({space}|{newline})"},
    {"hyphen", "[-_\\u058A\\u2010\\u2011]"},
    {"apostrophe", "(['\\u0092\\u2019]|&apos;)"},
    // what stands for an apostrophe within words, rightly or wrongly
    {"inner_apostrophe", "({apostrophe}|[`\\u0091\\u2018\\u201B])"},
    {"within_sentence", "[,;:\\u3001]"},
    {"sgml_name", "[A-Za-z][A-Za-z0-9_:.-]*"},
    {"sgml", "<([!?][A-Za-z-][^>\\r\\n]*|{sgml_name}([ ]+({sgml_name}|{sgml_name}[ ]*=[ ]*('[^']*'|"
             "\"[^\"]*\")))*[ ]*/?|/{sgml_name})[ ]*>"},
    {"sentence_end", "{blank}({blank}|\\U|{sgml})"},

    // ---- numbers
    {"digit", "[\\D\\u07C0-\\u07C9]"},
    {"number", "{digit}+|{digit}*([.:,\\u00AD\\u066B\\u066C]{digit}+)+"},
    {"slash", "(\\\\?/|\\u2044)"},
    {"phone",
     "(\\([0-9]{2,3}\\)[ \\u00A0]?|(\\+\\+?)?([0-9]{2,4}[- \\u00A0])?[0-9]{2,4}[- \\u00A0])[0-9]{3,"
     "4}[- \\u00A0]?[0-9]{3,5}|((\\+\\+?)?[0-9]{2,4}\\.)?[0-9]{2,4}\\.[0-9]{3,4}\\.[0-9]{3,5}"},

    // ---- words
    {"letter",
     "(&[aeiouAEIOU](acute|grave|uml);|[\\L\\u00AD\\u0237-\\u024F\\u02C2-\\u02C5\\u02D2-\\u02DF"
     "\\u02E5-\\u02FF\\u0300-\\u036F\\u0370-\\u037D\\u0384\\u0385\\u03CF\\u03F6\\u03FC-\\u03FF"
     "\\u0483-\\u0487\\u04CF\\u04F6-\\u04FF\\u0510-\\u0525\\u055A-\\u055F\\u0591-\\u05BD\\u05BF"
     "\\u05C1\\u05C2\\u05C4\\u05C5\\u05C7\\u0615-\\u061A\\u063B-\\u063F\\u064B-\\u065E\\u0670"
     "\\u06D6-\\u06EF\\u06FA-\\u06FF\\u070F\\u0711\\u0730-\\u074F\\u0750-\\u077F\\u07A6-\\u07B1"
     "\\u07CA-\\u07F5\\u07FA\\u0900-\\u0903\\u093C\\u093E-\\u094E\\u0951-\\u0955\\u0962-\\u0963"
     "\\u0981-\\u0983\\u09BC-\\u09C4\\u09C7\\u09C8\\u09CB-\\u09CD\\u09D7\\u09E2\\u09E3\\u0A01-"
     "\\u0A03\\u0A3C\\u0A3E-\\u0A4F\\u0A81-\\u0A83\\u0ABC-\\u0ACF\\u0B82\\u0BBE-\\u0BC2\\u0BC6-"
     "\\u0BC8\\u0BCA-\\u0BCD\\u0C01-\\u0C03\\u0C3E-\\u0C56\\u0D3E-\\u0D44\\u0D46-\\u0D48\\u0E30-"
     "\\u0E3A\\u0E47-\\u0E4E\\u0EB1-\\u0EBC\\u0EC8-\\u0ECD])"},
    {"word", "{letter}({letter}|{digit})*([.!?]{letter}({letter}|{digit})*)*"},
    {"file_name",
     "({letter}|{digit})+(\\.({letter}|{digit})+)*\\.(bat|bmp|c|class|cgi|cpp|dll|doc|docx|exe|"
     "gif|gz|h|htm|html|jar|java|jpeg|jpg|mov|mp3|pdf|php|pl|png|ppt|ps|py|sql|tar|txt|wav|x|xml|"
     "zip)"},
    {"alphanumeric", "[\\L\\D]"},
    {"compound_part", "([dDoOlL]{inner_apostrophe}{alphanumeric})?{alphanumeric}+"},
    {"compound", "{compound_part}({hyphen}{compound_part})*"},
    {"joined_capitals", "[A-Z]+(([+&]|&amp;)[A-Z]+)+"},
    {"slashed_part", "[A-Za-z0-9]+(-[A-Za-z]+){0,2}"},
    {"slashed", "{slashed_part}(\\\\?/{slashed_part}){1,2}"},
    {"hyphenated", "[A-Za-z0-9][A-Za-z0-9.,\\u00AD]*(-([A-Za-z0-9\\u00AD]+|{long_acronym}\\.))+"},
    {"clitic", "{apostrophe}([msdMSD]|re|ve|ll)"},
    {"before_not", "[A-Za-z\\u00AD]*[A-MO-Za-mo-z](\\u00AD)*"},
    {"not", "n{inner_apostrophe}t"},
    {"with_apostrophe",
     "{apostrophe}n{apostrophe}?|[lLdDjJ]{apostrophe}|Dunkin{apostrophe}|somethin{apostrophe}|ol"
     "{apostrophe}|{apostrophe}em|[A-HJ-XZn]{inner_apostrophe}\\L{2}\\L*|{apostrophe}[2-9]0s|"
     "{apostrophe}till?|\\L\\L*[aeiouyAEIOUY]{inner_apostrophe}[aeiouA-Z]\\L*|{apostrophe}cause|"
     "cont'd\\.?|'twas|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l|O{inner_apostrophe}o"},

    // ---- addresses
    {"full_url", "https?://[^ \\t\\n\\f\\r\"<>|(){}]+[^ \\t\\n\\f\\r\"<>|.!?(){},-]"},
    {"likely_url",
     "((www\\.([^ \\t\\n\\f\\r\"<>|.!?(){},]+\\.)+[a-zA-Z]{2,4})|(([^ "
     "\\t\\n\\f\\r\"`'<>|.!?(){},-_$"
     "]+\\.)+(com|net|org|edu)))(/[^ \\t\\n\\f\\r\"<>|()]+[^ \\t\\n\\f\\r\"<>|.!?(){},-])?"},
    {"email",
     "(&lt;|<)?[a-zA-Z0-9][^ \\t\\n\\f\\r\"<>|()\\u00A0{}]*@([^ \\t\\n\\f\\r\"<>|(){}.\\u00A0]+"
     "\\.)*([^ \\t\\n\\f\\r\"<>|(){}.\\u00A0]+)(&gt;|>)?"},
    {"twitter", "@[a-zA-Z_][a-zA-Z_0-9]*|#{letter}+"},

    // ---- abbreviations
    {"month", "Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec"},
    {"day", "Mon|Tue|Tues|Wed|Thu|Thurs|Fri"},
    {"state",
     "Ala|Ariz|[A]z|[A]rk|Calif|Colo|Conn|Ct|Dak|[D]el|Fla|Ga|[I]ll|Ind|Kans?|Ky|[L]a|[M]ass|Md|"
     "Mich|Minn|[M]iss|Mo|Mont|Neb|Nev|Okla|[O]re|[P]a|Penn|Tenn|[T]ex|Va|Vt|[W]ash|Wisc?|Wyo"},
    {"company", "Inc|Cos?|Corp|Pp?t[ye]s?|Ltd|Plc|Rt|Bancorp|Bhd|Assn|Univ|Intl|Sys"},
    {"title_behind", "Jr|Sr|Bros|(Ed|Ph)\\.D|Blvd|Rd|Esq"},
    // mostly followed by lower case
    {"abbreviation",
     "({month}|{day}|{state}|{company}|tel|est|ext|sq|{title_behind}|etc|al|seq|Bldg)\\."},
    {"joined_acronym", "(Canada|Sino|Korean|EU|Japan|non)-U\\.S|U\\.S\\.-(U\\.K|U\\.S\\.S\\.R)"},
    {"acronym", "([A-Za-z](\\.[A-Za-z])*|{joined_acronym})"},
    {"long_acronym", "([A-Za-z](\\.[A-Za-z])+|{joined_acronym})"},
    {"title",
     "Mr|Mrs|Ms|[M]iss|Drs?|Profs?|Sens?|Reps?|Attys?|Lt|Col|Gen|Messrs|Govs?|Adm|Rev|Maj|Sgt|Cpl|"
     "Pvt|Capt|Ste?|Ave|Pres|Lieut|Hon|Brig|Co?mdr|Pfc|Spc|Supts?|Det|Mt|Ft|Adj|Adv|Asst|Assoc|Ens|"
     "Insp|Mlle|Mme|Msgr|Sfc"},
    // mostly followed by upper case
    {"upper_abbreviation", "({title}|vs|Alex|Wm|Jos|Cie|a\\.k\\.a|cf|TREAS|Ph|{acronym}|Invt|Elec|"
                           "Natl|M[ft]g|Dept)"},
    {"number_abbreviation", "(ca|figs?|prop|nos?|art|bldg|pp|op)\\."},
    {"sentence_start",
     "([A]bout|[A]ccording|[A]dditionally|[A]fter|[A]n|[A]|[A]s|[A]t|[B]ut|[E]arlier|[H]e|[H]er|[H]"
     "ere|[H]owever|[I]f|[I]n|[I]t|[L]ast|[M]any|[M]ore|[M]r\\.|[M]s\\.|[N]ow|[O]nce|[O]ne|[O]ther|"
     "[O]ur|[S]he|[S]ince|[S]o|[S]ome|[S]uch|[T]hat|[T]he|[T]hen|[T]here|[T]hese|[T]hey|[T]his|[W]"
     "e|[W]hen|[W]hile|[W]hat|[Y]et|[Y]ou|[T]heir|{sgml})"},

    // ---- what else
    {"smiley", "[<>]?[:;=][-o*']?[()DPdpO\\\\{@|\\[\\]]"},
    {"asian_smiley",
     "[\\^x=~<>]\\.\\[\\^x=[^<]*<>\\]|[-\\^x=~<>']_[-\\^x=~<>']|\\([-\\^x=~<>'][_.]?[-\\^x"
     "=~<>']\\)|\\([\\^x=~<>']-[\\^x=~<>'`]\\)"},
    {"quotes", "{apostrophe}|''|[`\\u2018\\u2019\\u201A\\u201B\\u201C\\u201D\\u0091\\u0092\\u0093"
               "\\u0094\\u201E\\u201F\\u2039\\u203A\\u00AB\\u00BB]{1,2}"},
    {"double_quote", "(\"|&quot;)"},
    {"symbol",
     "[+%&~\\^|\\\\\\u00A6\\u00A7\\u00A8\\u00A9\\u00AC\\u00AE\\u00AF\\u00B0-\\u00B3\\u00B4-\\u00BA"
     "\\u00D7\\u00F7\\u0387\\u05BE\\u05C0\\u05C3\\u05C6\\u05F3\\u05F4\\u0600-\\u0603\\u0606-\\u060A"
     "\\u060C\\u0614\\u061B\\u061E\\u066A\\u066D\\u0703-\\u070D\\u07F6\\u07F7\\u07F8\\u0964\\u0965"
     "\\u0E4F\\u1FBD\\u2016\\u2017\\u2020-\\u2023\\u2030-\\u2038\\u203B\\u203E-"
     "\\u2042\\u2044\\u207A-\\u207F\\u208A-\\u208E\\u2100-\\u214F\\u2190-\\u21FF\\u2200-"
     "\\u2BFF\\u3012\\u30FB\\uFF01-"
     "\\uFF0F\\uFF1A-\\uFF20\\uFF3B-\\uFF40\\uFF5B-\\uFF65]"},
};
const int PTB_NAMED_COUNT = sizeof PTB_NAMED / sizeof *PTB_NAMED;

const PtbRule PTB_RULES[] = {
    {"c\\+\\+|(c|f)#", NULL, PTB_KEEP, NULL},
    {"cannot|'twas", NULL, PTB_SPLIT_THREE, NULL},
    {"'tis|gonna|gotta|lemme|gimme|wanna", NULL, PTB_SPLIT_TWO, NULL},
    {"{sgml}", NULL, PTB_SPACES, NULL},
    {"&(MD|mdash|ndash);|[\\u0096\\u0097\\u2013\\u2014\\u2015]", NULL, PTB_REPLACE, "--"},
    {"&amp;", NULL, PTB_AMPERSAND, NULL},
    {"&(HT|TL|UR|LR|QC|QL|QR|odq|cdq|#[0-9]+);", NULL, PTB_KEEP, NULL},
    {"{word}", "{clitic}", PTB_SOFT_HYPHENS, NULL},
    {"{before_not}", "{not}", PTB_SOFT_HYPHENS, NULL},
    {"{word}", NULL, PTB_SOFT_HYPHENS, NULL},
    {"{with_apostrophe}", NULL, PTB_KEEP, NULL},
    {"y{apostrophe}", "\\L", PTB_KEEP, NULL},
    {"{full_url}", NULL, PTB_KEEP, NULL},
    {"{likely_url}", NULL, PTB_KEEP, NULL},
    {"{email}", NULL, PTB_KEEP, NULL},
    {"{twitter}", NULL, PTB_KEEP, NULL},
    {"{clitic}", "[^A-Za-z]", PTB_QUOTES, NULL},
    {"{not}", "[^A-Za-z]", PTB_QUOTES, NULL},
    {"{digit}{1,2}[-/]{digit}{1,2}[-/]{digit}{2,4}", NULL, PTB_KEEP, NULL},
    {"[-+]?({number})", NULL, PTB_SOFT_HYPHENS, NULL},
    {"[\\u207A\\u207B\\u208A\\u208B]?([\\u2070\\u00B9\\u00B2\\u00B3\\u2074-\\u2079]+|[\\u2080-"
     "\\u2089]+)",
     NULL, PTB_KEEP, NULL},
    {"({digit}{1,4}[- \\u00A0])?{digit}{1,4}{slash}{digit}{1,4}", NULL, PTB_SPACES, NULL},
    {"[\\u00BC\\u00BD\\u00BE\\u2153-\\u215E]", NULL, PTB_FRACTION_CHARACTER, NULL},
    {"-(RRB|LRB|RCB|LCB|RSB|LSB)-|C\\.D\\.s|pro-|anti-|S(&|&amp;)P-500|S(&|&amp;)Ls|Cap"
     "{apostrophe}n|c{apostrophe}est",
     NULL, PTB_AMPERSAND, NULL},
    {"{slashed}", NULL, PTB_KEEP, NULL},
    {"[A-Z]*\\$|#", NULL, PTB_KEEP, NULL},
    {"[\\u00A2\\u00A3\\u00A4\\u00A5\\u0080\\u20A0\\u20AC\\u060B\\u0E3F\\u20A4\\uFFE0\\uFFE1\\uFFE5"
     "\\uFFE6]",
     NULL, PTB_CURRENCY, NULL},
    {"{acronym}\\.", "{blank}+{sentence_start}{blank}", PTB_FINAL_ACRONYM, NULL},
    {"{number_abbreviation}", "{blank}?\\D", PTB_KEEP, NULL},
    {"(pt[eyEY]|co)\\.", "{space}(ltd|lim)", PTB_KEEP, NULL},
    {"{abbreviation}", "{sentence_end}", PTB_FINAL_PERIOD, NULL},
    {"{abbreviation}", "[^][^]", PTB_KEEP, NULL},
    {"{abbreviation}", NULL, PTB_FINAL_PERIOD, NULL},
    {"{upper_abbreviation}\\.", NULL, PTB_KEEP, NULL},
    {"{upper_abbreviation}", "{space}", PTB_KEEP, NULL},
    {"{acronym}", "{blank}", PTB_KEEP, NULL},
    {"{apostrophe}[0-9][0-9]", "{blank}", PTB_KEEP, NULL},
    {"{file_name}", "({blank}|[.?!,])", PTB_KEEP, NULL},
    {"{word}\\.", "{within_sentence}", PTB_SOFT_HYPHENS, NULL},
    {"{phone}", NULL, PTB_PHONE, NULL},
    {"{double_quote}", "[A-Za-z0-9$]", PTB_OPENING_QUOTES, NULL},
    {"{double_quote}", NULL, PTB_QUOTES, NULL},
    {"\\u007F", NULL, PTB_SKIP, NULL},
    {"<|&lt;", NULL, PTB_REPLACE, "<"},
    {">|&gt;", NULL, PTB_REPLACE, ">"},
    {"{smiley}", "[^A-Za-z0-9]", PTB_PARENTHESES, NULL},
    {"{asian_smiley}", NULL, PTB_PARENTHESES, NULL},
    {"\\[", NULL, PTB_REPLACE, "-LSB-"},
    {"\\]", NULL, PTB_REPLACE, "-RSB-"},
    {"\\{", NULL, PTB_REPLACE, "-LCB-"},
    {"\\}", NULL, PTB_REPLACE, "-RCB-"},
    {"\\(", NULL, PTB_REPLACE, "-LRB-"},
    {"\\)", NULL, PTB_REPLACE, "-RRB-"},
    {"-+", NULL, PTB_HYPHENS, NULL},
    {"\\.{3,5}|(\\.[ \\u00A0]){2,4}\\.|[\\u0085\\u2026]", NULL, PTB_REPLACE, "..."},
    {"@+|#+|_+", NULL, PTB_KEEP, NULL},
    {"\\*+|(\\\\\\*){1,3}", NULL, PTB_KEEP, NULL},
    {"{within_sentence}", NULL, PTB_KEEP, NULL},
    {"[?!]+", NULL, PTB_KEEP, NULL},
    {"[.\\u00A1\\u00BF\\u037E\\u0589\\u061F\\u06D4\\u0700-\\u0702\\u07FA\\u3002]", NULL, PTB_KEEP,
     NULL},
    {"=", NULL, PTB_KEEP, NULL},
    {"/", NULL, PTB_KEEP, NULL},
    {"{hyphenated}\\.", "{within_sentence}", PTB_SOFT_HYPHENS, NULL},
    {"{hyphenated}", NULL, PTB_SOFT_HYPHENS, NULL},
    {"{compound}\\.", "{within_sentence}", PTB_KEEP, NULL},
    {"{compound}", NULL, PTB_KEEP, NULL},
    {"{joined_capitals}\\.", "{within_sentence}", PTB_AMPERSAND, NULL},
    {"{joined_capitals}", NULL, PTB_AMPERSAND, NULL},
    {"'", "[A-Za-z][^ \\t\\n\\r\\u00A0]", PTB_OPENING_QUOTES, NULL},
    {"{clitic}", NULL, PTB_QUOTES, NULL},
    {"{not}", NULL, PTB_QUOTES, NULL},
    {"{quotes}", NULL, PTB_QUOTES, NULL},
    {"<<|>>", NULL, PTB_KEEP, NULL},
    {"{symbol}", NULL, PTB_KEEP, NULL},
    {"\\u0000|{space}+|[\\u200B\\u200E-\\u200F\\uFEFF]", NULL, PTB_SKIP, NULL},
    {"{newline}", NULL, PTB_SKIP, NULL},
    {"&nbsp;", NULL, PTB_SKIP, NULL},
    {"[^]", NULL, PTB_SKIP, NULL},
};
const int PTB_RULE_COUNT = sizeof PTB_RULES / sizeof *PTB_RULES;
