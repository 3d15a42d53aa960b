/*
 * The sample is drawn in passes. Each looks at places that lie evenly over all that is unread
 * (about one for each partition), from a start of its own, so each alone is a fair one; the pass
 * during which the time is over is thrown away. At each place some records in a row are read, as a
 * fetch brings them in any case.
 */
#include "ops/sluicectl/eta.h"

#include "base/arena.h"
#include "base/mem.h"
#include "base/random.h"
#include "schema/message.h"

#include <string.h>

#define READ_ALL_MAX 2000 /* what is less is read as a whole */
#define ROW 16            /* records at a place */
#define PASS_LEAST 8
#define PASS_MOST 256
#define PLACES_MAX 1024
#define RECORDS_MAX (PLACES_MAX * ROW)
#define ARENA_FIRST_BYTES 4096
#define ARENA_MAX_BYTES ((size_t)64 * 1024 * 1024)

struct drawing {
    const struct why_query *query;
    const struct why_unread *unread;
    struct eta_sample *sample;
    uint32_t row;
    /* By partition, as in `unread`: */
    int64_t *lengths;
    int64_t *from;    /* where is looked now; -1: nowhere */
    uint32_t *points; /* … as which point */
};

/* ---- records ---- */

static uint32_t domain_of(struct eta_sample *sample, struct slice name)
{
    struct eta_domain *domain = map_get(&sample->by_name, name);
    if (domain == NULL) {
        domain = mem_zalloc(sizeof(*domain));
        domain->name = mem_strndup(name.ptr, name.len);
        domain->index = (uint32_t)sample->domain_count;
        map_put(&sample->by_name, slice_cstr(domain->name), domain);
        sample->domains[sample->domain_count++] = domain;
    }
    domain->records++;
    return domain->index;
}

static bool is(const char *wanted, struct slice text)
{
    return wanted == NULL || slice_eq(text, slice_cstr(wanted));
}

static void add_record(struct drawing *drawing, uint32_t point,
                       const struct kafka_reader_record *record)
{
    struct eta_sample *sample = drawing->sample;
    struct message message = {0};
    struct fault fault;
    struct message_origin origin = {slice_cstr(record->topic), record->partition, record->offset};
    struct arena *arena = arena_create(ARENA_FIRST_BYTES, ARENA_MAX_BYTES);
    CHECK(arena != NULL);
    bool good = message_decode(record->value, &origin, arena, &message, &fault);
    sample->records[sample->record_count++] = (struct eta_record){
        .point = point,
        .domain = domain_of(sample, good ? message.domain : SLICE_NULL),
        .own = good && is(drawing->query->tenant, message.tenant) &&
               is(drawing->query->campaign, message.campaign),
    };
    arena_free(&arena);
}

/* ---- reading ---- */

static size_t place_of(const struct why_unread *unread, const struct kafka_reader_record *record)
{
    for (size_t i = 0; i < unread->topic_count; i++) {
        const struct why_topic *topic = &unread->topics[i];
        if ((size_t)record->partition < topic->count && strcmp(topic->name, record->topic) == 0) {
            return topic->first + (size_t)record->partition;
        }
    }
    return unread->count;
}

static enum kafka_finder_verdict visit(void *owner, const struct kafka_reader_record *record)
{
    struct drawing *drawing = owner;
    struct eta_sample *sample = drawing->sample;
    size_t at = place_of(drawing->unread, record);
    if (at == drawing->unread->count || record->offset >= drawing->unread->end[at] ||
        sample->record_count == RECORDS_MAX) {
        return KAFKA_FINDER_ENOUGH;
    }
    struct estimate_point *point = &sample->points[drawing->points[at]];
    add_record(drawing, drawing->points[at], record);
    point->records++;
    point->span = record->offset - drawing->from[at] + 1;
    return point->records == drawing->row ? KAFKA_FINDER_ENOUGH : KAFKA_FINDER_ON;
}

/* Reads at the places in drawing->from. What had less than a row is read to its end. */
static enum kafka_finder_over read_round(struct drawing *drawing, struct kafka_finder *finder,
                                         struct mono_time deadline, struct fault *fault)
{
    const struct why_unread *unread = drawing->unread;
    struct eta_sample *sample = drawing->sample;
    struct kafka_reader_place *places = mem_calloc(unread->count + 1, sizeof(*places));
    size_t count = 0;
    for (size_t i = 0; i < unread->count; i++) {
        if (drawing->from[i] >= 0) {
            places[count] = unread->next[i];
            places[count++].offset = drawing->from[i];
            drawing->points[i] = (uint32_t)sample->point_count;
            sample->points[sample->point_count++] = (struct estimate_point){0};
        }
    }
    enum kafka_finder_over over =
        kafka_finder_read(finder, places, count, deadline, visit, drawing, fault);
    for (size_t i = 0; i < unread->count && over == KAFKA_FINDER_DONE; i++) {
        struct estimate_point *point = &sample->points[drawing->points[i]];
        if (drawing->from[i] >= 0 && point->records < drawing->row) {
            point->span = unread->end[i] - drawing->from[i];
        }
    }
    mem_free(places);
    return over;
}

/* The places are in order; a round has one of each partition. */
static enum kafka_finder_over read_pass(struct drawing *drawing, struct kafka_finder *finder,
                                        size_t size, struct mono_time deadline, struct fault *fault)
{
    const struct why_unread *unread = drawing->unread;
    struct estimate_place *places = mem_calloc(size, sizeof(*places));
    enum kafka_finder_over over = KAFKA_FINDER_DONE;
    size_t left = size;
    estimate_places(drawing->lengths, unread->count, random_below(1 << 20) / (double)(1 << 20),
                    places, size);
    while (left > 0 && over == KAFKA_FINDER_DONE) {
        size_t later = 0;
        for (size_t i = 0; i < unread->count; i++) {
            drawing->from[i] = -1;
        }
        for (size_t i = 0; i < left; i++) {
            int64_t *from = &drawing->from[places[i].stretch];
            if (*from < 0) {
                *from = unread->next[places[i].stretch].offset + places[i].offset;
            } else {
                places[later++] = places[i];
            }
        }
        left = later;
        over = read_round(drawing, finder, deadline, fault);
    }
    mem_free(places);
    return over;
}

static void cut(struct eta_sample *sample, size_t points, size_t records)
{
    for (size_t i = records; i < sample->record_count; i++) {
        sample->domains[sample->records[i].domain]->records--;
    }
    sample->point_count = points;
    sample->record_count = records;
}

static bool read_some(struct drawing *drawing, struct kafka_finder *finder,
                      struct mono_time deadline, struct fault *fault)
{
    struct eta_sample *sample = drawing->sample;
    enum kafka_finder_over over = KAFKA_FINDER_DONE;
    size_t size = 0;
    for (size_t i = 0; i < drawing->unread->count; i++) {
        size += drawing->lengths[i] > 0;
    }
    size = size < PASS_LEAST ? PASS_LEAST : size > PASS_MOST ? PASS_MOST : size;
    drawing->row = ROW;
    while (over == KAFKA_FINDER_DONE && sample->point_count + size <= PLACES_MAX) {
        size_t points = sample->point_count;
        size_t records = sample->record_count;
        over = read_pass(drawing, finder, size, deadline, fault);
        if (over != KAFKA_FINDER_DONE) {
            cut(sample, points, records);
        }
    }
    return over != KAFKA_FINDER_FAILED;
}

/* Half of the time, then it is not so little after all. */
static bool read_all(struct drawing *drawing, struct kafka_finder *finder,
                     struct mono_time deadline, struct fault *fault)
{
    int64_t left_ms = mono_since_us(deadline, mono_now()) / 1000;
    drawing->row = UINT32_MAX;
    for (size_t i = 0; i < drawing->unread->count; i++) {
        drawing->from[i] = drawing->lengths[i] > 0 ? drawing->unread->next[i].offset : -1;
    }
    enum kafka_finder_over over =
        read_round(drawing, finder, mono_add_ms(mono_now(), left_ms / 2), fault);
    drawing->sample->all_read = over == KAFKA_FINDER_DONE;
    if (over == KAFKA_FINDER_LATE) {
        cut(drawing->sample, 0, 0);
    }
    return over != KAFKA_FINDER_FAILED;
}

bool eta_sample_draw(struct kafka_finder *finder, const struct why_query *query,
                     const struct why_unread *unread, struct mono_time deadline,
                     struct eta_sample *sample, struct fault *fault)
{
    size_t room = unread->count + PLACES_MAX;
    struct drawing drawing = {
        .query = query,
        .unread = unread,
        .sample = sample,
        .lengths = mem_calloc(unread->count + 1, sizeof(*drawing.lengths)),
        .from = mem_calloc(unread->count + 1, sizeof(*drawing.from)),
        .points = mem_calloc(unread->count + 1, sizeof(*drawing.points)),
    };
    *sample = (struct eta_sample){
        .points = mem_calloc(room, sizeof(*sample->points)),
        .records = mem_calloc(RECORDS_MAX, sizeof(*sample->records)),
        .domains = mem_calloc(RECORDS_MAX + READ_ALL_MAX, sizeof(struct eta_domain *)),
    };
    map_init(&sample->by_name);
    for (size_t i = 0; i < unread->count; i++) {
        drawing.lengths[i] = why_unread_of(unread, i);
        sample->total += drawing.lengths[i];
    }
    bool good = true;
    sample->all_read = sample->total == 0;
    if (sample->total > 0 && sample->total <= READ_ALL_MAX) {
        good = read_all(&drawing, finder, deadline, fault);
    }
    if (good && !sample->all_read) {
        good = read_some(&drawing, finder, deadline, fault);
    }
    mem_free(drawing.lengths);
    mem_free(drawing.from);
    mem_free(drawing.points);
    return good;
}

void eta_sample_free(struct eta_sample *sample)
{
    for (size_t i = 0; i < sample->domain_count; i++) {
        mem_free(sample->domains[i]->name);
        mem_free(sample->domains[i]->site);
        mem_free(sample->domains[i]);
    }
    map_free(&sample->by_name);
    mem_free(sample->domains);
    mem_free(sample->records);
    mem_free(sample->points);
    *sample = (struct eta_sample){0};
}
