#include "worker/question.h"

#include <string.h>

static bool take_id(struct slice id, struct question *question)
{
    if (id.len > QUESTION_ID_MAX || slice_has_control(id)) {
        return false;
    }
    if (id.len > 0) {
        memcpy(question->message_id, id.ptr, id.len);
    }
    question->message_id[id.len] = '\0';
    return true;
}

bool question_parse_value(struct slice value, struct question *question)
{
    struct slice number = slice_cut(&value, ' ');
    return slice_to_u64(number, &question->number) && question->number != 0 &&
           take_id(value, question);
}

bool question_parse_line(struct slice line, struct question *question)
{
    struct slice word = slice_cut(&line, ' ');
    return slice_eq(word, SLICE("why")) && take_id(line, question);
}
