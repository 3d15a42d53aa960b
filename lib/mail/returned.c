/*
 * See returned.h. The order of looking: reports for machines first (abuse, delivery status), then
 * notifications in JSON, then the human part. The returned message gives the facts of the original,
 * and the recipient where nothing else does.
 */
#include "mail/returned.h"

#include "mail/returned_private.h"

#include "mail/address.h"
#include "mail/feedback.h"
#include "mail/header.h"
#include "mail/notice.h"
#include "mail/original.h"
#include "mail/sns.h"
#include "mail/status.h"
#include "mail/transcript.h"

enum {
    NOTICE_MAX = 2 << 20,        /* bytes of a text part that are read as a notice */
    FIELDS_MAX = 8 << 20,        /* bytes of report fields that are decoded when they are encoded */
    ORIGINAL_HEADER_MAX = 65536, /* bytes of a returned header that are read */
};

const char *returned_kind_name(enum returned_kind kind)
{
    switch (kind) {
    case RETURNED_BOUNCE: return "bounce";
    case RETURNED_DELAYED: return "delayed";
    case RETURNED_DELIVERED: return "delivered";
    case RETURNED_COMPLAINT: return "complaint";
    case RETURNED_AUTH_REPORT: return "auth-report";
    case RETURNED_AUTO_REPLY: return "auto-reply";
    case RETURNED_CHALLENGE_RESPONSE: return "challenge-response";
    case RETURNED_UNSUBSCRIBE: return "unsubscribe";
    case RETURNED_OPT_OUT: return "opt-out";
    case RETURNED_NOT_A_BOUNCE: return "not-a-bounce";
    }
    return "not-a-bounce";
}

static struct slice part_text(struct reading *reading, const struct mail_part *part)
{
    struct slice text = mail_decode_text(reading->arena, part->body, part->encoding,
                                         mail_param(part->content_type, "charset"), NOTICE_MAX);
    return mail_part_is(part, "text/html") ? mail_html_text(reading->arena, text) : text;
}

static struct slice join(struct arena *arena, struct slice a, struct slice b)
{
    if (a.len == 0) {
        return b;
    }
    char *out = arena_try_alloc(arena, a.len + b.len + 2);
    if (out == NULL) {
        return a;
    }
    memcpy(out, a.ptr, a.len);
    out[a.len] = '\n';
    if (b.len > 0) {
        memcpy(out + a.len + 1, b.ptr, b.len);
    }
    out[a.len + 1 + b.len] = '\0';
    return slice_of(out, a.len + 1 + b.len);
}

static bool is_returned_part(const struct mail_part *part)
{
    return mail_part_is(part, "message/rfc822") || mail_part_is(part, "text/rfc822-headers") ||
           mail_part_is(part, "message/global") || mail_part_is(part, "message/global-headers") ||
           mail_part_is(part, "text/rfc822-header") ||
           mail_part_is(part, "message/rfc822-headers") || mail_part_is(part, "message/partial");
}

/* The human parts: plain text in front of what was returned; HTML where there is no plain text. */
static void read_text(struct reading *reading)
{
    struct slice html = SLICE("");
    size_t plain = 0;
    for (size_t i = 0; i < reading->tree.count && plain < 4; i++) {
        const struct mail_part *part = &reading->tree.parts[i];
        if (is_returned_part(part)) {
            break;
        }
        if (mail_part_is(part, "text/html") && html.len == 0) {
            html = part_text(reading, part);
        } else if (mail_part_is(part, "text/plain") || mail_part_is(part, "text") ||
                   (i == 0 && mail_part_is(part, "multipart/") && reading->tree.count == 1)) {
            reading->text = join(reading->arena, reading->text, part_text(reading, part));
            plain++;
        }
    }
    if (slice_trim(reading->text).len == 0) {
        reading->text = html;
    }
    notice_split(reading->text, &reading->notice, &reading->returned);
    if (slice_trim(reading->notice).len < 8 && html.len > 0 && reading->text.ptr != html.ptr) {
        notice_split(html, &reading->notice, &reading->returned);
    }
}

/* The header of the returned message: of its part, else what stands behind the notice. */
static void read_returned(struct reading *reading)
{
    struct slice header = SLICE_NULL;
    struct slice body = SLICE_NULL;
    for (size_t i = 1; i < reading->tree.count; i++) {
        const struct mail_part *part = &reading->tree.parts[i];
        if (!is_returned_part(part)) {
            continue;
        }
        struct slice content = part->body;
        if (part->encoding != MAIL_ENCODING_PLAIN) {
            content = mail_decode_text(reading->arena, part->body, part->encoding, SLICE_NULL,
                                       ORIGINAL_HEADER_MAX);
        }
        mail_header_split(content, &header, &body);
        if (header.len > 0) {
            break;
        }
    }
    if (header.len == 0 && reading->returned.len > 0) {
        struct slice rest = reading->returned;
        struct slice line = SLICE_NULL;
        struct slice before = rest;
        for (int i = 0; i < 20 && mail_line_next(&rest, &line) && !mail_line_is_field(line, NULL);
             i++) {
            before = rest;
        }
        mail_header_split(before, &header, &body);
    }
    reading->returned = slice_head(header, ORIGINAL_HEADER_MAX);
    if (reading->returned.len > 0) {
        original_read(reading->arena, reading->returned, &reading->mail->original);
    }
    reading->mail->original.verp =
        reading->fields.delivered_to.len > 0 ? reading->fields.delivered_to : reading->fields.to;
}

struct slice returned_fields_of(struct reading *reading, const struct mail_part *part)
{
    if (part->encoding == MAIL_ENCODING_PLAIN) {
        return part->body;
    }
    return mail_decode_text(reading->arena, part->body, part->encoding, SLICE_NULL, FIELDS_MAX);
}

static bool read_feedback(struct reading *reading)
{
    const struct mail_part *part = mail_tree_find(&reading->tree, "message/feedback-report", 0);
    if (part == NULL) {
        return false;
    }
    struct feedback feedback = {0};
    struct returned_mail *mail = reading->mail;
    feedback_read(returned_fields_of(reading, part), &reading->list, &feedback);
    mail->kind = feedback_kind(feedback.type);
    mail->feedback_type = feedback.type;
    mail->reporting_mta = feedback.reporting_mta;
    if (mail->original.message_id.len == 0) {
        mail->original.message_id = feedback.message_id;
    }
    if (mail->original.return_path.len == 0) {
        mail->original.return_path = feedback.mail_from;
    }
    return true;
}

/* Loops that return the message without a report: Hotmail's JMRP, AOL's older form. */
static bool read_odd_complaint(struct reading *reading)
{
    struct slice recipient =
        mail_header_get(reading->arena, reading->returned, "X-HmXmrOriginalRecipient");
    bool subject =
        slice_find(reading->fields.subject_lower, SLICE("complaint about message from")) >= 0 ||
        slice_find(reading->fields.subject_lower, SLICE("email feedback report for ip")) >= 0 ||
        slice_find(reading->fields.subject_lower, SLICE("client tos notification")) >= 0;
    if (reading->returned.len == 0 ||
        (recipient.len == 0 && !subject && !reading->fields.complaint_field)) {
        return false;
    }
    reading->mail->kind = RETURNED_COMPLAINT;
    recipient = mail_address_first(recipient);
    struct returned_recipient *item =
        recipient.len == 0 ? NULL : recipient_list_add(&reading->list);
    if (item != NULL) {
        item->address = recipient;
    }
    return true;
}

static void add_reporter(struct reading *reading)
{
    struct returned_recipient *item = reading->list.count > 0 || reading->fields.reporter.len == 0
                                          ? NULL
                                          : recipient_list_add(&reading->list);
    if (item != NULL) {
        item->address = reading->fields.reporter;
    }
}

/* A notice that names nobody: whom the returned message was for. */
static void add_from_returned(struct reading *reading)
{
    struct slice address = original_recipient(reading->arena, reading->returned);
    struct returned_recipient *item = address.len == 0 ? NULL : recipient_list_add(&reading->list);
    if (item != NULL) {
        item->address = address;
        item->notice = notice_text_for(reading->arena, reading->notice, SLICE_NULL);
        item->text = notice_reply(reading->arena, item->notice);
        status_read_text(item);
    }
}

/* Somebody failed, but nothing says who: a recipient without an address carries the text. */
static void add_nobody(struct reading *reading)
{
    struct returned_recipient *item = recipient_list_add(&reading->list);
    if (item != NULL) {
        item->address = SLICE("");
    }
}

static void read_notice(struct reading *reading)
{
    const struct kind_fields *fields = &reading->fields;
    const struct returned_original *original = &reading->mail->original;
    struct notice_context context = {
        .failed = fields->failed,
        .reporter = fields->reporter,
        .sender = original->from.len > 0 ? original->from : fields->to,
        .envelope = original->return_path.len > 0 ? original->return_path : fields->to};
    struct kind_evidence evidence = {
        .notice = reading->notice, .returned = reading->returned.len > 0, .bare = reading->bare};
    evidence.report = slice_eq_nocase(
        mail_param(reading->tree.parts[0].content_type, "report-type"), SLICE("delivery-status"));
    evidence.place = notice_read(reading->notice, &context, &reading->list);
    enum returned_kind kind = kind_of_text(reading->arena, fields, &evidence);
    reading->mail->kind = kind;
    if (kind == RETURNED_BOUNCE || kind == RETURNED_DELAYED) {
        if (reading->list.count == 0 || evidence.place < 3) {
            size_t in_passing = reading->list.count;
            reading->list.count = 0;
            add_from_returned(reading);
            /* Whom the only address stands for that is neither the sender's nor a role's. */
            if (reading->list.count == 0 && in_passing == 1) {
                reading->list.count = 1;
            }
        }
        if (reading->list.count == 0) {
            add_nobody(reading);
        }
        for (size_t i = 0; i < reading->list.count; i++) {
            struct returned_recipient *item = &reading->list.items[i];
            item->action =
                kind == RETURNED_BOUNCE ? RETURNED_ACTION_FAILED : RETURNED_ACTION_DELAYED;
            if (item->notice.len == 0) {
                item->notice = notice_text_for(reading->arena, reading->notice, item->address);
                item->text = notice_reply(reading->arena, item->notice);
                status_read_text(item);
            }
        }
        return;
    }
    reading->list.count = 0;
    if (kind == RETURNED_AUTO_REPLY || kind == RETURNED_UNSUBSCRIBE || kind == RETURNED_OPT_OUT ||
        kind == RETURNED_CHALLENGE_RESPONSE) {
        add_reporter(reading);
    }
}

static void read_kinds(struct reading *reading)
{
    if (read_feedback(reading)) {
        return;
    }
    if (kind_is_auth_report(reading->arena, &reading->tree, &reading->fields)) {
        reading->mail->kind = RETURNED_AUTH_REPORT;
        return;
    }
    if (returned_read_dsn(reading) ||
        sns_read(reading->text, &reading->mail->kind, &reading->list, &reading->mail->original) ||
        read_odd_complaint(reading)) {
        return;
    }
    read_notice(reading);
}

/* Which command was answered: by the transcript of the session, else by what stands around the
 * reply in the notice. */
static void find_phases(struct reading *reading)
{
    for (size_t i = 0; i < reading->list.count && i < FILL_MAX; i++) {
        struct returned_recipient *item = &reading->list.items[i];
        enum returned_phase phase = transcript_phase(reading->notice, item->text);
        if (phase != RETURNED_PHASE_UNKNOWN) {
            item->phase = phase;
        } else if (item->phase == RETURNED_PHASE_UNKNOWN) {
            item->phase = status_find_phase(item->notice);
        }
    }
}

/* Complaints often hide the recipient in the report but not in the message that they return. */
static void finish_complaint(struct reading *reading)
{
    enum returned_kind kind = reading->mail->kind;
    if (reading->list.count > 0 || (kind != RETURNED_COMPLAINT && kind != RETURNED_OPT_OUT) ||
        reading->returned.len == 0) {
        return;
    }
    struct slice address = original_recipient(reading->arena, reading->returned);
    struct returned_recipient *item = address.len == 0 ? NULL : recipient_list_add(&reading->list);
    if (item != NULL) {
        item->address = address;
    }
}

/*
 * A report inside of another message: a scanner or list that wraps it, or hands on what it did not
 * understand. Only where the outer message is from a mail system or has no text of its own: a
 * bounce that a person forwards is no bounce.
 */
static struct slice wrapped_report(struct reading *reading)
{
    const struct mail_part *part = mail_tree_find(&reading->tree, "message/rfc822", 1);
    if (part == NULL || part->encoding != MAIL_ENCODING_PLAIN ||
        mail_tree_find(&reading->tree, "message/delivery-status", 0) != NULL ||
        mail_tree_find(&reading->tree, "message/feedback-report", 0) != NULL) {
        return SLICE_NULL;
    }
    struct slice header = SLICE_NULL;
    struct slice body = SLICE_NULL;
    mail_header_split(part->body, &header, &body);
    header = slice_head(header, ORIGINAL_HEADER_MAX);
    bool report =
        mail_param(mail_header_get(reading->arena, header, "Content-Type"), "report-type").len > 0;
    bool wrapper = slice_trim(reading->text).len == 0 ||
                   kind_from_daemon(reading->arena, &reading->fields) ||
                   slice_find(reading->fields.subject_lower, SLICE("uncaught bounce")) >= 0;
    return report && wrapper ? part->body : SLICE_NULL;
}

static bool read_message(struct reading *reading, struct slice bytes, struct fault *fault)
{
    if (!mail_tree_read(reading->arena, bytes, &reading->tree)) {
        return fault_set(fault, FAULT_LIMIT, 0, "no memory for the parts of the message");
    }
    /* A report that lost its header, as logs and tickets keep them: "Reporting-MTA: …" at its front
     * is none. */
    reading->has_field = reading->tree.parts[0].header.len > 0;
    reading->bare = !kind_is_header(reading->tree.parts[0].header);
    if (reading->bare && !mail_tree_read_body(reading->arena, bytes, &reading->tree)) {
        return fault_set(fault, FAULT_LIMIT, 0, "no memory for the parts of the message");
    }
    kind_read_fields(reading->arena, reading->tree.parts[0].header, &reading->fields);
    read_text(reading);
    return true;
}

/* The notice is only asked where a recipient has no reply of its own. */
static void set_notice(struct reading *reading)
{
    struct returned_mail *mail = reading->mail;
    const struct returned_recipient *first =
        reading->list.count > 0 ? &reading->list.items[0] : NULL;
    mail->notice = reading->notice;
    if (first != NULL && (first->code == 0 || !status_is_telling(first->text))) {
        mail->notice = notice_essence(reading->arena, reading->notice, true);
        mail->essence = notice_essence(reading->arena, reading->notice, false);
    }
}

bool returned_mail_read(struct arena *arena, struct slice bytes, struct returned_mail *mail,
                        struct fault *fault)
{
    struct reading reading = {.arena = arena, .mail = mail, .list = {.arena = arena}};
    *mail = (struct returned_mail){.kind = RETURNED_NOT_A_BOUNCE};
    if (bytes.len == 0) {
        return fault_set(fault, FAULT_INVALID, 0, "empty message");
    }
    if (!read_message(&reading, slice_head(bytes, RETURNED_READ_MAX), fault)) {
        return false;
    }
    struct slice inner = wrapped_report(&reading);
    if (inner.len > 0) {
        struct reading within = {.arena = arena, .mail = mail, .list = {.arena = arena}};
        if (read_message(&within, inner, NULL)) {
            reading = within;
        }
    }
    read_returned(&reading);
    read_kinds(&reading);
    if (reading.bare && mail->kind == RETURNED_NOT_A_BOUNCE && !reading.has_field) {
        return fault_set(fault, FAULT_INVALID, 0, "no header: this is not a message");
    }
    find_phases(&reading);
    finish_complaint(&reading);
    mail->subject = reading.fields.subject;
    set_notice(&reading);
    mail->recipients = reading.list.items;
    mail->recipient_count = reading.list.count;
    mail->cut = reading.tree.cut || reading.list.cut || bytes.len > RETURNED_READ_MAX;
    return true;
}
