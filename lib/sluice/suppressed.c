/*
 * Who is on the suppression list is refused at publishing, where the application asked for it: the
 * list is followed like in our own programs (suppress/follow.h). Its checker belongs to one thread
 * at a time, so a lock stands before it; a look-up takes less than a microsecond.
 */
#include "sluice/sluice_private.h"

#include "base/mem.h"
#include "suppress/check.h"
#include "suppress/follow.h"

#include <inttypes.h>

#define TOPIC "suppression"

static struct suppress_checker *checker_of(struct sluice *sluice)
{
    return atomic_load_explicit(&sluice->checker, memory_order_acquire);
}

enum sluice_result sluice_follow_suppression(struct sluice *sluice, int timeout_ms,
                                             struct sluice_error *error)
{
    struct fault fault = {0};
    CHECK_MAGIC(sluice, SLUICE_MAGIC);
    pthread_mutex_lock(&sluice->mutex);
    if (sluice->follow == NULL) {
        size_t size = strlen(sluice->prefix) + sizeof(TOPIC);
        sluice->suppression_topic = mem_zalloc(size);
        snprintf(sluice->suppression_topic, size, "%s" TOPIC, sluice->prefix);
        sluice->follow = suppress_follow_start(&sluice->properties, sluice->suppression_topic);
    }
    pthread_mutex_unlock(&sluice->mutex);
    if (!suppress_follow_loaded(sluice->follow, timeout_ms)) {
        fault_set(&fault, FAULT_TIMEOUT, 0, "%s: %" PRIu64 " records read, more to come",
                  sluice->suppression_topic, suppress_follow_applied(sluice->follow));
        return error_from_fault(error, &fault);
    }
    pthread_mutex_lock(&sluice->mutex);
    if (checker_of(sluice) == NULL) {
        atomic_store_explicit(
            &sluice->checker,
            suppress_checker_open(suppress_follow_set(sluice->follow), sluice->config),
            memory_order_release);
    }
    pthread_mutex_unlock(&sluice->mutex);
    return error_from_fault(error, &fault);
}

/* Lists are known by the configuration's `suppression`; without one they are not looked at. */
static bool look(const struct sluice *sluice, struct suppress_checker *checker,
                 const struct message *message, size_t i, struct suppress_found *found)
{
    int64_t now_ms = wall_now().ms;
    if (sluice->config != NULL) {
        return suppress_check_message(checker, message, i, now_ms, found);
    }
    return suppress_check_address(checker, message->tenant, message->recipients[i].address,
                                  message->domain, now_ms, found);
}

size_t suppressed_next(struct sluice *sluice, const struct message *message, size_t from,
                       struct sluice_error *error)
{
    struct suppress_checker *checker = checker_of(sluice);
    struct suppress_found found;
    char text[SUPPRESS_FOUND_TEXT_MAX];
    bool held = false;
    size_t i = from;
    if (checker == NULL) {
        return message->recipient_count;
    }
    pthread_mutex_lock(&sluice->mutex);
    while (i < message->recipient_count && !(held = look(sluice, checker, message, i, &found))) {
        i++;
    }
    pthread_mutex_unlock(&sluice->mutex);
    if (held && error != NULL) {
        struct slice why = suppress_found_text(&found, text);
        error->result = SLUICE_SUPPRESSED;
        snprintf(error->text, sizeof(error->text),
                 "recipients[%zu].address: on the suppression list: %.*s", i, SLICE_FMT(why));
    }
    return i;
}

size_t sluice_suppressed(struct sluice *sluice, const struct sluice_message *message,
                         sluice_refused refused, void *opaque)
{
    struct message converted;
    struct sluice_error error;
    struct fault fault = {0};
    size_t count = 0;
    CHECK_MAGIC(sluice, SLUICE_MAGIC);
    struct arena *arena = arena_create(CONVERT_FIRST_BYTES, CONVERT_MAX_BYTES);
    if (arena != NULL && convert_message(message, arena, &converted, &fault)) {
        for (size_t i = 0;
             (i = suppressed_next(sluice, &converted, i, &error)) < converted.recipient_count;
             i++) {
            count++;
            if (refused != NULL) {
                refused(opaque, i, &error);
            }
        }
    }
    arena_free(&arena);
    return count;
}

void suppressed_free(struct sluice *sluice)
{
    struct suppress_checker *checker = checker_of(sluice);
    suppress_checker_close(&checker);
    suppress_follow_stop(&sluice->follow);
    mem_free(sluice->suppression_topic);
}
