/*
 * Whole messages: whatever comes in, the result is within its limits and all its views can be read.
 */
#include "mail/returned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t sum(struct slice s)
{
    size_t n = s.len;
    for (size_t i = 0; i < s.len; i++) {
        n += (unsigned char)s.ptr[i];
    }
    return n;
}

static size_t sum_recipient(const struct returned_recipient *r)
{
    CHECK(r->text.len <= RETURNED_TEXT_MAX && r->notice.len <= RETURNED_TEXT_MAX);
    CHECK(r->code == 0 || (r->code >= 200 && r->code <= 599));
    CHECK(r->status.len <= 9 && r->enhanced.len <= 9);
    return sum(r->address) + sum(r->original) + sum(r->status) + sum(r->enhanced) +
           sum(r->diagnostic_type) + sum(r->text) + sum(r->notice) + sum(r->reporting_mta) +
           sum(r->remote_mta);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_create(65536, RETURNED_ARENA_MAX);
    struct returned_mail mail;
    struct fault fault = {0};
    if (returned_mail_read(arena, slice_of(data, size), &mail, &fault)) {
        size_t total = sum(mail.original.message_id) + sum(mail.original.from) +
                       sum(mail.original.to) + sum(mail.original.subject) +
                       sum(mail.original.feedback_id) + sum(mail.original.tenant) +
                       sum(mail.original.campaign) + sum(mail.original.return_path) +
                       sum(mail.original.verp) + sum(mail.feedback_type) + sum(mail.reporting_mta);
        CHECK(mail.recipient_count <= RETURNED_RECIPIENTS_MAX);
        for (size_t i = 0; i < mail.recipient_count; i++) {
            total += sum_recipient(&mail.recipients[i]);
        }
        CHECK(total < SIZE_MAX / 2);
        CHECK(slice_is_utf8(mail.original.subject));
        CHECK(returned_kind_name(mail.kind)[0] != '\0');
    } else {
        CHECK(fault.kind == FAULT_INVALID || fault.kind == FAULT_LIMIT);
    }
    arena_free(&arena);
    return 0;
}
