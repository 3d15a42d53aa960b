#include "bouncer/actions.h"

#include "base/mem.h"
#include "bouncer/actions_private.h"

#include <pthread.h>
#include <stdarg.h>

#define ACTIONS_MAGIC 0x41435453u
#define THREADS 8

struct actions {
    uint32_t magic;
    const char *host_name;
    struct mailbox *mailbox;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct list waiting;
    bool stopping;
    pthread_t threads[THREADS];
};

bool action_failed(struct action_job *job, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(job->problem, sizeof(job->problem), format, args);
    va_end(args);
    return false;
}

const char *action_name(enum config_action_do what)
{
    switch (what) {
    case CONFIG_DO_PASS: return "pass";
    case CONFIG_DO_DROP: return "drop";
    case CONFIG_DO_QUARANTINE: return "quarantine";
    case CONFIG_DO_FORWARD: return "forward";
    case CONFIG_DO_MBOX: return "mbox";
    case CONFIG_DO_MAILDIR: return "maildir";
    case CONFIG_DO_FILE: return "file";
    case CONFIG_DO_PIPE: return "pipe";
    case CONFIG_DO_POST: return "post";
    }
    return "pass";
}

bool action_has_work(const struct config_action *action)
{
    return action->what != CONFIG_DO_PASS && action->what != CONFIG_DO_DROP;
}

static bool carry_out(const struct actions *actions, struct action_job *job)
{
    switch (job->action->what) {
    case CONFIG_DO_QUARANTINE:
    case CONFIG_DO_MBOX:
    case CONFIG_DO_MAILDIR:
    case CONFIG_DO_FILE: return action_store(job, actions->host_name);
    case CONFIG_DO_PIPE: return action_pipe(job);
    case CONFIG_DO_POST:
    case CONFIG_DO_FORWARD: return action_send(job, actions->host_name);
    case CONFIG_DO_PASS:
    case CONFIG_DO_DROP: break;
    }
    return true;
}

static void *work(void *argument)
{
    struct actions *actions = argument;
    CHECK_MAGIC(actions, ACTIONS_MAGIC);
    pthread_mutex_lock(&actions->lock);
    for (;;) {
        while (list_empty(&actions->waiting) && !actions->stopping) {
            pthread_cond_wait(&actions->more, &actions->lock);
        }
        if (list_empty(&actions->waiting)) {
            break;
        }
        struct list *node = list_pop_front(&actions->waiting);
        struct action_job *job = CONTAINER_OF(node, struct action_job, node);
        bool stopping = actions->stopping;
        pthread_mutex_unlock(&actions->lock);
        if (stopping) {
            job->ok = action_failed(job, "shutting down");
        } else if (mono_before(job->start_by, mono_now())) {
            job->ok = action_failed(job, "too many wait for their action");
        } else {
            job->ok = carry_out(actions, job);
        }
        mailbox_post(actions->mailbox, &job->letter);
        pthread_mutex_lock(&actions->lock);
    }
    pthread_mutex_unlock(&actions->lock);
    return NULL;
}

static void finished(struct letter *letter, void *owner)
{
    struct action_job *job = CONTAINER_OF(letter, struct action_job, letter);
    const struct actions *actions = owner;
    CHECK_MAGIC(actions, ACTIONS_MAGIC);
    job->done(job, job->ok, job->problem);
}

struct actions *actions_create(struct io_loop *loop, const char *host_name, struct fault *fault)
{
    struct actions *actions = mem_zalloc(sizeof(*actions));
    actions->magic = ACTIONS_MAGIC;
    actions->host_name = host_name;
    list_init(&actions->waiting);
    actions->mailbox = mailbox_create(loop, finished, actions, fault);
    if (actions->mailbox == NULL) {
        mem_free(actions);
        return NULL;
    }
    CHECK(pthread_mutex_init(&actions->lock, NULL) == 0);
    CHECK(pthread_cond_init(&actions->more, NULL) == 0);
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&actions->threads[i], NULL, work, actions) == 0);
    }
    return actions;
}

void actions_free(struct actions **handle)
{
    struct actions *actions = *handle;
    if (actions == NULL) {
        return;
    }
    CHECK_MAGIC(actions, ACTIONS_MAGIC);
    pthread_mutex_lock(&actions->lock);
    actions->stopping = true;
    pthread_cond_broadcast(&actions->more);
    pthread_mutex_unlock(&actions->lock);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(actions->threads[i], NULL);
    }
    mailbox_free(&actions->mailbox);
    pthread_cond_destroy(&actions->more);
    pthread_mutex_destroy(&actions->lock);
    actions->magic = 0;
    mem_free(actions);
    *handle = NULL;
}

void actions_start(struct actions *actions, struct action_job *job)
{
    CHECK_MAGIC(actions, ACTIONS_MAGIC);
    pthread_mutex_lock(&actions->lock);
    list_push_back(&actions->waiting, &job->node);
    pthread_cond_signal(&actions->more);
    pthread_mutex_unlock(&actions->lock);
}
