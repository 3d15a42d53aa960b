/* sluice-bouncer serve: takes the mail that comes back. See docs/bouncer.md. */
#include "bouncer/cmd.h"

#include "base/log.h"
#include "bouncer/daemon.h"

#include <getopt.h>
#include <stdio.h>

static const char usage[] =
    "Usage: sluice-bouncer serve --config FILE\n"
    "\n"
    "Takes mail that comes back over SMTP (bouncer.listeners of the configuration), tells what it "
    "means as events, and\n"
    "answers 250 when Kafka has them.\n"
    "\n"
    "  -c, --config FILE     configuration (see sluice.yaml and docs/configuration.md)\n"
    "  -h, --help            this text\n"
    "\n"
    "SIGHUP reads the certificate, the rules and verp.keys again. SIGTERM or SIGINT drains: "
    "listens no more, "
    "finishes what is being\n"
    "received (at most 30 s), and ends. Exit status: 0 drained, 1 failed, 2 bad usage or "
    "configuration.\n";

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, const char **config)
{
    static const struct option names[] = {
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "c:h", names, NULL)) != -1) {
        switch (c) {
        case 'c': *config = optarg; break;
        case 'h': fputs(usage, stdout); return 0;
        default: fputs(usage, stderr); return 2;
        }
    }
    if (*config == NULL || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    return -1;
}

int cmd_serve(int argc, char **argv)
{
    static struct bouncer bouncer;
    const char *path = NULL;
    struct fault fault;
    enum log_level level = LOG_LEVEL_INFO;
    int status = parse_options(argc, argv, &path);
    if (status >= 0) {
        return status;
    }
    log_setup("bouncer", level);
    struct config *config = config_load(path, &fault);
    if (config == NULL) {
        fprintf(stderr, "sluice-bouncer: %s\n", fault.text);
        return 2;
    }
    if (config->bouncer.log_level != NULL &&
        log_level_parse(slice_cstr(config->bouncer.log_level), &level)) {
        log_setup("bouncer", level);
    }
    status = 0;
    if (bouncer_open(&bouncer, config, path, &fault)) {
        bouncer_run(&bouncer);
    } else {
        fprintf(stderr, "sluice-bouncer: %s\n", fault.text);
        log_error("start-failed", "reason=\"%s\"", fault.text);
        status = 1;
    }
    bouncer_close(&bouncer);
    config_free(&config);
    return status;
}
