#include "producer/auth.h"

#include "base/hash.h"
#include "base/mem.h"
#include "io/mailbox.h"
#include "producer/password.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>

#define AUTH_MAGIC 0x61757468u
#define JOB_MAGIC 0x616a6f62u
#define AUTH_THREADS 2
#define RECENT_MS 60000

struct auth_job {
    uint32_t magic;
    struct letter letter;
    struct list node;
    auth_callback callback; /* NULL: cancelled; the loop's alone */
    void *owner;
    struct slice name, password; /* in text[] */
    bool known;
    bool matches; /* written by the thread, read after the letter came */
    char hash[PASSWORD_HASH_MAX];
    char text[];
};

struct auth {
    uint32_t magic;
    struct io_loop *loop;
    struct users *users;
    char decoy[PASSWORD_HASH_MAX]; /* of no password */
    uint64_t keys[4];
    struct mailbox *mailbox;
    size_t open; /* jobs started, not yet home */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t work;
    struct list queue;
    bool stopping;
    pthread_t threads[AUTH_THREADS];
    size_t thread_count;
};

static void *check_logins(void *argument)
{
    struct auth *auth = argument;
    CHECK_MAGIC(auth, AUTH_MAGIC);
    pthread_mutex_lock(&auth->mutex);
    for (;;) {
        while (list_empty(&auth->queue) && !auth->stopping) {
            pthread_cond_wait(&auth->work, &auth->mutex);
        }
        struct list *node = auth->stopping ? NULL : list_pop_front(&auth->queue);
        if (node == NULL) {
            break;
        }
        pthread_mutex_unlock(&auth->mutex);
        struct auth_job *job = CONTAINER_OF(node, struct auth_job, node);
        job->matches = password_matches(job->hash, job->password);
        mailbox_post(auth->mailbox, &job->letter);
        pthread_mutex_lock(&auth->mutex);
    }
    pthread_mutex_unlock(&auth->mutex);
    return NULL;
}

static void job_free(struct auth_job *job)
{
    explicit_bzero(job->text, job->name.len + job->password.len);
    job->magic = 0;
    mem_free(job);
}

static void recent_hash(const struct auth *auth, struct slice password, uint64_t out[2])
{
    out[0] = hash_sip(password, auth->keys[0], auth->keys[1]);
    out[1] = hash_sip(password, auth->keys[2], auth->keys[3]);
}

static void came_home(struct letter *letter, void *owner)
{
    struct auth *auth = owner;
    struct auth_job *job = CONTAINER_OF(letter, struct auth_job, letter);
    CHECK_MAGIC(auth, AUTH_MAGIC);
    CHECK_MAGIC(job, JOB_MAGIC);
    auth->open--;
    /* The table may have changed meanwhile. */
    struct user *user = users_named(auth->users, job->name);
    bool ok = job->known && job->matches && user != NULL && strcmp(user->hash, job->hash) == 0;
    if (ok) {
        recent_hash(auth, job->password, user->recent);
        user->recent_until = mono_add_ms(io_loop_now(auth->loop), RECENT_MS);
    }
    if (job->callback != NULL) {
        job->callback(job->owner, ok);
    }
    job_free(job);
}

/* The hash of a random password that nobody knows. */
static bool make_decoy(struct auth *auth, struct fault *fault)
{
    char random[33];
    uint8_t bytes[16];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        return fault_set_errno(fault, errno, "random numbers");
    }
    for (size_t i = 0; i < sizeof(bytes); i++) {
        snprintf(random + 2 * i, 3, "%02x", bytes[i]);
    }
    return password_hash(slice_of(random, 32), auth->decoy, fault);
}

/* Same costs as the users': the settings of one of them in place of ours. */
static void set_decoy_costs(struct auth *auth)
{
    const struct user *user = users_any(auth->users);
    char joined[2 * PASSWORD_HASH_MAX];
    const char *own = auth->decoy + strlen("$argon2id$v=19$");
    if (user == NULL) {
        return;
    }
    const char *theirs = user->hash + strlen("$argon2id$v=19$");
    int len = snprintf(joined, sizeof(joined), "$argon2id$v=19$%.*s%s", (int)strcspn(theirs, "$"),
                       theirs, own + strcspn(own, "$"));
    if (len > 0 && len < PASSWORD_HASH_MAX) {
        memcpy(auth->decoy, joined, (size_t)len + 1);
    }
}

static bool start_threads(struct auth *auth, struct fault *fault)
{
    for (size_t i = 0; i < AUTH_THREADS; i++) {
        int error = pthread_create(&auth->threads[i], NULL, check_logins, auth);
        if (error != 0) {
            return fault_set_errno(fault, error, "thread");
        }
        auth->thread_count++;
    }
    return true;
}

struct auth *auth_create(struct io_loop *loop, struct users **users, struct fault *fault)
{
    struct auth *auth = mem_zalloc(sizeof(*auth));
    auth->magic = AUTH_MAGIC;
    auth->loop = loop;
    auth->users = *users;
    *users = NULL;
    list_init(&auth->queue);
    CHECK(pthread_mutex_init(&auth->mutex, NULL) == 0 && pthread_cond_init(&auth->work, NULL) == 0);
    if (getrandom(auth->keys, sizeof(auth->keys), 0) != (ssize_t)sizeof(auth->keys)) {
        fault_set_errno(fault, errno, "random numbers");
        auth_free(&auth);
        return NULL;
    }
    auth->mailbox = mailbox_create(loop, came_home, auth, fault);
    if (auth->mailbox == NULL || !make_decoy(auth, fault) || !start_threads(auth, fault)) {
        auth_free(&auth);
        return NULL;
    }
    set_decoy_costs(auth);
    return auth;
}

void auth_free(struct auth **handle)
{
    struct auth *auth = *handle;
    struct list *node;
    if (auth == NULL) {
        return;
    }
    CHECK_MAGIC(auth, AUTH_MAGIC);
    pthread_mutex_lock(&auth->mutex);
    auth->stopping = true;
    pthread_cond_broadcast(&auth->work);
    pthread_mutex_unlock(&auth->mutex);
    for (size_t i = 0; i < auth->thread_count; i++) {
        pthread_join(auth->threads[i], NULL);
    }
    if (auth->mailbox != NULL) {
        mailbox_free(&auth->mailbox); /* brings home what the threads had done */
    }
    while ((node = list_pop_front(&auth->queue)) != NULL) {
        job_free(CONTAINER_OF(node, struct auth_job, node));
        auth->open--;
    }
    CHECK(auth->open == 0);
    users_free(&auth->users);
    pthread_mutex_destroy(&auth->mutex);
    pthread_cond_destroy(&auth->work);
    explicit_bzero(auth, sizeof(*auth));
    mem_free(auth);
    *handle = NULL;
}

void auth_set_users(struct auth *auth, struct users **users)
{
    CHECK_MAGIC(auth, AUTH_MAGIC);
    users_free(&auth->users);
    auth->users = *users;
    *users = NULL;
    set_decoy_costs(auth);
}

const struct user *auth_user(const struct auth *auth, struct slice name)
{
    CHECK_MAGIC(auth, AUTH_MAGIC);
    return users_named(auth->users, name);
}

bool auth_recent(struct auth *auth, struct slice name, struct slice password)
{
    uint64_t given[2];
    CHECK_MAGIC(auth, AUTH_MAGIC);
    const struct user *user = users_named(auth->users, name);
    if (user == NULL || !mono_before(io_loop_now(auth->loop), user->recent_until)) {
        return false;
    }
    recent_hash(auth, password, given);
    return ((given[0] ^ user->recent[0]) | (given[1] ^ user->recent[1])) == 0;
}

struct auth_job *auth_start(struct auth *auth, struct slice name, struct slice password,
                            auth_callback callback, void *owner)
{
    CHECK_MAGIC(auth, AUTH_MAGIC);
    const struct user *user = users_named(auth->users, name);
    struct auth_job *job =
        auth->open >= AUTH_QUEUE_MAX ? NULL : mem_try_alloc(sizeof(*job) + name.len + password.len);
    if (job == NULL) {
        return NULL;
    }
    *job = (struct auth_job){
        .magic = JOB_MAGIC,
        .callback = callback,
        .owner = owner,
        .known = user != NULL,
        .name = slice_of(job->text, name.len),
        .password = slice_of(job->text + name.len, password.len),
    };
    memcpy(job->text, name.ptr, name.len);
    memcpy(job->text + name.len, password.ptr, password.len);
    snprintf(job->hash, sizeof(job->hash), "%s", user != NULL ? user->hash : auth->decoy);
    auth->open++;
    pthread_mutex_lock(&auth->mutex);
    list_push_back(&auth->queue, &job->node);
    pthread_cond_signal(&auth->work);
    pthread_mutex_unlock(&auth->mutex);
    return job;
}

void auth_cancel(struct auth_job **handle)
{
    struct auth_job *job = *handle;
    if (job != NULL) {
        CHECK_MAGIC(job, JOB_MAGIC);
        job->callback = NULL;
        *handle = NULL;
    }
}
