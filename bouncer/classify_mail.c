/*
 * See classify_mail.h. A message that cannot be opened or is none is one line of output too: who
 * runs this over an archive wants an answer for every file.
 */
#include "bouncer/classify_mail.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ARENA_FIRST_BYTES = 256 << 10, /* enough for an ordinary report, so that one allocation does */
    NAME_BYTES = 4096,
    DEPTH_MAX = 8,    /* folders in folders */
    TAIL_BYTES = 700, /* of a long text, when its front says nothing */
    NOTICE_BYTES = 1500,
    CONFIDENT = 50,    /* below this the notice is asked for a second opinion */
    SAYS_NOTHING = 25, /* below this the whole notice and the subject are asked too */
};

static enum smtp_phase phase_of(enum returned_phase phase)
{
    switch (phase) {
    case RETURNED_PHASE_UNKNOWN: return SMTP_PHASE_NONE;
    case RETURNED_PHASE_CONNECT: return SMTP_PHASE_GREETING;
    case RETURNED_PHASE_HELO: return SMTP_PHASE_EHLO;
    case RETURNED_PHASE_MAIL: return SMTP_PHASE_MAIL;
    case RETURNED_PHASE_RCPT: return SMTP_PHASE_RCPT;
    case RETURNED_PHASE_DATA: return SMTP_PHASE_MESSAGE;
    }
    return SMTP_PHASE_NONE;
}

/* The class that needs no classifier, because the kind of the mail says it all; false for failures.
 */
static bool class_of_kind(const struct returned_mail *mail,
                          const struct returned_recipient *recipient, enum bounce_class *class)
{
    switch (mail->kind) {
    case RETURNED_BOUNCE:
    case RETURNED_DELAYED:
    case RETURNED_DELIVERED:
        if (recipient->action == RETURNED_ACTION_DELAYED) {
            *class = BOUNCE_DELAYED;
            return true;
        }
        *class = BOUNCE_DELIVERED;
        return recipient->action == RETURNED_ACTION_DELIVERED;
    case RETURNED_COMPLAINT: *class = BOUNCE_COMPLAINT; return true;
    case RETURNED_AUTH_REPORT: *class = BOUNCE_AUTH_REPORT; return true;
    case RETURNED_AUTO_REPLY: *class = BOUNCE_AUTO_REPLY; return true;
    case RETURNED_CHALLENGE_RESPONSE: *class = BOUNCE_CHALLENGE_RESPONSE; return true;
    case RETURNED_UNSUBSCRIBE: *class = BOUNCE_UNSUBSCRIBE; return true;
    case RETURNED_OPT_OUT: *class = BOUNCE_OPT_OUT; return true;
    case RETURNED_NOT_A_BOUNCE: *class = BOUNCE_NOT_A_BOUNCE; return true;
    }
    return false;
}

static bool is_generic(struct smtp_enhanced enhanced)
{
    return enhanced.klass == 0 || (enhanced.subject == 0 && enhanced.detail == 0);
}

/* The envelope sender: of the returned message, else the address that the report was sent to. */
static struct slice sender_of(const struct returned_original *original)
{
    if (original->return_path.len > 0) {
        return original->return_path;
    }
    return original->verp.len > 0 ? original->verp : original->from;
}

/*
 * The text that stands for the recipient; where that says little, what the notice says around it,
 * or the end of a text that is longer than what the classifier looks at; where all that says
 * nothing, what the notice says at all, the notice as a whole and the subject of the report. The
 * last run is the one whose result stays in the scratch.
 */
static void run_texts(const struct classify_mail *how, struct classify_input *input,
                      const struct returned_mail *mail, const struct returned_recipient *recipient,
                      struct classify_result *result)
{
    struct slice tail = slice_skip(
        recipient->text, recipient->text.len > TAIL_BYTES ? recipient->text.len - TAIL_BYTES : 0);
    ptrdiff_t line = slice_find_byte(tail, '\n');
    const struct slice others[] = {recipient->notice,
                                   slice_skip(tail, line < 0 ? 0 : (size_t)line + 1),
                                   slice_head(mail->essence, NOTICE_BYTES),
                                   slice_head(mail->notice, NOTICE_BYTES), mail->subject};
    const size_t own = 2; /* of these, those that are about this recipient */
    classifier_run(how->classifier, how->scratch, input, result);
    enum bounce_class best_class = result->class;
    uint8_t best = result->confidence;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        uint8_t enough = i < own ? CONFIDENT : SAYS_NOTHING;
        if (best_class != BOUNCE_UNDETERMINED && best >= enough) {
            return;
        }
        if (others[i].ptr == NULL || others[i].len == 0 || slice_eq(others[i], recipient->text)) {
            continue;
        }
        input->text = others[i];
        classifier_run(how->classifier, how->scratch, input, result);
        if (result->class != BOUNCE_UNDETERMINED && result->confidence > best) {
            return;
        }
        input->text = recipient->text;
        classifier_run(how->classifier, how->scratch, input, result);
    }
}

void classify_mail_recipient(const struct classify_mail *how, const struct returned_mail *mail,
                             const struct returned_recipient *recipient,
                             struct classify_result *result)
{
    struct classify_input input = {
        .phase = phase_of(recipient->phase),
        .code = recipient->code,
        .text = recipient->text,
        .remote_host = recipient->remote_mta,
        .recipient = recipient->address,
        .sender = sender_of(&mail->original),
        .message_id = mail->original.message_id,
        /* A 5xx is final by itself, whoever reports it. */
        .given_up = recipient->action == RETURNED_ACTION_FAILED && recipient->code / 100 != 5,
    };
    /* The code inside the reply is the remote server's own; Status is often a generic one of the
     * reporting system. */
    struct slice inside = recipient->enhanced;
    struct slice outside = recipient->status;
    (void)(inside.len > 0 && smtp_enhanced_take(&inside, &input.enhanced));
    if (is_generic(input.enhanced) && outside.len > 0) {
        (void)smtp_enhanced_take(&outside, &input.enhanced);
    }
    run_texts(how, &input, mail, recipient, result);
    enum bounce_class class = BOUNCE_UNDETERMINED;
    if (class_of_kind(mail, recipient, &class)) {
        result->class = class;
        result->disposition = bounce_class_disposition(class, false);
        result->scope = bounce_class_scope(class);
    }
}

/* Bytes as a JSON text; what is no UTF-8 becomes "?". */
static json_t *json_of(struct slice s)
{
    json_t *text = json_stringn(s.ptr == NULL ? "" : s.ptr, s.len);
    if (text != NULL) {
        return text;
    }
    char *copy = mem_strndup(s.ptr, s.len);
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)copy[i] >= 0x80) {
            copy[i] = '?';
        }
    }
    text = json_stringn(copy, s.len);
    mem_free(copy);
    return text;
}

static void set(json_t *object, const char *key, struct slice value)
{
    CHECK(json_object_set_new_nocheck(object, key, json_of(value)) == 0);
}

static void print_line(json_t *object)
{
    char *line = json_dumps(object, JSON_COMPACT);
    CHECK(line != NULL);
    (void)puts(line);
    free(line);
    json_decref(object);
}

static json_t *json_of_original(const struct returned_original *original)
{
    json_t *object = json_object();
    set(object, "message_id", original->message_id);
    set(object, "from", original->from);
    set(object, "to", original->to);
    set(object, "subject", original->subject);
    set(object, "tenant", original->tenant);
    set(object, "campaign", original->campaign);
    return object;
}

static json_t *json_of_recipient(const struct classify_mail *how, const struct returned_mail *mail,
                                 const struct returned_recipient *recipient)
{
    struct classify_result result;
    classify_mail_recipient(how, mail, recipient, &result);
    json_t *object = json_object();
    set(object, "address", recipient->address);
    if (recipient->original.len > 0) {
        set(object, "original_recipient", recipient->original);
    }
    set(object, "class", slice_cstr(bounce_class_name(result.class)));
    set(object, "disposition", slice_cstr(bounce_disposition_name(result.disposition)));
    set(object, "status", recipient->status.len > 0 ? recipient->status : recipient->enhanced);
    CHECK(json_object_set_new(object, "code",
                              recipient->code > 0 ? json_integer(recipient->code) : json_null()) ==
          0);
    set(object, "text", recipient->text);
    set(object, "cause", result.cause);
    set(object, "provider", slice_cstr(result.provider));
    set(object, "rule", slice_cstr(result.rule));
    set(object, "reporting_mta", recipient->reporting_mta);
    set(object, "remote_mta", recipient->remote_mta);
    return object;
}

static void print_json(const struct classify_mail *how, const char *name,
                       const struct returned_mail *mail)
{
    json_t *object = json_object();
    set(object, "file", slice_cstr(name));
    set(object, "kind", slice_cstr(returned_kind_name(mail->kind)));
    CHECK(json_object_set_new(object, "original", json_of_original(&mail->original)) == 0);
    json_t *recipients = json_array();
    for (size_t i = 0; i < mail->recipient_count; i++) {
        CHECK(json_array_append_new(recipients,
                                    json_of_recipient(how, mail, &mail->recipients[i])) == 0);
    }
    CHECK(json_object_set_new(object, "recipients", recipients) == 0);
    if (mail->cut) {
        CHECK(json_object_set_new(object, "cut", json_true()) == 0);
    }
    print_line(object);
}

/* Control bytes of a stranger's text must not reach a terminal. */
static void print_clean(struct slice s, size_t most)
{
    for (size_t i = 0; i < s.len && i < most; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        (void)putchar(c < ' ' || c == 0x7f ? ' ' : c);
    }
}

static void print_table(const struct classify_mail *how, const char *name,
                        const struct returned_mail *mail)
{
    (void)printf("%s: %s", name, returned_kind_name(mail->kind));
    if (mail->original.message_id.len > 0) {
        (void)fputs(" of ", stdout);
        print_clean(mail->original.message_id, 200);
    }
    (void)putchar('\n');
    for (size_t i = 0; i < mail->recipient_count; i++) {
        struct classify_result result;
        const struct returned_recipient *recipient = &mail->recipients[i];
        classify_mail_recipient(how, mail, recipient, &result);
        (void)printf("  %-18s %-13s ", bounce_class_name(result.class),
                     bounce_disposition_name(result.disposition));
        print_clean(recipient->address.len > 0 ? recipient->address : SLICE("(not named)"), 254);
        (void)fputs("  ", stdout);
        print_clean(recipient->text, 160);
        (void)putchar('\n');
    }
}

static bool print_error(const struct classify_mail *how, const char *name, const char *problem)
{
    if (!how->json) {
        (void)printf("%s: error: %s\n", name, problem);
        return false;
    }
    json_t *object = json_object();
    set(object, "file", slice_cstr(name));
    set(object, "error", slice_cstr(problem));
    print_line(object);
    return false;
}

bool classify_mail_bytes(const struct classify_mail *how, const char *name, struct slice bytes)
{
    struct fault fault = {0};
    struct returned_mail mail;
    struct arena *arena = arena_create(ARENA_FIRST_BYTES, RETURNED_ARENA_MAX);
    if (arena == NULL) {
        return print_error(how, name, "no memory");
    }
    bool good = returned_mail_read(arena, bytes, &mail, &fault);
    if (!good) {
        (void)print_error(how, name, fault.text);
    } else if (how->json) {
        print_json(how, name, &mail);
    } else {
        print_table(how, name, &mail);
    }
    arena_free(&arena);
    return good;
}

/* Up to RETURNED_READ_MAX bytes and one more, which tells that there were more. */
static bool classify_descriptor(const struct classify_mail *how, const char *name, int fd)
{
    size_t capacity = 64 << 10;
    size_t len = 0;
    char *bytes = mem_realloc(NULL, capacity);
    while (len <= RETURNED_READ_MAX) {
        if (len == capacity) {
            capacity *= 2;
            bytes = mem_realloc(bytes, capacity);
        }
        ssize_t got = read(fd, bytes + len, capacity - len);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            int error = errno;
            mem_free(bytes);
            return print_error(how, name, strerror(error));
        }
        if (got == 0) {
            break;
        }
        len += (size_t)got;
    }
    bool good = classify_mail_bytes(how, name, slice_of(bytes, len));
    mem_free(bytes);
    return good;
}

static bool classify_path(const struct classify_mail *how, const char *path, unsigned depth);

static bool classify_folder(const struct classify_mail *how, const char *path, unsigned depth)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, alphasort);
    if (count < 0) {
        return print_error(how, path, strerror(errno));
    }
    bool good = true;
    for (int i = 0; i < count; i++) {
        char file[NAME_BYTES];
        int len = snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.' && len > 0 && (size_t)len < sizeof(file)) {
            good = classify_path(how, file, depth + 1) && good;
        }
        free(names[i]);
    }
    free(names);
    return good;
}

static bool classify_path(const struct classify_mail *how, const char *path, unsigned depth)
{
    if (strcmp(path, "-") == 0 && depth == 0) {
        return classify_descriptor(how, "-", STDIN_FILENO);
    }
    struct stat info;
    int fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe in a folder must not hold us up */
    if (fd < 0 || fstat(fd, &info) != 0) {
        int error = errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return print_error(how, path, strerror(error));
    }
    bool good = false;
    if (S_ISDIR(info.st_mode)) {
        (void)close(fd);
        return depth < DEPTH_MAX ? classify_folder(how, path, depth)
                                 : print_error(how, path, "too many folders in folders");
    }
    if (S_ISREG(info.st_mode)) {
        good = classify_descriptor(how, path, fd);
    } else {
        good = print_error(how, path, "neither a file nor a folder");
    }
    (void)close(fd);
    return good;
}

bool classify_mail_path(const struct classify_mail *how, const char *path)
{
    return classify_path(how, path, 0);
}
