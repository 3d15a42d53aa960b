/* List-Unsubscribe: what is written can be read back; what cannot be ours is not taken. */
#include "mail/unsubscribe.h"

#include "unit/cmocka_all.h"

static const char TOKEN[] = "iamt3ck2tgvemhndpmoviyi4gsvthw3sdqsbpg3cn2ntjmj72cbh3mu5coakm4yt";
static struct strbuf out;

static struct slice write_link(struct slice url, struct slice mailto, struct slice address,
                               struct slice list)
{
    const struct unsubscribe_link link = {
        .token = TOKEN, .url = url, .mailto = mailto, .address = address, .list = list};
    strbuf_reset(&out);
    assert_true(unsubscribe_write(&link, &out));
    return strbuf_slice(&out);
}

static void fields(void **state)
{
    (void)state;
    struct slice got = write_link(SLICE("https://leave.example/u"), SLICE("back.example"),
                                  SLICE("user@example.org"), SLICE("news"));
    assert_true(slice_eq(
        got, SLICE("List-Unsubscribe: "
                   "<https://leave.example/u/"
                   "iamt3ck2tgvemhndpmoviyi4gsvthw3sdqsbpg3cn2ntjmj72cbh3mu5coakm4yt/"
                   "user%40example.org/news>,\r\n "
                   "<mailto:iamt3ck2tgvemhndpmoviyi4gsvthw3sdqsbpg3cn2ntjmj72cbh3mu5coakm4yt@"
                   "back.example?subject=unsubscribe>\r\n"
                   "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n")));
    got = write_link(SLICE_NULL, SLICE("back.example"), SLICE("user@example.org"), SLICE_NULL);
    assert_true(slice_find(got, SLICE("One-Click")) < 0); /* nothing to post to */
    const struct unsubscribe_link nowhere = {.token = TOKEN, .address = SLICE("a@b.example")};
    assert_false(unsubscribe_write(&nowhere, &out));
}

/* Whatever an address or a list consists of. */
static void is_read_back(void **state)
{
    static const char *const addresses[] = {"user@example.org", "a/b?c#d%25+e@example.org",
                                            "\"quoted <>\"@example.org", "jürgen@bücher.example"};
    static const char *const lists[] = {"", "news", "a/b c%2F", "Größe"};
    struct unsubscribe_request request;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        for (size_t j = 0; j < ARRAY_LEN(lists); j++) {
            struct slice got = write_link(SLICE("https://leave.example/u"), SLICE_NULL,
                                          slice_cstr(addresses[i]), slice_cstr(lists[j]));
            ptrdiff_t from = slice_find(got, SLICE("/u/"));
            ptrdiff_t to = slice_find_byte(got, '>');
            struct slice path = slice_skip(slice_head(got, (size_t)to), (size_t)from);
            assert_true(unsubscribe_read(path, &request));
            assert_true(slice_eq(request.token, slice_cstr(TOKEN)));
            assert_true(slice_eq(request.address, slice_cstr(addresses[i])));
            assert_true(slice_eq(request.list, slice_cstr(lists[j])));
        }
    }
}

/* `path` with "TOKEN" replaced. */
static bool reads(const char *path)
{
    struct unsubscribe_request request;
    struct slice before = slice_cstr(path);
    ptrdiff_t at = slice_find(before, SLICE("TOKEN"));
    strbuf_reset(&out);
    if (at >= 0) {
        strbuf_add_slice(&out, slice_head(before, (size_t)at));
        strbuf_add_cstr(&out, TOKEN);
        before = slice_skip(before, (size_t)at + 5);
    }
    strbuf_add_slice(&out, before);
    /* A copy of its exact size, so that a byte too far is seen. */
    char *copy = malloc(out.len > 0 ? out.len : 1);
    memcpy(copy, out.ptr, out.len);
    bool good = unsubscribe_read(slice_of(copy, out.len), &request);
    free(copy);
    return good;
}

static void what_is_not_ours(void **state)
{
    static const char *const wrong[] = {"",
                                        "/",
                                        "/u/TOKEN",
                                        "/u/TOKEN/",
                                        "/u/TOKEN?a",
                                        "/u/xTOKEN/a%40b",
                                        "/u/TOKEN/a%4",
                                        "/u/TOKEN/a%",
                                        "/u/TOKEN/a%4x",
                                        "/u/TOKEN/a%00b",
                                        "/u/TOKEN/a%0Ab",
                                        "/u/TOKEN/a/b/c"};
    char path[UNSUBSCRIBE_ADDRESS_MAX + 20] = "/u/TOKEN/";
    (void)state;
    assert_true(reads("/TOKEN/a%40b"));
    assert_true(reads("/some/where/TOKEN/a%40b/list?x=/y"));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        if (reads(wrong[i])) {
            fail_msg("%s", wrong[i]);
        }
    }
    memset(path + 9, 'a', UNSUBSCRIBE_ADDRESS_MAX);
    assert_true(reads(path));
    path[9 + UNSUBSCRIBE_ADDRESS_MAX] = 'a';
    assert_false(reads(path));
}

/* A line that mail servers would cut is not written at all. */
static void too_long(void **state)
{
    char address[321];
    (void)state;
    memset(address, '/', sizeof(address));
    const struct unsubscribe_link link = {
        .token = TOKEN, .url = SLICE("https://leave.example/u"), .address = slice_of(address, 320)};
    strbuf_reset(&out);
    assert_false(unsubscribe_write(&link, &out));
    assert_int_equal(out.len, 0);
}

static void there_already(void **state)
{
    (void)state;
    assert_true(unsubscribe_is_there(SLICE("From: a\r\nlist-unsubscribe: <x>\r\n\r\n")));
    assert_true(unsubscribe_is_there(SLICE("List-Unsubscribe:\n <x>")));
    assert_false(unsubscribe_is_there(SLICE("From: a\r\n\r\nList-Unsubscribe: <x>\r\n")));
    assert_false(unsubscribe_is_there(SLICE("X-List-Unsubscribe: <x>\r\n")));
    assert_false(unsubscribe_is_there(SLICE_NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),           cmocka_unit_test(is_read_back),
        cmocka_unit_test(what_is_not_ours), cmocka_unit_test(too_long),
        cmocka_unit_test(there_already),
    };
    strbuf_init(&out, 65536);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    strbuf_free(&out);
    return failed;
}
