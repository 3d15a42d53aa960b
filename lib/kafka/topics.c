/*
 * Making and verifying topics through Kafka's admin interface. Blocking, for tools and set-up.
 */
#include "kafka/topics.h"

#include "kafka/conf_private.h"
#include "kafka/topics_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"

#include <string.h>
#include <time.h>

#define ADMIN_TIMEOUT_MS 30000
#define USABLE_TIMEOUT_MS 60000
#define METADATA_TIMEOUT_MS 10000
#define DETAIL_MAX 2000

struct session {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    struct topic_list wanted;
    const struct kafka_topic_plan *plan;
    kafka_topic_report report;
    void *owner;
    struct fault *fault;
};

static bool session_begin(struct session *session, const struct kafka_properties *properties)
{
    struct kafka_conf builder;
    if (!topic_list_make(&session->wanted, session->plan, session->fault)) {
        return false;
    }
    kafka_conf_begin(&builder, properties, session->fault);
    kafka_conf_user(&builder);
    session->rk = kafka_conf_create_client(&builder, RD_KAFKA_PRODUCER);
    if (session->rk == NULL) {
        topic_list_free(&session->wanted);
        return false;
    }
    session->queue = rd_kafka_queue_new(session->rk);
    return true;
}

static void session_end(struct session *session)
{
    rd_kafka_queue_destroy(session->queue);
    rd_kafka_destroy(session->rk);
    topic_list_free(&session->wanted);
}

static void tell(const struct session *session, const char *topic, enum kafka_topic_state state,
                 const char *detail)
{
    if (session->report != NULL) {
        session->report(session->owner, topic, state, detail);
    }
}

/* All topics of the cluster: asking for one by name would make brokers that create topics by
 * themselves create it. */
static const struct rd_kafka_metadata *get_metadata(const struct session *session)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t error =
        rd_kafka_metadata(session->rk, 1, NULL, &metadata, METADATA_TIMEOUT_MS);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        kafka_fault_set(session->fault, error, "Kafka cannot be asked for its topics");
        return NULL;
    }
    return metadata;
}

static const struct rd_kafka_metadata_topic *find_topic(const struct rd_kafka_metadata *metadata,
                                                        const char *name)
{
    for (int i = 0; i < metadata->topic_cnt; i++) {
        if (strcmp(metadata->topics[i].topic, name) == 0 &&
            metadata->topics[i].err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
            return &metadata->topics[i];
        }
    }
    return NULL;
}

static bool usable(const struct rd_kafka_metadata_topic *topic, const struct topic_wanted *wanted)
{
    if (topic == NULL || topic->err != RD_KAFKA_RESP_ERR_NO_ERROR ||
        topic->partition_cnt < wanted->partitions) {
        return false;
    }
    for (int i = 0; i < topic->partition_cnt; i++) {
        if (topic->partitions[i].leader < 0) {
            return false;
        }
    }
    return true;
}

static rd_kafka_event_t *wait_event(const struct session *session, const char *what)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(session->queue, ADMIN_TIMEOUT_MS + 5000);
    if (event == NULL) {
        fault_set(session->fault, FAULT_TIMEOUT, 0, "%s: no answer from Kafka", what);
        return NULL;
    }
    rd_kafka_resp_err_t error = rd_kafka_event_error(event);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        fault_set(session->fault, kafka_fault_kind(error), (int)error, "%s: %s", what,
                  rd_kafka_event_error_string(event));
        rd_kafka_event_destroy(event);
        return NULL;
    }
    return event;
}

static rd_kafka_AdminOptions_t *admin_options(const struct session *session,
                                              rd_kafka_admin_op_t operation)
{
    char why[200];
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(session->rk, operation);
    CHECK(rd_kafka_AdminOptions_set_request_timeout(options, ADMIN_TIMEOUT_MS, why, sizeof(why)) ==
          RD_KAFKA_RESP_ERR_NO_ERROR);
    return options;
}

static rd_kafka_NewTopic_t *new_topic(const struct session *session,
                                      const struct topic_wanted *wanted)
{
    char why[200];
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(
        wanted->name, wanted->partitions, session->plan->replication_factor, why, sizeof(why));
    if (topic == NULL) {
        fault_set(session->fault, FAULT_INVALID, 0, "%s: %s", wanted->name, why);
        return NULL;
    }
    for (size_t i = 0; i < wanted->setting_count; i++) {
        rd_kafka_NewTopic_set_config(topic, wanted->settings[i].name, wanted->settings[i].value);
    }
    return topic;
}

/* One request each, so that one refusal does not hide the others, and its topic can be told. */
static bool create_topic(const struct session *session, const struct topic_wanted *wanted)
{
    rd_kafka_NewTopic_t *topic = new_topic(session, wanted);
    if (topic == NULL) {
        return false;
    }
    rd_kafka_AdminOptions_t *options = admin_options(session, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_CreateTopics(session->rk, &topic, 1, options, session->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_event_t *event = wait_event(session, wanted->name);
    if (event == NULL) {
        return false;
    }
    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    rd_kafka_resp_err_t error =
        count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
    bool ok =
        error == RD_KAFKA_RESP_ERR_NO_ERROR || error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS;
    if (!ok) {
        const char *text = count == 1 ? rd_kafka_topic_result_error_string(results[0]) : NULL;
        fault_set(session->fault, kafka_fault_kind(error), (int)error, "%s: %s", wanted->name,
                  text == NULL ? rd_kafka_err2str(error) : text);
    }
    rd_kafka_event_destroy(event);
    return ok;
}

static bool all_usable(const struct session *session)
{
    const struct rd_kafka_metadata *metadata = get_metadata(session);
    bool ok = metadata != NULL;
    for (size_t i = 0; ok && i < session->wanted.count; i++) {
        const struct topic_wanted *wanted = &session->wanted.items[i];
        const struct rd_kafka_metadata_topic *topic = find_topic(metadata, wanted->name);
        /* One with fewer partitions than wanted was there before: its verification says so. */
        ok = topic != NULL &&
             (usable(topic, wanted) ||
              (topic->partition_cnt > 0 && topic->partition_cnt < wanted->partitions));
    }
    if (metadata != NULL) {
        rd_kafka_metadata_destroy(metadata);
    }
    return ok;
}

static bool wait_usable(const struct session *session)
{
    struct mono_time end = mono_add_ms(mono_now(), USABLE_TIMEOUT_MS);
    while (!all_usable(session)) {
        if (!mono_before(mono_now(), end)) {
            return fault_set(session->fault, FAULT_TIMEOUT, 0, "the new topics cannot be used yet");
        }
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return true;
}

static const char *entry_value(const rd_kafka_ConfigEntry_t **entries, size_t count,
                               const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0) {
            return rd_kafka_ConfigEntry_value(entries[i]);
        }
    }
    return NULL;
}

static void compare_settings(const struct topic_wanted *wanted,
                             const rd_kafka_ConfigResource_t *have, struct strbuf *detail)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(have, &count);
    for (size_t i = 0; i < wanted->setting_count; i++) {
        const struct topic_setting *setting = &wanted->settings[i];
        const char *value = entry_value(entries, count, setting->name);
        if (value == NULL || strcmp(value, setting->value) != 0) {
            strbuf_addf(detail, "%s%s: %s, wanted %s", detail->len == 0 ? "" : "; ", setting->name,
                        value == NULL ? "absent" : value, setting->value);
        }
    }
}

static const rd_kafka_ConfigResource_t *find_resource(rd_kafka_event_t *event, const char *name)
{
    size_t count;
    const rd_kafka_ConfigResource_t **all = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rd_kafka_ConfigResource_name(all[i]), name) == 0) {
            return all[i];
        }
    }
    return NULL;
}

/* The settings of those wanted topics that exist. NULL: fault is set. */
static rd_kafka_event_t *describe(const struct session *session,
                                  const struct rd_kafka_metadata *metadata)
{
    rd_kafka_ConfigResource_t **resources =
        mem_calloc(session->wanted.count, sizeof(rd_kafka_ConfigResource_t *));
    size_t count = 0;
    for (size_t i = 0; i < session->wanted.count; i++) {
        if (find_topic(metadata, session->wanted.items[i].name) != NULL) {
            resources[count++] =
                rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, session->wanted.items[i].name);
        }
    }
    rd_kafka_event_t *event = NULL;
    if (count > 0) {
        rd_kafka_AdminOptions_t *options =
            admin_options(session, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
        rd_kafka_DescribeConfigs(session->rk, resources, count, options, session->queue);
        rd_kafka_AdminOptions_destroy(options);
        event = wait_event(session, "settings of the topics");
        rd_kafka_ConfigResource_destroy_array(resources, count);
    }
    mem_free(resources);
    return event;
}

/* What differs; empty: nothing. */
static void compare(const struct session *session, const struct topic_wanted *wanted,
                    const struct rd_kafka_metadata_topic *topic, rd_kafka_event_t *settings,
                    struct strbuf *detail)
{
    strbuf_reset(detail);
    if (topic->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        strbuf_addf(detail, "%s", rd_kafka_err2str(topic->err));
        return;
    }
    if (topic->partition_cnt != wanted->partitions) {
        strbuf_addf(detail, "partitions: %d, wanted %d", topic->partition_cnt, wanted->partitions);
    }
    if (topic->partition_cnt > 0 &&
        topic->partitions[0].replica_cnt != session->plan->replication_factor) {
        strbuf_addf(detail, "%sreplication factor: %d, wanted %d", detail->len == 0 ? "" : "; ",
                    topic->partitions[0].replica_cnt, session->plan->replication_factor);
    }
    const rd_kafka_ConfigResource_t *have = find_resource(settings, wanted->name);
    if (have == NULL || rd_kafka_ConfigResource_error(have) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        strbuf_addf(detail, "%sits settings cannot be read", detail->len == 0 ? "" : "; ");
    } else {
        compare_settings(wanted, have, detail);
    }
}

/* Tells the state of every topic; those with created[i] are CREATED when nothing is wrong. */
static bool verify(const struct session *session, const bool *created)
{
    const struct rd_kafka_metadata *metadata = get_metadata(session);
    if (metadata == NULL) {
        return false;
    }
    rd_kafka_event_t *settings = NULL;
    size_t wrong = 0;
    size_t missing = 0;
    bool exists = false;
    for (size_t i = 0; i < session->wanted.count; i++) {
        exists = exists || find_topic(metadata, session->wanted.items[i].name) != NULL;
    }
    if (exists && (settings = describe(session, metadata)) == NULL) {
        rd_kafka_metadata_destroy(metadata);
        return false;
    }
    struct strbuf detail;
    strbuf_init(&detail, DETAIL_MAX);
    for (size_t i = 0; i < session->wanted.count; i++) {
        const struct topic_wanted *wanted = &session->wanted.items[i];
        const struct rd_kafka_metadata_topic *topic = find_topic(metadata, wanted->name);
        if (topic == NULL) {
            missing++;
            tell(session, wanted->name, KAFKA_TOPIC_MISSING, "");
            continue;
        }
        compare(session, wanted, topic, settings, &detail);
        wrong += detail.len > 0;
        tell(session, wanted->name,
             detail.len > 0                  ? KAFKA_TOPIC_WRONG
             : created != NULL && created[i] ? KAFKA_TOPIC_CREATED
                                             : KAFKA_TOPIC_OK,
             detail.len > 0 ? detail.ptr : "");
    }
    strbuf_free(&detail);
    if (settings != NULL) {
        rd_kafka_event_destroy(settings);
    }
    rd_kafka_metadata_destroy(metadata);
    if (missing + wrong > 0) {
        return fault_set(session->fault, missing > 0 ? FAULT_NOT_FOUND : FAULT_INVALID, 0,
                         "%zu topics are missing and %zu are not as they should be", missing,
                         wrong);
    }
    return true;
}

static bool create_missing(const struct session *session, bool *created)
{
    const struct rd_kafka_metadata *metadata = get_metadata(session);
    bool ok = metadata != NULL;
    for (size_t i = 0; ok && i < session->wanted.count; i++) {
        if (find_topic(metadata, session->wanted.items[i].name) == NULL) {
            ok = create_topic(session, &session->wanted.items[i]);
            created[i] = ok;
        }
    }
    if (metadata != NULL) {
        rd_kafka_metadata_destroy(metadata);
    }
    return ok;
}

bool kafka_topics_create(const struct kafka_properties *properties,
                         const struct kafka_topic_plan *plan, kafka_topic_report report,
                         void *owner, struct fault *fault)
{
    struct session session = {.plan = plan, .report = report, .owner = owner, .fault = fault};
    if (!session_begin(&session, properties)) {
        return false;
    }
    bool *created = mem_calloc(session.wanted.count, sizeof(*created));
    bool ok =
        create_missing(&session, created) && wait_usable(&session) && verify(&session, created);
    mem_free(created);
    session_end(&session);
    return ok;
}

bool kafka_topics_check(const struct kafka_properties *properties,
                        const struct kafka_topic_plan *plan, kafka_topic_report report, void *owner,
                        struct fault *fault)
{
    struct session session = {.plan = plan, .report = report, .owner = owner, .fault = fault};
    if (!session_begin(&session, properties)) {
        return false;
    }
    bool ok = verify(&session, NULL);
    session_end(&session);
    return ok;
}
