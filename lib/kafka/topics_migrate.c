/*
 * Changing the topics while workers run. Each step can be repeated.
 *
 * Order of growing: a record of a stream's partition is copied to the partition of the same number
 * of tiers, dlq and uncertain. So those grow first, and the streams when every client of the
 * workers has had the time to learn of it.
 *
 * Deleting: workers that were started with an older configuration may still write to a tier that is
 * to go. Making it refuse every record (max.message.bytes below the size of any of ours, and above
 * that of a transaction's marker) comes before the look that decides. Their transaction then fails
 * as a whole: what they wanted to copy stays where it was.
 */
#include "kafka/batch.h"
#include "kafka/topics_private.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define WAITING_TIMEOUT_MS 30000
#define GROW_TIMEOUT_MS 30000
#define SEALED_MAX_BYTES "100"
#define PROBE_BYTES 200
#define SEAL_TIMEOUT_MS 30000
#define DETAIL_MAX 200

struct migrating {
    struct topics_session session;
    const struct kafka_properties *properties;
    const struct kafka_migration *migration;
    bool *made;    /* by number of the wanted topic */
    bool *changed; /* the same */
    bool waits;
    struct fault *fault;
};

/* ---- settings ---- */

/* AlterConfigs replaces all of a topic's own settings: those it has are given again. */
static void keep_settings(rd_kafka_ConfigResource_t *to, const rd_kafka_ConfigResource_t *have,
                          const struct topic_setting *settings, size_t count)
{
    size_t entry_count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(have, &entry_count);
    for (size_t i = 0; i < entry_count; i++) {
        const char *name = rd_kafka_ConfigEntry_name(entries[i]);
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        bool ours = false;
        for (size_t k = 0; k < count; k++) {
            ours = ours || strcmp(settings[k].name, name) == 0;
        }
        if (!ours && value != NULL &&
            rd_kafka_ConfigEntry_source(entries[i]) ==
                RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG) {
            rd_kafka_ConfigResource_set_config(to, name, value);
        }
    }
    for (size_t k = 0; k < count; k++) {
        rd_kafka_ConfigResource_set_config(to, settings[k].name, settings[k].value);
    }
}

static rd_kafka_event_t *describe_topic(const struct topics_session *session, const char *topic)
{
    rd_kafka_ConfigResource_t *resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_AdminOptions_t *options = topics_options(session, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_DescribeConfigs(session->rk, &resource, 1, options, session->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy(resource);
    return topics_answer(session, topic);
}

static bool resource_ok(const struct topics_session *session,
                        const rd_kafka_ConfigResource_t **resources, size_t count,
                        const char *topic)
{
    rd_kafka_resp_err_t error =
        count == 1 ? rd_kafka_ConfigResource_error(resources[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ||
           fault_set(session->fault, kafka_fault_kind(error), (int)error, "%s: its settings: %s",
                     topic, rd_kafka_err2str(error));
}

/* Those settings, and all others as they are. */
static bool alter_topic(const struct topics_session *session, const char *topic,
                        const struct topic_setting *settings, size_t count)
{
    size_t resource_count;
    rd_kafka_event_t *event = describe_topic(session, topic);
    if (event == NULL) {
        return false;
    }
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &resource_count);
    bool ok = resource_ok(session, resources, resource_count, topic);
    if (ok) {
        rd_kafka_ConfigResource_t *to = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
        keep_settings(to, resources[0], settings, count);
        rd_kafka_AdminOptions_t *options = topics_options(session, RD_KAFKA_ADMIN_OP_ALTERCONFIGS);
        rd_kafka_AlterConfigs(session->rk, &to, 1, options, session->queue);
        rd_kafka_AdminOptions_destroy(options);
        rd_kafka_ConfigResource_destroy(to);
    }
    rd_kafka_event_destroy(event);
    if (!ok || (event = topics_answer(session, topic)) == NULL) {
        return false;
    }
    resources = rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event),
                                                       &resource_count);
    ok = resource_ok(session, resources, resource_count, topic);
    rd_kafka_event_destroy(event);
    return ok;
}

/* Where a setting differs from the plan's. */
static bool settle_settings(struct migrating *migrating, size_t index)
{
    const struct topics_session *session = &migrating->session;
    const struct topic_wanted *wanted = &session->wanted.items[index];
    size_t count;
    size_t entry_count;
    size_t right = 0;
    rd_kafka_event_t *event = describe_topic(session, wanted->name);
    if (event == NULL) {
        return false;
    }
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &count);
    bool ok = resource_ok(session, resources, count, wanted->name);
    if (ok) {
        const rd_kafka_ConfigEntry_t **entries =
            rd_kafka_ConfigResource_configs(resources[0], &entry_count);
        for (size_t i = 0; i < entry_count; i++) {
            for (size_t k = 0; k < wanted->setting_count; k++) {
                const char *value = rd_kafka_ConfigEntry_value(entries[i]);
                right +=
                    strcmp(rd_kafka_ConfigEntry_name(entries[i]), wanted->settings[k].name) == 0 &&
                    value != NULL && strcmp(value, wanted->settings[k].value) == 0;
            }
        }
    }
    rd_kafka_event_destroy(event);
    if (ok && right != wanted->setting_count) {
        migrating->changed[index] = true;
        ok = alter_topic(session, wanted->name, wanted->settings, wanted->setting_count);
    }
    return ok;
}

/* ---- partitions ---- */

static int partitions_of(const struct topics_session *session, const char *topic)
{
    const struct rd_kafka_metadata *metadata = topics_metadata(session);
    int count = -1;
    if (metadata != NULL) {
        const struct rd_kafka_metadata_topic *found = topics_find(metadata, topic);
        count = found == NULL ? 0 : found->partition_cnt;
        rd_kafka_metadata_destroy(metadata);
    }
    return count;
}

static bool add_partitions(const struct topics_session *session, const struct topic_wanted *wanted)
{
    char why[200];
    rd_kafka_NewPartitions_t *more =
        rd_kafka_NewPartitions_new(wanted->name, (size_t)wanted->partitions, why, sizeof(why));
    if (more == NULL) {
        return fault_set(session->fault, FAULT_INVALID, 0, "%s: %s", wanted->name, why);
    }
    rd_kafka_AdminOptions_t *options = topics_options(session, RD_KAFKA_ADMIN_OP_CREATEPARTITIONS);
    rd_kafka_CreatePartitions(session->rk, &more, 1, options, session->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewPartitions_destroy(more);
    rd_kafka_event_t *event = topics_answer(session, wanted->name);
    if (event == NULL) {
        return false;
    }
    size_t count;
    const rd_kafka_topic_result_t **results = rd_kafka_CreatePartitions_result_topics(
        rd_kafka_event_CreatePartitions_result(event), &count);
    rd_kafka_resp_err_t error =
        count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
    bool ok = error == RD_KAFKA_RESP_ERR_NO_ERROR ||
              fault_set(session->fault, kafka_fault_kind(error), (int)error, "%s: %s", wanted->name,
                        rd_kafka_err2str(error));
    rd_kafka_event_destroy(event);
    return ok;
}

static bool grow(struct migrating *migrating, size_t index)
{
    const struct topics_session *session = &migrating->session;
    const struct topic_wanted *wanted = &session->wanted.items[index];
    struct mono_time end = mono_add_ms(mono_now(), GROW_TIMEOUT_MS);
    int have = partitions_of(session, wanted->name);
    if (have < 0 || have >= wanted->partitions) {
        return have >= 0;
    }
    migrating->changed[index] = true;
    if (!add_partitions(session, wanted)) {
        return false;
    }
    while ((have = partitions_of(session, wanted->name)) < wanted->partitions) {
        if (have < 0) {
            return false;
        }
        if (!mono_before(mono_now(), end)) {
            return fault_set(session->fault, FAULT_TIMEOUT, 0,
                             "%s: its new partitions cannot be used yet", wanted->name);
        }
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return true;
}

static bool is_stream(const struct migrating *migrating, const struct topic_wanted *wanted)
{
    return strncmp(wanted->name + strlen(migrating->migration->plan->prefix), "q.", 2) == 0;
}

static bool grow_all(struct migrating *migrating)
{
    const struct topic_list *wanted = &migrating->session.wanted;
    bool grown = false;
    bool ok = true;
    for (size_t i = 0; ok && i < wanted->count; i++) {
        if (!is_stream(migrating, &wanted->items[i])) {
            ok = grow(migrating, i);
            grown = grown || migrating->changed[i] || migrating->made[i];
        }
    }
    for (size_t i = 0; ok && i < wanted->count; i++) {
        if (!is_stream(migrating, &wanted->items[i])) {
            continue;
        }
        if (grown && partitions_of(&migrating->session, wanted->items[i].name) <
                         wanted->items[i].partitions) {
            int ms = migrating->migration->settle_ms;
            nanosleep(&(struct timespec){ms / 1000, (ms % 1000) * 1000000L}, NULL);
            grown = false;
        }
        ok = grow(migrating, i);
    }
    return ok;
}

/* ---- what the plan does not have ---- */

static bool is_assigned(const rd_kafka_ConsumerGroupDescription_t *group, const char *topic)
{
    size_t members = rd_kafka_ConsumerGroupDescription_member_count(group);
    for (size_t i = 0; i < members; i++) {
        const rd_kafka_topic_partition_list_t *list =
            rd_kafka_MemberAssignment_partitions(rd_kafka_MemberDescription_assignment(
                rd_kafka_ConsumerGroupDescription_member(group, i)));
        for (int k = 0; list != NULL && k < list->cnt; k++) {
            if (strcmp(list->elems[k].topic, topic) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Whether a member of the group has it. False: the fault. */
static bool ask_members(const struct migrating *migrating, const char *topic, bool *assigned)
{
    const struct topics_session *session = &migrating->session;
    size_t count;
    const char *name = migrating->migration->group;
    rd_kafka_AdminOptions_t *options =
        topics_options(session, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    rd_kafka_DescribeConsumerGroups(session->rk, &name, 1, options, session->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_event_t *event = topics_answer(session, name);
    if (event == NULL) {
        return false;
    }
    const rd_kafka_ConsumerGroupDescription_t **groups =
        rd_kafka_DescribeConsumerGroups_result_groups(
            rd_kafka_event_DescribeConsumerGroups_result(event), &count);
    const rd_kafka_error_t *error =
        count == 1 ? rd_kafka_ConsumerGroupDescription_error(groups[0]) : NULL;
    rd_kafka_resp_err_t code =
        error == NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(error);
    bool none = code == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND;
    bool ok = count == 1 && (none || code == RD_KAFKA_RESP_ERR_NO_ERROR);
    if (ok) {
        *assigned = !none && is_assigned(groups[0], topic);
    } else {
        fault_set(session->fault, FAULT_TEMPORARY, (int)code, "group %s: %s", name,
                  error == NULL ? "not described" : rd_kafka_error_string(error));
    }
    rd_kafka_event_destroy(event);
    return ok;
}

static bool delete_topic(const struct topics_session *session, const char *name)
{
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    rd_kafka_AdminOptions_t *options = topics_options(session, RD_KAFKA_ADMIN_OP_DELETETOPICS);
    rd_kafka_DeleteTopics(session->rk, &topic, 1, options, session->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_DeleteTopic_destroy(topic);
    rd_kafka_event_t *event = topics_answer(session, name);
    if (event == NULL) {
        return false;
    }
    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
    rd_kafka_resp_err_t error =
        count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
    bool ok = error == RD_KAFKA_RESP_ERR_NO_ERROR ||
              error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
              fault_set(session->fault, kafka_fault_kind(error), (int)error, "%s: %s", name,
                        rd_kafka_err2str(error));
    rd_kafka_event_destroy(event);
    return ok;
}

static void tell_waits(struct migrating *migrating, const char *topic, const char *detail)
{
    migrating->waits = true;
    topics_tell(&migrating->session, topic, KAFKA_TOPIC_WAITS, detail);
}

/* Tells why it cannot go yet. -1: the fault, 0: it waits, 1: nothing is in the way. */
static int may_go(struct migrating *migrating, const char *topic)
{
    char detail[DETAIL_MAX];
    bool assigned = false;
    int waiting = kafka_topic_waiting(migrating->properties, migrating->migration->group, topic,
                                      WAITING_TIMEOUT_MS, migrating->fault);
    if (waiting < 0 || !ask_members(migrating, topic, &assigned)) {
        return -1;
    }
    if (waiting > 0) {
        snprintf(detail, sizeof(detail), "%d partitions have records that wait; %s", waiting,
                 assigned ? "workers move them on" : "no worker reads it: restart one");
    } else if (assigned) {
        snprintf(detail, sizeof(detail),
                 "empty; a worker that is restarted does not read it again");
    } else {
        return 1;
    }
    tell_waits(migrating, topic, detail);
    return 0;
}

/* Brokers answer before the new setting is in force with them. */
static bool wait_partition_sealed(struct kafka_batch *batch, const char *topic, int32_t partition,
                                  struct fault *fault)
{
    struct mono_time end = mono_add_ms(mono_now(), SEAL_TIMEOUT_MS);
    for (;;) {
        switch (kafka_batch_probe(batch, topic, partition, PROBE_BYTES, fault)) {
        case KAFKA_PROBE_TOO_LARGE: return true;
        case KAFKA_PROBE_TAKEN:
            fault_set(fault, FAULT_TIMEOUT, 0, "%s [%d] cannot be closed to writers", topic,
                      partition);
            break;
        case KAFKA_PROBE_FAILED:
            if (fault->kind != FAULT_TEMPORARY) {
                return false;
            }
            break;
        }
        if (!mono_before(mono_now(), end)) {
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
}

static bool wait_sealed(struct migrating *migrating, const char *topic)
{
    char id[KAFKA_TOPIC_NAME_MAX + 32];
    int partitions = partitions_of(&migrating->session, topic);
    snprintf(id, sizeof(id), "%ssluicectl-migrate", migrating->migration->plan->prefix);
    struct kafka_batch *batch = partitions < 0
                                    ? NULL
                                    : kafka_batch_open(migrating->properties, id, "sluicectl",
                                                       SEAL_TIMEOUT_MS, migrating->fault);
    bool ok = batch != NULL;
    for (int32_t i = 0; ok && i < partitions; i++) {
        ok = wait_partition_sealed(batch, topic, i, migrating->fault);
    }
    kafka_batch_free(&batch);
    return ok;
}

static bool end_surplus(struct migrating *migrating, const char *topic)
{
    static const struct topic_setting sealed = {"max.message.bytes", SEALED_MAX_BYTES};
    const struct topics_session *session = &migrating->session;
    int free_to_go = may_go(migrating, topic);
    if (free_to_go <= 0) {
        return free_to_go == 0;
    }
    if (!migrating->migration->deletes) {
        tell_waits(migrating, topic, "empty; nobody reads it");
        return true;
    }
    if (!alter_topic(session, topic, &sealed, 1) || !wait_sealed(migrating, topic) ||
        (free_to_go = may_go(migrating, topic)) < 0) {
        return false;
    }
    if (free_to_go > 0) {
        if (!delete_topic(session, topic)) {
            return false;
        }
        topics_tell(session, topic, KAFKA_TOPIC_DELETED, "");
    }
    return true;
}

static bool end_all_surplus(struct migrating *migrating)
{
    const struct rd_kafka_metadata *metadata = topics_metadata(&migrating->session);
    bool ok = metadata != NULL;
    for (int i = 0; ok && i < metadata->topic_cnt; i++) {
        if (topic_is_surplus(migrating->migration->plan, metadata->topics[i].topic)) {
            ok = end_surplus(migrating, metadata->topics[i].topic);
        }
    }
    if (metadata != NULL) {
        rd_kafka_metadata_destroy(metadata);
    }
    return ok;
}

/* ---- all of it ---- */

static bool migrate(struct migrating *migrating)
{
    struct topics_session *session = &migrating->session;
    if (!topics_create_missing(session, migrating->made)) {
        return false;
    }
    for (size_t i = 0; i < session->wanted.count; i++) {
        if (!settle_settings(migrating, i)) {
            return false;
        }
    }
    if (!grow_all(migrating)) {
        return false;
    }
    for (size_t i = 0; i < session->wanted.count; i++) {
        migrating->changed[i] = migrating->changed[i] || migrating->made[i];
    }
    return topics_verify(session, migrating->changed, KAFKA_TOPIC_CHANGED) &&
           end_all_surplus(migrating);
}

enum kafka_migrated kafka_topics_migrate(const struct kafka_properties *properties,
                                         const struct kafka_migration *migration,
                                         kafka_topic_report report, void *owner,
                                         struct fault *fault)
{
    struct migrating migrating = {
        .session = {.plan = migration->plan, .report = report, .owner = owner, .fault = fault},
        .properties = properties,
        .migration = migration,
        .fault = fault};
    if (!topics_session_begin(&migrating.session, properties)) {
        return KAFKA_MIGRATION_FAILED;
    }
    migrating.made = mem_calloc(migrating.session.wanted.count, sizeof(bool));
    migrating.changed = mem_calloc(migrating.session.wanted.count, sizeof(bool));
    bool ok = migrate(&migrating);
    mem_free(migrating.made);
    mem_free(migrating.changed);
    topics_session_end(&migrating.session);
    return !ok ? KAFKA_MIGRATION_FAILED : migrating.waits ? KAFKA_MIGRATION_WAITS : KAFKA_MIGRATED;
}
