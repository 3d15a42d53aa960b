/* Returned mail on disk: what mbox, maildir and file hold afterwards, and what is said when they
 * cannot. */
#include "bouncer/actions_private.h"

#include "base/mem.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit/cmocka_all.h"
#include "unit/temp.h"

#define PATH_BYTES (TEMP_NAME_MAX + 100)
#define MAIL "Subject: x\r\n\r\nFrom here\r\n>From there\r\nFromage\r\nlast"

static char folder[TEMP_NAME_MAX];
static char path[PATH_BYTES];

static struct action_job job_of(struct config_action *action, enum config_action_do what,
                                const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    *action = (struct config_action){.what = what, .target = path};
    return (struct action_job){
        .action = action,
        .content = SLICE(MAIL),
        .id = "0190c5c0-0000-7000-8000-000000000001",
        .kind = "bounce",
    };
}

static void assert_file(const char *name, const char *wanted)
{
    char text[1000];
    FILE *file = fopen(name, "re");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    text[len] = '\0';
    assert_string_equal(text, wanted);
}

/* The only name in a folder. */
static void only_entry(const char *where, char out[PATH_BYTES])
{
    DIR *dir = opendir(where);
    size_t count = 0;
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] != '.') {
            snprintf(out, PATH_BYTES, "%.100s/%.180s", where, entry->d_name);
            count++;
        }
    }
    (void)closedir(dir);
    assert_int_equal(count, 1);
}

static void file_has_lf(void **state)
{
    struct config_action action;
    char name[PATH_BYTES];
    (void)state;
    struct action_job job = job_of(&action, CONFIG_DO_FILE, "");
    assert_true(action_store(&job, "h"));
    snprintf(name, sizeof(name), "%s/%s.eml", folder, job.id);
    assert_file(name, "Subject: x\n\nFrom here\n>From there\nFromage\nlast\n");
    /* Carried out twice is the same file once. */
    assert_true(action_store(&job, "h"));
    only_entry(folder, name);
    assert_int_equal(unlink(name), 0);
}

static void maildir_is_made(void **state)
{
    struct config_action action;
    char name[PATH_BYTES], part[PATH_BYTES + 10];
    (void)state;
    struct action_job job = job_of(&action, CONFIG_DO_MAILDIR, "maildir");
    assert_true(action_store(&job, "mx.example.com"));
    snprintf(part, sizeof(part), "%s/new", path);
    only_entry(part, name);
    assert_non_null(strstr(name, "mx.example.com"));
    assert_file(name, "Subject: x\n\nFrom here\n>From there\nFromage\nlast\n");
    assert_int_equal(unlink(name), 0);
    static const char *const parts[] = {"/tmp", "/new", "/cur", ""};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        snprintf(part, sizeof(part), "%s%s", path, parts[i]);
        assert_int_equal(rmdir(part), 0); /* there, and nothing left in it */
    }
}

static void mbox_quotes(void **state)
{
    struct config_action action;
    char text[1000];
    (void)state;
    struct action_job job = job_of(&action, CONFIG_DO_MBOX, "mbox");
    assert_true(action_store(&job, "h"));
    job.mail_from = SLICE("a@example.com");
    assert_true(action_store(&job, "h"));
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof(text), file));
    assert_int_equal(strncmp(text, "From MAILER-DAEMON ", 19), 0);
    size_t separators = 1, quoted = 0;
    char before[1000] = "";
    while (fgets(text, sizeof(text), file) != NULL) {
        quoted += strcmp(text, ">From here\n") == 0 || strcmp(text, ">>From there\n") == 0;
        assert_null(strchr(text, '\r'));
        if (strncmp(text, "From ", 5) == 0) {
            separators++;
            assert_string_equal(before, "\n");
            assert_int_equal(strncmp(text, "From a@example.com ", 19), 0);
        }
        memcpy(before, text, sizeof(before));
    }
    (void)fclose(file);
    assert_int_equal(separators, 2);
    assert_int_equal(quoted, 4);
    assert_int_equal(unlink(path), 0);
}

static void failures_are_named(void **state)
{
    static const enum config_action_do kinds[] = {CONFIG_DO_MBOX, CONFIG_DO_MAILDIR,
                                                  CONFIG_DO_FILE};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct config_action action;
        struct action_job job = job_of(&action, kinds[i], "no/such");
        assert_false(action_store(&job, "h"));
        assert_non_null(strstr(job.problem, "no/such"));
        assert_non_null(strstr(job.problem, "No such file or directory"));
    }
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(temp_name(folder)) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails when a test left something */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_has_lf),
        cmocka_unit_test(maildir_is_made),
        cmocka_unit_test(mbox_quotes),
        cmocka_unit_test(failures_are_named),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
