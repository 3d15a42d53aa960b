/*
 * Whatever comes by the control socket or the topic `control` is a question or none; an id that is
 * taken is the one that was sent, within its bound and without what would break a line.
 */
#include "worker/question.h"

#include "base/check.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct slice text, const struct question *question)
{
    struct slice id = slice_cstr(question->message_id);
    CHECK(id.len <= QUESTION_ID_MAX && !slice_has_control(id));
    CHECK(id.len == 0 ||
          (id.len < text.len && memcmp(text.ptr + text.len - id.len, id.ptr, id.len) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    struct question question = {0};
    if (question_parse_line(text, &question)) {
        check(text, &question);
    }
    question = (struct question){0};
    if (question_parse_value(text, &question)) {
        CHECK(question.number != 0);
        check(text, &question);
    }
    return 0;
}
