/*
 * See sns.h. Not a JSON parser: a cursor over the "key":"value" pairs in their order, which is all
 * that these flat records need. Escapes other than \" \\ \/ \n stay as they are.
 */
#include "mail/sns.h"

#include "mail/status.h"

struct pair {
    struct slice key;
    struct slice value; /* of a string, still escaped; empty when the value is none */
};

/* The string that begins at the quotation mark at the front of *rest. */
static bool string_next(struct slice *rest, struct slice *string)
{
    size_t n = 1;
    CHECK(rest->ptr != NULL);
    while (n < rest->len && rest->ptr[n] != '"') {
        n += rest->ptr[n] == '\\' && n + 1 < rest->len ? 2 : 1;
    }
    if (n >= rest->len) {
        return false;
    }
    *string = slice_of(rest->ptr + 1, n - 1);
    *rest = slice_skip(*rest, n + 1);
    return true;
}

static bool pair_next(struct slice *rest, struct pair *pair)
{
    while (true) {
        ptrdiff_t at = slice_find_byte(*rest, '"');
        if (at < 0) {
            return false;
        }
        *rest = slice_skip(*rest, (size_t)at);
        if (!string_next(rest, &pair->key)) {
            return false;
        }
        struct slice after = slice_trim(*rest);
        if (after.len == 0 || after.ptr[0] != ':') {
            continue; /* an element of an array */
        }
        *rest = slice_trim(slice_skip(after, 1));
        pair->value = SLICE("");
        if (rest->len > 0 && rest->ptr[0] == '"') {
            return string_next(rest, &pair->value);
        }
        return true;
    }
}

static struct slice unescape(struct arena *arena, struct slice s)
{
    if (slice_find_byte(s, '\\') < 0) {
        return s;
    }
    char *out = arena_try_alloc(arena, s.len + 1);
    if (out == NULL) {
        return s;
    }
    size_t len = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\\' && i + 1 < s.len) {
            c = s.ptr[++i];
            c = c == 'n' || c == 'r' || c == 't' ? ' ' : c;
        }
        out[len++] = c;
    }
    out[len] = '\0';
    return slice_of(out, len);
}

static void set_recipient_field(struct recipient_list *list, const struct pair *pair)
{
    if (list->count == 0) {
        return;
    }
    struct returned_recipient *recipient = &list->items[list->count - 1];
    if (slice_eq(pair->key, SLICE("status"))) {
        recipient->status = status_find_enhanced(pair->value);
    } else if (slice_eq(pair->key, SLICE("diagnosticCode"))) {
        struct slice text = unescape(list->arena, pair->value);
        ptrdiff_t semicolon = slice_find_byte(slice_head(text, 16), ';');
        recipient->text =
            slice_trim(semicolon < 0 ? text : slice_skip(text, (size_t)semicolon + 1));
    }
}

static void read_pairs(struct slice text, struct recipient_list *list,
                       struct returned_original *original)
{
    struct pair pair;
    struct slice name = SLICE_NULL; /* of the header field whose value comes next */
    while (pair_next(&text, &pair)) {
        if (slice_eq(pair.key, SLICE("emailAddress")) && pair.value.len > 0) {
            struct returned_recipient *recipient = recipient_list_add(list);
            if (recipient == NULL) {
                return;
            }
            recipient->address = pair.value;
        } else if (slice_eq(pair.key, SLICE("status")) ||
                   slice_eq(pair.key, SLICE("diagnosticCode"))) {
            set_recipient_field(list, &pair);
        } else if (slice_eq(pair.key, SLICE("source"))) {
            original->return_path = pair.value;
            original->from = original->from.len > 0 ? original->from : pair.value;
        } else if (slice_eq(pair.key, SLICE("name"))) {
            name = pair.value;
        } else if (slice_eq(pair.key, SLICE("value"))) {
            if (slice_eq_nocase(name, SLICE("Message-ID"))) {
                original->message_id = unescape(list->arena, pair.value);
            } else if (slice_eq_nocase(name, SLICE("Subject"))) {
                original->subject = unescape(list->arena, pair.value);
            }
        }
    }
}

/* Addresses of an array of strings that stands behind `key`: "recipients":["a@example.org"]. */
static void read_array(struct slice text, struct slice key, struct recipient_list *list)
{
    ptrdiff_t at = slice_find(text, key);
    if (at < 0) {
        return;
    }
    struct slice rest = slice_skip(text, (size_t)at + key.len);
    ptrdiff_t end = slice_find_byte(rest, ']');
    rest = end < 0 ? rest : slice_head(rest, (size_t)end);
    while (true) {
        ptrdiff_t quote = slice_find_byte(rest, '"');
        struct slice value = SLICE_NULL;
        if (quote < 0) {
            return;
        }
        rest = slice_skip(rest, (size_t)quote);
        if (!string_next(&rest, &value)) {
            return;
        }
        struct returned_recipient *recipient = recipient_list_add(list);
        if (recipient == NULL) {
            return;
        }
        recipient->address = value;
    }
}

bool sns_read(struct slice text, enum returned_kind *kind, struct recipient_list *list,
              struct returned_original *original)
{
    ptrdiff_t at = slice_find(text, SLICE("\"notificationType\""));
    if (at < 0) {
        at = slice_find(text, SLICE("\"eventType\""));
    }
    if (at < 0) {
        return false;
    }
    struct slice rest = slice_skip(text, (size_t)at);
    struct pair pair;
    if (!pair_next(&rest, &pair)) {
        return false;
    }
    enum returned_action action = RETURNED_ACTION_FAILED;
    if (slice_eq(pair.value, SLICE("Bounce"))) {
        *kind = RETURNED_BOUNCE;
    } else if (slice_eq(pair.value, SLICE("Complaint"))) {
        *kind = RETURNED_COMPLAINT;
    } else if (slice_eq(pair.value, SLICE("Delivery"))) {
        *kind = RETURNED_DELIVERED;
        action = RETURNED_ACTION_DELIVERED;
    } else if (slice_eq(pair.value, SLICE("DeliveryDelay"))) {
        *kind = RETURNED_DELAYED;
        action = RETURNED_ACTION_DELAYED;
    } else {
        return false;
    }
    read_pairs(text, list, original);
    if (list->count == 0) {
        read_array(text,
                   *kind == RETURNED_DELIVERED ? SLICE("\"recipients\":[")
                                               : SLICE("\"destination\":["),
                   list);
    }
    for (size_t i = 0; i < list->count; i++) {
        list->items[i].action = action;
        status_read_text(&list->items[i]);
    }
    return true;
}
