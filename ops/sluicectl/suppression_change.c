/* sluicectl suppression add, remove. */
#include "ops/sluicectl/suppression_write.h"

static bool send_event_of(struct suppression_change *change, const char *action,
                          const struct suppress_key *key, const char *reason)
{
    char detail[SUPPRESS_KEY_MAX + 600];
    char text[SUPPRESS_KEY_MAX];
    size_t len = suppress_key_write(key, text);
    const char *note = change->options->note;
    int detail_len = snprintf(detail, sizeof(detail), "%.*s %s%s%.500s", (int)len, text, reason,
                              note == NULL ? "" : ": ", note == NULL ? "" : note);
    return suppression_send_event(change, action, key, slice_of(detail, (size_t)detail_len));
}

int suppression_add(const struct config *config, const struct suppression_options *options)
{
    char room[SUPPRESS_ADDRESS_MAX + 1];
    struct slice address;
    struct suppression_change change;
    if (!suppression_fold(options->argument, room, &address)) {
        return STATUS_FAILED;
    }
    const struct suppress_key key = suppression_key_of(options, address);
    bool opened = suppression_change_open(&change, config, options);
    const struct suppression entry = suppression_by_hand(&change, SUPPRESSION_MANUAL);
    bool done =
        opened && suppression_send_entry(&change, &key, &entry) &&
        send_event_of(&change, "suppression-added", &key, suppression_reason_name(entry.reason));
    return suppression_change_close(&change) && done ? STATUS_DONE : STATUS_FAILED;
}

/* ---- remove ---- */

struct search {
    struct suppress_key wanted;
    bool found; /* in force or counted */
    size_t others;
};

static bool look_for(void *owner, const struct suppression_row *row)
{
    struct search *search = owner;
    if (slice_eq(row->key.address, search->wanted.address)) {
        bool same = slice_eq(row->key.tenant, search->wanted.tenant) &&
                    slice_eq(row->key.list, search->wanted.list);
        bool matters = row->entry.reason != SUPPRESSION_NONE || row->entry.strike_count > 0 ||
                       row->entry.full_first_ms != 0;
        search->found = search->found || (same && matters);
        search->others += same || !matters ? 0 : 1;
    }
    return true;
}

/* The entry stays as a mark: what happened before it was removed does not bring it back. */
int suppression_remove(const struct config *config, const struct suppression_options *options)
{
    char room[SUPPRESS_ADDRESS_MAX + 1];
    struct slice address;
    struct suppression_change change;
    struct fault fault = {0};
    if (!suppression_fold(options->argument, room, &address)) {
        return STATUS_FAILED;
    }
    struct search search = {.wanted = suppression_key_of(options, address)};
    if (!suppression_each(config, look_for, &search, &fault)) {
        (void)fprintf(stderr, "sluicectl suppression: %s\n", fault.text);
        return STATUS_FAILED;
    }
    if (!search.found) {
        (void)fprintf(
            stderr,
            "sluicectl suppression: %.*s has no such entry; %zu of another tenant or list "
            "(see: sluicectl suppression check)\n",
            SLICE_FMT(address), search.others);
        return STATUS_NONE;
    }
    bool opened = suppression_change_open(&change, config, options);
    struct suppression entry = suppression_by_hand(&change, SUPPRESSION_NONE);
    entry.removed_ms = change.now_ms;
    bool done = opened && suppression_send_entry(&change, &search.wanted, &entry) &&
                send_event_of(&change, "suppression-removed", &search.wanted, "removed");
    return suppression_change_close(&change) && done ? STATUS_DONE : STATUS_FAILED;
}
