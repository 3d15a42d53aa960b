#include "bouncer/sink.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "bouncer/sink_rows.h"
#include "kafka/reader.h"
#include "kafka/topics.h"
#include "schema/suppression.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define SINK_MAGIC 0x53494e4bu
#define RETRY_MS 2000
#define LOCK_RETRY_MS 5000
#define STEP_MS 100 /* between two looks at whether it is to end */
#define WAIT_MS 200 /* for more of a batch that is not full */
#define COPY_MAX_BYTES ((size_t)1 << 30)

struct sink {
    uint32_t magic;
    const struct config_bouncer *config;
    struct kafka_properties properties;
    char topic[KAFKA_TOPIC_NAME_MAX + 1];
    pthread_t thread;
    atomic_int stop;

    PGconn *connection;
    struct kafka_reader *reader;
    int64_t next_offset; /* behind what is in `rows` */
    struct sink_rows rows;
    struct strbuf text; /* of a statement, or what is copied */
    bool told;          /* that it does not work */
};

static bool is_stopped(const struct sink *sink)
{
    return atomic_load_explicit(&sink->stop, memory_order_relaxed) != 0;
}

static void wait_ms(const struct sink *sink, int ms)
{
    for (int i = 0; i < ms && !is_stopped(sink); i += STEP_MS) {
        usleep(STEP_MS * 1000);
    }
}

/* ---- the database ---- */

/* libpq's messages end with a line end, and may have several lines. */
static bool pq_fault(struct sink *sink, struct fault *fault, const char *what)
{
    char line[FAULT_TEXT_MAX];
    snprintf(line, sizeof(line), "%s", PQerrorMessage(sink->connection));
    line[strcspn(line, "\n")] = '\0';
    return fault_set(fault, FAULT_TEMPORARY, 0, "%s: %s", what, line);
}

/* A statement that gives nothing, from sink->text. */
static bool execute(struct sink *sink, const char *what, struct fault *fault)
{
    CHECK(strbuf_add_byte(&sink->text, '\0'));
    PGresult *result = PQexec(sink->connection, sink->text.ptr);
    ExecStatusType status = PQresultStatus(result);
    PQclear(result);
    strbuf_reset(&sink->text);
    return status == PGRES_COMMAND_OK || status == PGRES_COPY_IN || pq_fault(sink, fault, what);
}

static bool say(struct sink *sink, const char *what, const char *statement, struct fault *fault)
{
    strbuf_reset(&sink->text);
    strbuf_add_cstr(&sink->text, statement);
    return execute(sink, what, fault);
}

/* One value, as a number. False: an error, or no row at all (then *none). */
static bool ask_number(struct sink *sink, const char *what, int64_t *number, bool *none,
                       struct fault *fault)
{
    CHECK(strbuf_add_byte(&sink->text, '\0'));
    PGresult *result = PQexec(sink->connection, sink->text.ptr);
    bool ok = PQresultStatus(result) == PGRES_TUPLES_OK;
    *none = ok && PQntuples(result) == 0;
    if (ok && !*none) {
        *number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    }
    PQclear(result);
    strbuf_reset(&sink->text);
    return ok ? !*none : pq_fault(sink, fault, what);
}

static bool make_tables(struct sink *sink, struct fault *fault)
{
    const char *table = sink->config->suppression_table;
    strbuf_reset(&sink->text);
    strbuf_addf(&sink->text,
                "CREATE TABLE IF NOT EXISTS %s (tenant text NOT NULL, list text NOT NULL, email "
                "text NOT NULL, reason text NOT NULL, since timestamptz, expires timestamptz, "
                "bounce_class text NOT NULL, event_id text NOT NULL, message_id text NOT NULL, "
                "campaign text NOT NULL, actor text NOT NULL, note text NOT NULL, written "
                "timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (email, tenant, list));",
                table);
    strbuf_addf(&sink->text,
                "CREATE TABLE IF NOT EXISTS %s_position (topic text PRIMARY KEY, next_offset "
                "bigint NOT NULL);",
                table);
    strbuf_addf(&sink->text,
                "CREATE TEMPORARY TABLE staged (gone boolean, tenant text, list text, email text, "
                "reason text, since timestamptz, expires timestamptz, bounce_class text, event_id "
                "text, message_id text, campaign text, actor text, note text) ON COMMIT DELETE "
                "ROWS");
    return execute(sink, "making the tables", fault);
}

/* False: another one writes (no fault), or an error. */
static bool take_lock(struct sink *sink, struct fault *fault)
{
    int64_t taken = 0;
    bool none;
    strbuf_reset(&sink->text);
    strbuf_addf(&sink->text, "SELECT pg_try_advisory_lock(hashtext('%s %s'))::int",
                sink->config->suppression_table, sink->topic);
    return ask_number(sink, "taking the lock", &taken, &none, fault) && taken == 1;
}

static bool ask_position(struct sink *sink, struct fault *fault)
{
    bool none;
    strbuf_reset(&sink->text);
    strbuf_addf(&sink->text, "SELECT next_offset FROM %s_position WHERE topic = '%s'",
                sink->config->suppression_table, sink->topic);
    sink->next_offset = 0;
    return ask_number(sink, "reading the position", &sink->next_offset, &none, fault) || none;
}

static bool connect_database(struct sink *sink, struct fault *fault)
{
    static const char *const names[] = {"dbname",
                                        "application_name",
                                        "connect_timeout",
                                        "tcp_user_timeout",
                                        "client_encoding",
                                        "options",
                                        NULL};
    const char *const values[] = {sink->config->suppression_database,
                                  "sluice-bouncer",
                                  "5",
                                  "10000",
                                  "UTF8",
                                  "-c statement_timeout=30s -c timezone=UTC",
                                  NULL};
    sink->connection = PQconnectdbParams(names, values, 1);
    return PQstatus(sink->connection) == CONNECTION_OK || pq_fault(sink, fault, "connecting");
}

/* ---- a batch ---- */

static bool copy_rows(struct sink *sink, struct fault *fault)
{
    if (!say(sink, "copying", "COPY staged (" SINK_COLUMNS ") FROM STDIN", fault)) {
        return false;
    }
    CHECK(sink_rows_copy(&sink->rows, &sink->text));
    bool ok = PQputCopyData(sink->connection, sink->text.ptr, (int)sink->text.len) == 1 &&
              PQputCopyEnd(sink->connection, NULL) == 1;
    strbuf_reset(&sink->text);
    for (PGresult *result; (result = PQgetResult(sink->connection)) != NULL; PQclear(result)) {
        ok = ok && PQresultStatus(result) == PGRES_COMMAND_OK;
    }
    return ok || pq_fault(sink, fault, "copying");
}

static bool merge_rows(struct sink *sink, struct fault *fault)
{
    const char *table = sink->config->suppression_table;
    strbuf_addf(&sink->text,
                "DELETE FROM %s t USING staged s WHERE s.gone AND t.email = s.email AND t.tenant = "
                "s.tenant AND t.list = s.list;",
                table);
    strbuf_addf(
        &sink->text,
        "INSERT INTO %s (tenant, list, email, reason, since, expires, bounce_class, event_id, "
        "message_id, campaign, actor, note) SELECT tenant, list, email, reason, since, expires, "
        "bounce_class, event_id, message_id, campaign, actor, note FROM staged WHERE NOT gone "
        "ON CONFLICT (email, tenant, list) DO UPDATE SET reason = excluded.reason, since = "
        "excluded.since, expires = excluded.expires, bounce_class = excluded.bounce_class, "
        "event_id = excluded.event_id, message_id = excluded.message_id, campaign = "
        "excluded.campaign, actor = excluded.actor, note = excluded.note, written = now();",
        table);
    strbuf_addf(&sink->text,
                "INSERT INTO %s_position VALUES ('%s', %" PRId64 ") ON CONFLICT (topic) DO UPDATE "
                "SET next_offset = excluded.next_offset",
                table, sink->topic, sink->next_offset);
    return execute(sink, "writing", fault);
}

static bool write_batch(struct sink *sink, struct fault *fault)
{
    bool ok = say(sink, "beginning", "BEGIN", fault) && copy_rows(sink, fault) &&
              merge_rows(sink, fault) && say(sink, "committing", "COMMIT", fault);
    if (ok) {
        sink_rows_free(&sink->rows);
    }
    return ok;
}

static void take(struct sink *sink, const struct kafka_reader_record *record)
{
    struct fault fault = {0};
    sink->next_offset = record->offset + 1;
    if (!slice_eq(record->key, SLICE(SUPPRESSION_PROGRESS_KEY)) &&
        !sink_rows_add(&sink->rows, record->key, record->value, &fault)) {
        log_warn("suppression-invalid", "offset=%" PRId64 " reason=\"%s\"", record->offset,
                 fault.text);
    }
}

/* ---- the thread ---- */

static bool open_all(struct sink *sink, struct fault *fault)
{
    const char *const topics[] = {sink->topic};
    if (!connect_database(sink, fault)) {
        return false;
    }
    while (!take_lock(sink, fault)) {
        if (fault->kind != FAULT_NONE || is_stopped(sink)) {
            return false;
        }
        wait_ms(sink, LOCK_RETRY_MS);
    }
    if (!make_tables(sink, fault) || !ask_position(sink, fault)) {
        return false;
    }
    const struct kafka_reader_place place = {sink->topic, 0, sink->next_offset};
    sink->reader = kafka_reader_create_at(&sink->properties, topics, 1, &place, 1, fault);
    if (sink->reader != NULL) {
        log_info("suppression-database", "connected=1 next_offset=%" PRId64, sink->next_offset);
        sink->told = false;
    }
    return sink->reader != NULL;
}

static void close_all(struct sink *sink)
{
    kafka_reader_free(&sink->reader);
    PQfinish(sink->connection);
    sink->connection = NULL;
    sink_rows_free(&sink->rows);
}

/* Until something fails, or it is to end. */
static void follow(struct sink *sink, struct fault *fault)
{
    struct kafka_reader_record record;
    while (!is_stopped(sink)) {
        enum kafka_read got = kafka_reader_next(sink->reader, WAIT_MS, &record, fault);
        if (got == KAFKA_READ_FAILED) {
            return;
        }
        if (got == KAFKA_READ_RECORD) {
            take(sink, &record);
        }
        bool due =
            sink_rows_full(&sink->rows) || (got != KAFKA_READ_RECORD && sink->rows.count > 0);
        if (due && !write_batch(sink, fault)) {
            return;
        }
    }
}

static void *run(void *argument)
{
    struct sink *sink = argument;
    CHECK_MAGIC(sink, SINK_MAGIC);
    while (!is_stopped(sink)) {
        struct fault fault = {0};
        if (open_all(sink, &fault)) {
            follow(sink, &fault);
        }
        close_all(sink);
        if (fault.kind != FAULT_NONE) {
            char quoted[FAULT_TEXT_MAX + 100];
            log_write(sink->told ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, "suppression-database",
                      "connected=0 reason=%s",
                      log_quote(quoted, sizeof(quoted), slice_cstr(fault.text)));
            sink->told = true;
            wait_ms(sink, RETRY_MS);
        }
    }
    return NULL;
}

/* ---- life ---- */

struct sink *sink_start(const struct config *config, const struct kafka_properties *properties,
                        struct fault *fault)
{
    char *problem = NULL;
    PQconninfoOption *parsed = PQconninfoParse(config->bouncer.suppression_database, &problem);
    if (parsed == NULL) {
        fault_set(fault, FAULT_INVALID, 0, "bouncer.suppression-database: %.*s",
                  problem == NULL ? 0 : (int)strcspn(problem, "\n"),
                  problem == NULL ? "" : problem);
        PQfreemem(problem);
        return NULL;
    }
    PQconninfoFree(parsed);
    struct sink *sink = mem_zalloc(sizeof(*sink));
    sink->magic = SINK_MAGIC;
    sink->config = &config->bouncer;
    kafka_properties_copy(&sink->properties, properties);
    snprintf(sink->topic, sizeof(sink->topic), "%ssuppression", config->kafka.prefix);
    sink_rows_init(&sink->rows);
    strbuf_init(&sink->text, COPY_MAX_BYTES);
    CHECK(pthread_create(&sink->thread, NULL, run, sink) == 0);
    return sink;
}

void sink_stop(struct sink **handle)
{
    struct sink *sink = *handle;
    if (sink == NULL) {
        return;
    }
    CHECK_MAGIC(sink, SINK_MAGIC);
    atomic_store(&sink->stop, 1);
    CHECK(pthread_join(sink->thread, NULL) == 0);
    strbuf_free(&sink->text);
    kafka_properties_free(&sink->properties);
    sink->magic = 0;
    mem_free(sink);
    *handle = NULL;
}
