/*
 * sluice-producer: takes mail over SMTP and puts it into Kafka. See docs/submission.md.
 */
#include "base/log.h"
#include "producer/password.h"
#include "producer/producer.h"

#include <getopt.h>
#include <termios.h>
#include <unistd.h>

static const char usage[] =
    "Usage: sluice-producer --config FILE\n"
    "       sluice-producer --hash-password\n"
    "\n"
    "Takes mail over SMTP (producer.listeners of the configuration) and answers 250 when Kafka has "
    "it.\n"
    "\n"
    "  -c, --config FILE     configuration (see sluice.yaml and docs/configuration.md)\n"
    "  -p, --hash-password   read a password from standard input, print its hash for the users "
    "file\n"
    "  -h, --help            this text\n"
    "  -V, --version         version\n"
    "\n"
    "SIGHUP reads the users file and the certificate again. SIGTERM or SIGINT drains: listens no "
    "more, finishes what\n"
    "is being sent (at most 30 s), and ends. Exit status: 0 drained, 1 failed, 2 bad usage or "
    "configuration.\n";

/* One line without its end; from a terminal without showing it. */
static bool read_password(const char *prompt, char *out, size_t size)
{
    struct termios before, hidden;
    bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    if (terminal) {
        hidden = before;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        fputs(prompt, stderr);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    }
    bool ok = fgets(out, (int)size, stdin) != NULL;
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputs("\n", stderr);
    }
    if (ok) {
        out[strcspn(out, "\r\n")] = '\0';
    }
    return ok;
}

static int hash_password(void)
{
    char password[PASSWORD_MAX + 3];
    char again[PASSWORD_MAX + 3];
    char hash[PASSWORD_HASH_MAX];
    struct fault fault;
    if (!read_password("Password: ", password, sizeof(password))) {
        fputs("sluice-producer: no password was given\n", stderr);
        return 2;
    }
    if (isatty(STDIN_FILENO) == 1 &&
        (!read_password("Again: ", again, sizeof(again)) || strcmp(password, again) != 0)) {
        fputs("sluice-producer: these are not the same\n", stderr);
        return 2;
    }
    bool ok = password_hash(slice_cstr(password), hash, &fault);
    explicit_bzero(password, sizeof(password));
    explicit_bzero(again, sizeof(again));
    if (!ok) {
        fprintf(stderr, "sluice-producer: %s\n", fault.text);
        return 2;
    }
    puts(hash);
    return 0;
}

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, const char **config)
{
    static const struct option names[] = {
        {"config", required_argument, NULL, 'c'},
        {"hash-password", no_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "c:phV", names, NULL)) != -1) {
        switch (c) {
        case 'c': *config = optarg; break;
        case 'p': return hash_password();
        case 'h': fputs(usage, stdout); return 0;
        case 'V': puts("sluice-producer " SLUICE_VERSION); return 0;
        default: return 2;
        }
    }
    if (*config == NULL || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    return -1;
}

int main(int argc, char **argv)
{
    static struct producer producer;
    const char *path = NULL;
    struct fault fault;
    enum log_level level = LOG_LEVEL_INFO;
    int status = parse_options(argc, argv, &path);
    if (status >= 0) {
        return status;
    }
    log_setup("producer", level);
    struct config *config = config_load(path, &fault);
    if (config == NULL) {
        fprintf(stderr, "sluice-producer: %s\n", fault.text);
        return 2;
    }
    if (config->producer.log_level != NULL &&
        log_level_parse(slice_cstr(config->producer.log_level), &level)) {
        log_setup("producer", level);
    }
    status = 0;
    if (producer_open(&producer, config, &fault)) {
        producer_run(&producer);
    } else {
        fprintf(stderr, "sluice-producer: %s\n", fault.text);
        log_error("start-failed", "reason=\"%s\"", fault.text);
        status = 1;
    }
    producer_close(&producer);
    config_free(&config);
    return status;
}
