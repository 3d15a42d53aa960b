#include "worker/inherited.h"

#include "worker/worker.h"

#include "base/map.h"
#include "base/mem.h"

#define INHERITED_MAGIC 0x494e4845u

struct suspect {
    const struct kafka_partition *partition;
    int64_t below;
};

struct inherited {
    uint32_t magic;
    struct map records; /* key -> struct inherited_record */
    struct suspect *suspects;
    size_t suspect_count;
};

/* ---- states ---- */

static size_t state_size(const struct ledger_state *state)
{
    size_t size = sizeof(*state) + state->outcome_count * sizeof(struct ledger_outcome) +
                  state->in_doubt_count * sizeof(uint32_t);
    for (size_t i = 0; i < state->outcome_count; i++) {
        size += state->outcomes[i].recipient_count * sizeof(uint32_t) + state->outcomes[i].text.len;
    }
    return size;
}

/* In one block, freed with mem_free(). */
static struct ledger_state *state_copy(const struct ledger_state *state)
{
    struct ledger_state *copy = mem_zalloc(state_size(state));
    struct ledger_outcome *outcomes = (struct ledger_outcome *)(copy + 1);
    uint32_t *numbers = (uint32_t *)(outcomes + state->outcome_count);
    *copy = *state;
    copy->outcomes = outcomes;
    copy->in_doubt = numbers;
    if (state->in_doubt_count > 0) {
        memcpy(numbers, state->in_doubt, state->in_doubt_count * sizeof(*numbers));
        numbers += state->in_doubt_count;
    }
    for (size_t i = 0; i < state->outcome_count; i++) {
        size_t count = state->outcomes[i].recipient_count;
        outcomes[i] = state->outcomes[i];
        outcomes[i].recipients = numbers;
        memcpy(numbers, state->outcomes[i].recipients, count * sizeof(*numbers));
        numbers += count;
    }
    char *texts = (char *)numbers;
    for (size_t i = 0; i < state->outcome_count; i++) {
        struct slice text = state->outcomes[i].text;
        if (text.len > 0) {
            memcpy(texts, text.ptr, text.len);
            outcomes[i].text = slice_of(texts, text.len);
            texts += text.len;
        }
    }
    return copy;
}

/* ---- the table ---- */

struct inherited *inherited_create(void)
{
    struct inherited *inherited = mem_zalloc(sizeof(*inherited));
    inherited->magic = INHERITED_MAGIC;
    map_init(&inherited->records);
    return inherited;
}

static void record_free(struct inherited_record *record)
{
    mem_free(record->state);
    mem_free(record);
}

void inherited_clear(struct inherited *inherited)
{
    struct inherited_record *record;
    size_t cursor = 0;
    CHECK_MAGIC(inherited, INHERITED_MAGIC);
    while ((record = map_next(&inherited->records, &cursor)) != NULL) {
        record_free(record);
    }
    map_free(&inherited->records);
    map_init(&inherited->records);
    mem_free(inherited->suspects);
    inherited->suspects = NULL;
    inherited->suspect_count = 0;
}

void inherited_free(struct inherited **handle)
{
    struct inherited *inherited = *handle;
    if (inherited == NULL) {
        return;
    }
    inherited_clear(inherited);
    map_free(&inherited->records);
    inherited->magic = 0;
    mem_free(inherited);
    *handle = NULL;
}

static struct slice key_of(const struct inherited_record *record)
{
    return slice_of(&record->key, sizeof(record->key));
}

struct inherited_record *inherited_put(struct inherited *inherited,
                                       struct kafka_partition *partition, int64_t offset,
                                       uint64_t claim, const struct ledger_state *state)
{
    struct inherited_record *record = mem_zalloc(sizeof(*record));
    CHECK_MAGIC(inherited, INHERITED_MAGIC);
    record->key.partition = partition;
    record->key.offset = offset;
    record->claim = claim;
    if (state != NULL) {
        record->state = state_copy(state);
    }
    map_put(&inherited->records, key_of(record), record);
    return record;
}

void inherited_set_state(struct inherited_record *record, const struct ledger_state *state)
{
    mem_free(record->state);
    record->state = state_copy(state);
}

void inherited_suspect(struct inherited *inherited, struct kafka_partition *partition,
                       int64_t below)
{
    size_t at = inherited->suspect_count++;
    inherited->suspects =
        mem_realloc(inherited->suspects, inherited->suspect_count * sizeof(*inherited->suspects));
    inherited->suspects[at] = (struct suspect){partition, below};
}

struct inherited_record *inherited_at(const struct inherited *inherited,
                                      struct kafka_partition *partition, int64_t offset)
{
    struct inherited_record wanted = {.key = {partition, offset}};
    return map_get(&inherited->records, key_of(&wanted));
}

struct inherited_record *inherited_find(const struct inherited *inherited, const struct mail *mail)
{
    return inherited->records.count == 0
               ? NULL
               : inherited_at(inherited, mail->ticket.partition, mail->ticket.offset);
}

bool inherited_is_suspect(const struct inherited *inherited, const struct mail *mail)
{
    for (size_t i = 0; i < inherited->suspect_count; i++) {
        if (inherited->suspects[i].partition == mail->ticket.partition) {
            return mail->ticket.offset < inherited->suspects[i].below;
        }
    }
    return false;
}

void inherited_give(struct inherited *inherited, struct inherited_record *record, struct mail *mail)
{
    struct inherited_record *removed = map_remove(&inherited->records, key_of(record));
    CHECK(removed == record);
    if (mail != NULL) {
        CHECK(mail->inherited == NULL);
        mail->suspect = mail->suspect || record->suspect;
        mail->inherited = record->state;
        record->state = NULL;
    }
    record_free(record);
}

void inherited_state_one(const struct inherited_record *record, struct journal_writer *writer)
{
    const struct ledger_place place = {
        .topic = kafka_partition_topic(record->key.partition),
        .partition = kafka_partition_id(record->key.partition),
        .claim = record->claim,
        .offset = record->key.offset,
    };
    if (record->state != NULL) {
        journal_writer_state(writer, &place, record->state);
    }
}

void inherited_restate(const struct inherited *inherited, struct journal_writer *writer)
{
    const struct inherited_record *record;
    size_t cursor = 0;
    while ((record = map_next(&inherited->records, &cursor)) != NULL) {
        inherited_state_one(record, writer);
    }
}

size_t inherited_count(const struct inherited *inherited)
{
    return inherited->records.count;
}

/* ---- the mail on its shard ---- */

/* It may have been sent: nobody knows. */
static void settle_doubt(struct settler *settler, struct mail *mail, uint32_t index,
                         const struct config_site *site)
{
    const struct smtp_outcome outcome = {
        .result = SMTP_RESULT_UNCERTAIN,
        .phase = SMTP_PHASE_MESSAGE,
        .scope = SMTP_SCOPE_MESSAGE,
        .enhanced = {4, 4, 2},
        .text = SLICE("the worker that was sending it is gone, and what became of it is not known"),
    };
    const struct report_facts facts = {0};
    settle_recipient(settler, mail, index, &outcome, &facts, site);
    journal_note(mail, index, &outcome);
    mail->rcpts[index].told = true;
}

void inherited_apply(struct settler *settler, struct mail *mail)
{
    const struct ledger_state *state = mail->inherited;
    const struct config_site *site = config_site_for(settler->worker->config, mail->message.domain,
                                                     SLICE_NULL, mail->message.domain);
    const size_t count = mail->message.recipient_count;
    for (size_t i = 0; state != NULL && i < state->outcome_count; i++) {
        const struct ledger_outcome *outcome = &state->outcomes[i];
        for (size_t r = 0; r < outcome->recipient_count; r++) {
            uint32_t index = outcome->recipients[r];
            if (index < count && mail->rcpts[index].state == MAIL_RCPT_PENDING) {
                settle_again(settler, mail, index, outcome);
            }
        }
    }
    for (size_t i = 0; state != NULL && i < state->in_doubt_count; i++) {
        uint32_t index = state->in_doubt[i];
        if (index < count && mail->rcpts[index].state == MAIL_RCPT_PENDING) {
            settle_doubt(settler, mail, index, site);
        }
    }
    for (uint32_t i = 0; mail->suspect && i < count; i++) {
        if (mail->rcpts[i].state == MAIL_RCPT_PENDING && !mail->rcpts[i].told) {
            settle_doubt(settler, mail, i, site);
        }
    }
    if (state != NULL) {
        mail->journaled = true;
        mail->turn = state->turn;
        mem_free(mail->inherited);
        mail->inherited = NULL;
    }
}
