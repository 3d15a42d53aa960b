/* What a word of a reply is. Every test takes a word without surrounding punctuation. */
#include "classify/cause_private.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static size_t count_byte(struct slice s, char byte)
{
    size_t count = 0;
    for (size_t i = 0; i < s.len; i++) {
        count += s.ptr[i] == byte;
    }
    return count;
}

static bool all_of(struct slice s, bool (*is)(char), const char *more)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is(s.ptr[i]) && strchr(more, s.ptr[i]) == NULL) {
            return false;
        }
    }
    return s.len > 0 && memchr(s.ptr, '\0', s.len) == NULL;
}

/* Four groups of digits, or of "x" where somebody masked them; a port or prefix length may follow.
 */
static bool is_ip4(struct slice s)
{
    size_t dots = 0;
    size_t group = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (is_digit(c) || c == 'x' || c == 'X') {
            if (++group > 3) {
                return false;
            }
        } else if (c == '.' && group > 0) {
            dots++;
            group = 0;
        } else {
            return (c == ':' || c == '/') && dots == 3 && group > 0;
        }
    }
    return dots == 3 && group > 0;
}

bool cause_is_ip(struct slice s)
{
    if (slice_starts_with_nocase(s, SLICE("IPv6:"))) {
        s = slice_skip(s, 5);
    }
    if (s.ptr == NULL || (s.len < 7 && count_byte(s, ':') < 2)) {
        return false;
    }
    return is_ip4(s) || (s.len >= 3 && count_byte(s, ':') >= 2 && all_of(s, is_hex, ":./%"));
}

bool cause_is_time(struct slice s)
{
    if (s.len < 5 || !is_digit(s.ptr[0]) || !all_of(s, is_digit, ":.-+TZ/,")) {
        return false;
    }
    size_t colons = count_byte(s, ':');
    size_t hyphens = count_byte(s, '-');
    size_t slashes = count_byte(s, '/');
    return (colons >= 1 && (colons <= 2 || memchr(s.ptr, 'T', s.len) != NULL)) || slashes == 2 ||
           (hyphens == 2 && s.len >= 8 && s.len <= 10);
}

bool cause_is_uuid(struct slice s)
{
    if (s.len != 36) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        if (hyphen ? s.ptr[i] != '-' : !is_hex(s.ptr[i])) {
            return false;
        }
    }
    return true;
}

bool cause_is_number(struct slice s)
{
    bool digit = false;
    for (size_t i = 0; i < s.len; i++) {
        digit = digit || is_digit(s.ptr[i]);
    }
    return digit && all_of(s, is_digit, ".,%-+*$");
}

/* A slice with its length, where there are many to compare with. */
#define WORD(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static const struct slice top_domains[] = {
    WORD("com"),     WORD("net"),     WORD("org"),         WORD("edu"),       WORD("gov"),
    WORD("mil"),     WORD("int"),     WORD("arpa"),        WORD("info"),      WORD("biz"),
    WORD("name"),    WORD("pro"),     WORD("mobi"),        WORD("aero"),      WORD("coop"),
    WORD("museum"),  WORD("jobs"),    WORD("cat"),         WORD("asia"),      WORD("tel"),
    WORD("dev"),     WORD("app"),     WORD("cloud"),       WORD("email"),     WORD("online"),
    WORD("site"),    WORD("shop"),    WORD("store"),       WORD("tech"),      WORD("xyz"),
    WORD("top"),     WORD("club"),    WORD("live"),        WORD("digital"),   WORD("agency"),
    WORD("network"), WORD("systems"), WORD("group"),       WORD("world"),     WORD("space"),
    WORD("local"),   WORD("lan"),     WORD("localdomain"), WORD("localhost"), WORD("internal"),
    WORD("intern"),  WORD("corp"),    WORD("example"),     WORD("invalid"),   WORD("test"),
};

bool cause_is_host(struct slice s)
{
    ptrdiff_t dot = slice_rfind_byte(s, '.');
    if (dot <= 0 || s.len > 253 || s.ptr[0] == '.' || s.ptr[0] == '-') {
        return false;
    }
    struct slice top = slice_skip(s, (size_t)dot + 1);
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!is_digit(c) && !is_alpha(c) && c != '-' && c != '_' && c != '.') {
            return false;
        }
        if (c == '.' && s.ptr[i - 1] == '.') {
            return false;
        }
    }
    if (top.len == 2) {
        /* "e.g", "i.e" */
        return is_alpha(top.ptr[0]) && is_alpha(top.ptr[1]) && dot >= 2;
    }
    for (size_t i = 0; i < ARRAY_LEN(top_domains); i++) {
        if (slice_eq_nocase(top, top_domains[i])) {
            return true;
        }
    }
    return false;
}

static const struct slice blocklist_labels[] = {
    WORD("abuseat"),
    WORD("abusix"),
    WORD("backscatterer"),
    WORD("barracudacentral"),
    WORD("bl"),
    WORD("bondedsender"),
    WORD("cbl"),
    WORD("cloudmark"),
    WORD("dnswl"),
    WORD("gbudb"),
    WORD("invaluement"),
    WORD("ivmsip"),
    WORD("lashback"),
    WORD("mailspike"),
    WORD("manitu"),
    WORD("mcafee"),
    WORD("njabl"),
    WORD("nixspam"),
    WORD("pbl"),
    WORD("proofpoint"),
    WORD("psbl"),
    WORD("sbl"),
    WORD("senderbase"),
    WORD("senderscore"),
    WORD("sorbs"),
    WORD("spamcop"),
    WORD("spameatingmonkey"),
    WORD("spamhaus"),
    WORD("spamrats"),
    WORD("surbl"),
    WORD("trendmicro"),
    WORD("uceprotect"),
    WORD("xbl"),
    WORD("zen"),
};

bool cause_is_blocklist(struct slice host)
{
    while (host.ptr != NULL) {
        struct slice label = slice_cut(&host, '.');
        if (slice_starts_with_nocase(label, SLICE("dnsbl")) ||
            slice_starts_with_nocase(label, SLICE("rbl")) ||
            slice_starts_with_nocase(label, SLICE("uribl")) ||
            slice_ends_with_nocase(label, SLICE("dnsbl"))) {
            return true;
        }
        for (size_t i = 0; i < ARRAY_LEN(blocklist_labels); i++) {
            if (slice_eq_nocase(label, blocklist_labels[i])) {
                return true;
            }
        }
    }
    return false;
}

/* S3150, TSS04, AS16012609, DM000001, OFR005_505, In-1310: capitals, then digits. FF000000 is not
 * one. */
static bool is_provider_code(struct slice s)
{
    size_t at = 0;
    bool hex = true;
    while (at < s.len && s.ptr[at] >= 'A' && s.ptr[at] <= 'Z') {
        hex = hex && s.ptr[at] <= 'F';
        at++;
    }
    if (at == 1 && at < s.len && s.ptr[at] >= 'a' && s.ptr[at] <= 'z') {
        at++;
        hex = false;
    }
    size_t letters = at;
    if (at < s.len && (s.ptr[at] == '-' || s.ptr[at] == '_')) {
        at++;
        hex = false;
    }
    size_t first = at;
    while (at < s.len && is_digit(s.ptr[at])) {
        at++;
    }
    size_t digits = at - first;
    if (letters == 0 || letters > 6 || digits == 0 || digits > 8 || (hex && digits > 4)) {
        return false;
    }
    if (at < s.len && (s.ptr[at] == '_' || s.ptr[at] == '-' || s.ptr[at] == '.')) {
        return all_of(slice_skip(s, at + 1), is_digit, "") && s.len - at <= 5;
    }
    return at == s.len;
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* Letters that may be a word: of one case, or capitalised. "zmZBNM" is two runs, "MCSpam" is "MC"
 * and "Spam". */
static size_t extend_run(size_t run, char before, char c)
{
    if (!is_alpha(c)) {
        return 0;
    }
    if (run > 0 && is_upper(before) != is_upper(c)) {
        return is_upper(c) ? 1 : run > 1 ? 2 : run + 1;
    }
    return run + 1;
}

bool cause_is_opaque(struct slice s)
{
    size_t digits = 0;
    size_t letters = 0;
    size_t run = 0;
    for (size_t i = 0; i < s.len; i++) {
        digits += is_digit(s.ptr[i]);
        letters += is_alpha(s.ptr[i]);
        run = extend_run(run, i > 0 ? s.ptr[i - 1] : ' ', s.ptr[i]);
        if (run >= 6) {
            return false; /* a word is in it */
        }
    }
    return s.len >= 7 && digits > 0 && letters > 0 && !is_provider_code(s);
}
