/*
 * See returned.h. The order of looking: reports for machines first (abuse, delivery status), then
 * notifications in JSON, then the human part. The returned message gives the facts of the original,
 * and the recipient where nothing else does.
 */
#include "mail/returned.h"

#include "mail/address.h"
#include "mail/dsn.h"
#include "mail/feedback.h"
#include "mail/header.h"
#include "mail/kind.h"
#include "mail/notice.h"
#include "mail/original.h"
#include "mail/part.h"
#include "mail/sns.h"
#include "mail/status.h"
#include "mail/transcript.h"
#include "mail/words.h"

enum {
    NOTICE_MAX = 2 << 20,        /* bytes of a text part that are read as a notice */
    FIELDS_MAX = 8 << 20,        /* bytes of report fields that are decoded when they are encoded */
    ORIGINAL_HEADER_MAX = 65536, /* bytes of a returned header that are read */
    DELAY_LOOK_MAX = 16384,      /* bytes of a notice in which words of delay are looked for */
    FILL_MAX = 64,               /* recipients whose text or phase is looked up in the notice */
};

struct reading {
    struct arena *arena;
    struct returned_mail *mail;
    struct mail_tree tree;
    struct kind_fields fields;
    struct recipient_list list;
    struct slice text;     /* all human parts before the returned message */
    struct slice notice;   /* of it, the part in front of a returned message */
    struct slice returned; /* header block of the returned message */
    bool has_dsn;
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

static struct slice fields_of(struct reading *reading, const struct mail_part *part)
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
    feedback_read(fields_of(reading, part), &reading->list, &feedback);
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

static bool read_dsn(struct reading *reading)
{
    struct dsn_message_fields message = {0};
    for (size_t i = 0; i < reading->tree.count; i++) {
        const struct mail_part *part = &reading->tree.parts[i];
        if (mail_part_is(part, "message/delivery-status") ||
            mail_part_is(part, "message/global-delivery-status")) {
            dsn_read(fields_of(reading, part), &reading->list, &message);
        }
    }
    if (reading->list.count == 0) {
        struct slice fields = dsn_find_in_text(reading->text);
        if (fields.ptr != NULL) {
            dsn_read(fields, &reading->list, &message);
            if (fields.ptr >= reading->notice.ptr &&
                fields.ptr <= reading->notice.ptr + reading->notice.len) {
                reading->notice.len = (size_t)(fields.ptr - reading->notice.ptr);
            }
        }
    }
    reading->mail->reporting_mta = message.reporting_mta;
    /* A block without any address and text says nothing: the notice may say more. */
    size_t kept = 0;
    for (size_t i = 0; i < reading->list.count; i++) {
        struct returned_recipient *item = &reading->list.items[i];
        if (slice_find_byte(item->address, '@') < 0 && slice_find_byte(item->original, '@') >= 0) {
            item->address = item->original;
        }
        if (slice_find_byte(mail_address_domain(item->address), '.') < 0 &&
            slice_find_byte(mail_address_domain(item->original), '.') >= 0) {
            item->address =
                item->original; /* a name inside the remote system: "@gateway:user@server" */
        }
        if (item->address.len > 0) {
            reading->list.items[kept++] = *item;
        }
    }
    reading->list.count = kept;
    reading->has_dsn = kept > 0;
    return kept > 0;
}

/* Text of the notice for recipients whose report block says nothing, and as a second opinion for
 * the others. */
static void fill_from_notice(struct reading *reading)
{
    for (size_t i = 0; i < reading->list.count && i < FILL_MAX; i++) {
        struct returned_recipient *item = &reading->list.items[i];
        bool telling = status_is_telling(item->text);
        item->text = notice_whole_reply(reading->arena, reading->notice, item->text);
        if (telling && item->status.len > 0 && reading->list.count > 4) {
            continue;
        }
        item->notice = notice_text_for(reading->arena, reading->notice, item->address);
        if (!telling && status_is_telling(item->notice)) {
            struct slice text = notice_reply(reading->arena, item->notice);
            item->text = text;
        }
    }
}

static enum returned_kind kind_of_actions(const struct recipient_list *list)
{
    bool delayed = false;
    bool delivered = false;
    for (size_t i = 0; i < list->count; i++) {
        switch (list->items[i].action) {
        case RETURNED_ACTION_FAILED:
        case RETURNED_ACTION_NONE: return RETURNED_BOUNCE;
        case RETURNED_ACTION_DELAYED: delayed = true; break;
        case RETURNED_ACTION_DELIVERED: delivered = true; break;
        }
    }
    return delayed ? RETURNED_DELAYED : delivered ? RETURNED_DELIVERED : RETURNED_BOUNCE;
}

/* A local name: of the returned message's recipient when that begins so, else a user of the
 * reporting host. */
static struct slice with_domain(struct reading *reading, struct slice name)
{
    struct slice known = original_recipient(reading->arena, reading->returned);
    struct slice host = reading->mail->reporting_mta;
    if (slice_eq_nocase(mail_address_local(known), name)) {
        return known;
    }
    char *out = arena_try_alloc(reading->arena, name.len + host.len + 2);
    if (out == NULL || name.len == 0 || slice_find_byte(host, '.') < 0 ||
        slice_find_byte(name, ' ') >= 0 || slice_find_byte(name, '/') >= 0) {
        return name;
    }
    CHECK(name.ptr != NULL && host.ptr != NULL);
    memcpy(out, name.ptr, name.len);
    out[name.len] = '@';
    memcpy(out + name.len + 1, host.ptr, host.len);
    out[name.len + 1 + host.len] = '\0';
    return slice_of(out, name.len + 1 + host.len);
}

static void finish_dsn(struct reading *reading)
{
    struct recipient_list *list = &reading->list;
    struct slice lower = words_lower(reading->arena, slice_head(reading->notice, DELAY_LOOK_MAX));
    bool warning = slice_find(reading->fields.subject_lower, SLICE("delay")) >= 0 ||
                   (words_in(WORDS_DELAY, lower) && !words_in(WORDS_FINAL, lower));
    for (size_t i = 0; i < list->count; i++) {
        struct returned_recipient *item = &list->items[i];
        if (item->action == RETURNED_ACTION_NONE) {
            bool success = item->status.len > 0 && item->status.ptr[0] == '2';
            item->action = success                       ? RETURNED_ACTION_DELIVERED
                           : warning || item->will_retry ? RETURNED_ACTION_DELAYED
                                                         : RETURNED_ACTION_FAILED;
        }
        item->reporting_mta = reading->mail->reporting_mta;
        if (slice_find_byte(item->address, '@') < 0 && i < FILL_MAX) {
            item->address = with_domain(reading, item->address);
        }
        if (mail_address_eq(item->original, item->address)) {
            item->original = SLICE_NULL;
        }
    }
    fill_from_notice(reading);
    for (size_t i = 0; i < list->count; i++) {
        status_read_text(&list->items[i]);
    }
    reading->mail->kind = kind_of_actions(list);
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
    struct kind_evidence evidence = {.notice = reading->notice,
                                     .returned = reading->returned.len > 0};
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
    if (read_dsn(reading)) {
        finish_dsn(reading);
        return;
    }
    if (sns_read(reading->text, &reading->mail->kind, &reading->list, &reading->mail->original) ||
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
    if (reading->tree.parts[0].header.len == 0) {
        return fault_set(fault, FAULT_INVALID, 0, "no header: this is not a message");
    }
    kind_read_fields(reading->arena, reading->tree.parts[0].header, &reading->fields);
    read_text(reading);
    return true;
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
    find_phases(&reading);
    finish_complaint(&reading);
    mail->subject = reading.fields.subject;
    mail->notice = reading.notice;
    mail->recipients = reading.list.items;
    mail->recipient_count = reading.list.count;
    mail->cut = reading.tree.cut || reading.list.cut || bytes.len > RETURNED_READ_MAX;
    return true;
}
