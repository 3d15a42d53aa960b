/*
 * sluice-sim: many mailbox providers in one process, for tests and the demo. See README.md in this
 * folder.
 *
 * Exit status: 0 ended by a signal, 1 usage, configuration or start, 3 the record or the summary
 * could not be written.
 */
#include "base/log.h"
#include "base/mem.h"
#include "sim/session.h"
#include "sim/summary.h"

#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#define PROBLEMS_BYTES 65536
#define SUMMARY_BYTES (16U << 20)
#define SEEN_ENTRIES (1U << 20)

struct options {
    const char *config;
    const char *record;
    const char *summary;
    const char *ready;
    uint64_t seed;
    bool check;
};

struct program {
    struct options options;
    struct sim_config *config;
    struct io_loop *loop;
    struct sim_record *record;
    struct sim_seen *seen;
    struct sim_provider *providers;
    struct tls_context **tls; /* one for each provider */
    struct sim_listener *listeners;
    size_t listener_count;
    struct sim sim;
    struct timer flush;
    struct io_signal *signals[3];
    int status;
};

static void usage(FILE *out)
{
    fputs("usage: sluice-sim --config FILE [--check] [--record FILE] [--summary FILE]\n"
          "                  [--ready-file FILE] [--seed N] [--log-level LEVEL]\n",
          out);
}

static bool read_option(struct options *options, int option)
{
    enum log_level level;
    switch (option) {
    case 'c': options->config = optarg; return true;
    case 'k': options->check = true; return true;
    case 'r': options->record = optarg; return true;
    case 's': options->summary = optarg; return true;
    case 'y': options->ready = optarg; return true;
    case 'n': return slice_to_u64(slice_cstr(optarg), &options->seed);
    case 'l':
        if (!log_level_parse(slice_cstr(optarg), &level)) {
            return false;
        }
        log_setup("sluice-sim", level);
        return true;
    default: return false;
    }
}

static bool read_options(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"check", no_argument, NULL, 'k'},
        {"record", required_argument, NULL, 'r'},
        {"summary", required_argument, NULL, 's'},
        {"ready-file", required_argument, NULL, 'y'},
        {"seed", required_argument, NULL, 'n'},
        {"log-level", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            exit(0);
        }
        if (!read_option(options, option)) {
            return false;
        }
    }
    return optind == argc && options->config != NULL;
}

static void tell_totals(struct program *program, bool lines)
{
    size_t count = program->config->provider_count;
    struct strbuf out;
    struct fault fault;
    strbuf_init(&out, SUMMARY_BYTES);
    if (lines) {
        sim_summary_lines(&out, program->providers, count);
        fwrite(out.ptr, 1, out.len, stdout);
        fflush(stdout);
        strbuf_reset(&out);
    }
    if (program->options.summary != NULL) {
        sim_summary_json(&out, program->providers, count);
        if (out.overflow ||
            !sim_file_replace(program->options.summary, strbuf_slice(&out), &fault)) {
            log_error("summary-failed", "reason=\"%s\"", out.overflow ? "too big" : fault.text);
            program->status = 3;
        }
    }
    strbuf_free(&out);
}

static void on_signal(void *owner, int number)
{
    struct program *program = owner;
    if (number != SIGUSR1) {
        io_loop_stop(program->loop);
        return;
    }
    if (program->record != NULL) {
        sim_record_flush(program->record);
    }
    tell_totals(program, true);
}

static void on_flush(struct timer *timer, struct mono_time now)
{
    struct program *program = CONTAINER_OF(timer, struct program, flush);
    sim_record_flush(program->record);
    wheel_set(io_loop_wheel(program->loop), timer, mono_add_ms(now, SIM_RECORD_FLUSH_MS), on_flush);
}

static bool open_record(struct program *program, struct fault *fault)
{
    const char *path =
        program->options.record != NULL ? program->options.record : program->config->record;
    if (path == NULL) {
        return true;
    }
    program->record = sim_record_create(path, fault);
    if (program->record == NULL) {
        return false;
    }
    on_flush(&program->flush, io_loop_now(program->loop));
    return true;
}

static bool open_listeners(struct program *program, size_t at, struct fault *fault)
{
    const struct sim_provider_config *config = &program->config->providers[at];
    for (size_t i = 0; i < config->listen_count && !config->down; i++) {
        struct sim_listener *listener = &program->listeners[program->listener_count];
        const struct io_listener_options options = {
            .local = (const struct sockaddr *)&config->listen[i].address,
            .local_len = config->listen[i].len,
        };
        listener->sim = &program->sim;
        listener->provider = &program->providers[at];
        listener->tls = program->tls[at];
        listener->listener = io_listen(program->loop, &options, sim_accept, listener, fault);
        if (listener->listener == NULL) {
            return fault_prefix(fault, "provider %s", config->name);
        }
        program->listener_count++;
    }
    return true;
}

static bool open_providers(struct program *program, struct fault *fault)
{
    size_t count = program->config->provider_count;
    size_t listeners = 0;
    for (size_t i = 0; i < count; i++) {
        listeners += program->config->providers[i].listen_count;
        if (program->seen == NULL && sim_provider_wants_seen(&program->config->providers[i])) {
            program->seen = sim_seen_create(SEEN_ENTRIES);
        }
    }
    program->listeners = mem_calloc(listeners, sizeof(*program->listeners));
    program->tls = mem_calloc(count, sizeof(struct tls_context *));
    program->providers = mem_calloc(count, sizeof(*program->providers));
    for (size_t i = 0; i < count; i++) {
        const struct sim_provider_config *config = &program->config->providers[i];
        sim_provider_init(&program->providers[i], config, program->options.seed, program->seen);
        if (config->certificate != NULL) {
            const struct tls_server_options tls = {.certificate_file = config->certificate,
                                                   .key_file = config->key};
            program->tls[i] = tls_server_context(&tls, fault);
            if (program->tls[i] == NULL) {
                return fault_prefix(fault, "provider %s", config->name);
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (!open_listeners(program, i, fault)) {
            return false;
        }
    }
    return true;
}

/* A line for each listener: provider, address, port. */
static bool write_ready(struct program *program, struct fault *fault)
{
    struct strbuf text;
    strbuf_init(&text, SUMMARY_BYTES);
    for (size_t i = 0; i < program->listener_count; i++) {
        struct sockaddr_storage address;
        char out[IO_ADDRESS_TEXT_MAX];
        if (io_listener_local(program->listeners[i].listener, &address)) {
            const struct sockaddr *socket_address = (const struct sockaddr *)&address;
            struct slice shown = io_address_format(socket_address, out);
            strbuf_addf(&text, "%s\t%.*s\t%u\n", program->listeners[i].provider->config->name,
                        SLICE_FMT(shown), io_address_port(socket_address));
        }
    }
    bool good = sim_file_replace(program->options.ready,
                                 text.len == 0 ? SLICE("") : strbuf_slice(&text), fault);
    strbuf_free(&text);
    return good;
}

static bool open_signals(struct program *program, struct fault *fault)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGUSR1};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        program->signals[i] =
            io_signal_create(program->loop, numbers[i], on_signal, program, fault);
        if (program->signals[i] == NULL) {
            return false;
        }
    }
    return true;
}

/* A socket for each connection; the usual soft limit of 1024 is less than a test opens. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool run(struct program *program, struct fault *fault)
{
    raise_descriptors();
    program->loop = io_loop_create(fault);
    if (program->loop == NULL || !open_record(program, fault)) {
        return false;
    }
    sim_init(&program->sim, program->loop, program->record);
    if (!open_providers(program, fault) || !open_signals(program, fault) ||
        (program->options.ready != NULL && !write_ready(program, fault))) {
        return false;
    }
    log_info("ready", "providers=%zu listeners=%zu seed=%llu", program->config->provider_count,
             program->listener_count, (unsigned long long)program->options.seed);
    io_loop_run(program->loop);
    return true;
}

static void end(struct program *program)
{
    for (size_t i = 0; i < program->listener_count; i++) {
        io_listener_free(&program->listeners[i].listener);
    }
    if (program->sim.loop != NULL) {
        sim_end(&program->sim);
    }
    for (size_t i = 0; i < ARRAY_LEN(program->signals); i++) {
        io_signal_free(&program->signals[i]);
    }
    for (size_t i = 0; program->providers != NULL && i < program->config->provider_count; i++) {
        if (program->providers[i].config != NULL) {
            sim_provider_free(&program->providers[i]);
        }
        tls_context_free(&program->tls[i]);
    }
    sim_record_free(&program->record);
    if (program->loop != NULL) {
        wheel_cancel(io_loop_wheel(program->loop), &program->flush);
        io_loop_free(&program->loop);
    }
    sim_seen_free(&program->seen);
    mem_free(program->listeners);
    mem_free(program->tls);
    mem_free(program->providers);
    sim_config_free(&program->config);
}

int main(int argc, char **argv)
{
    struct program program = {.options = {.seed = 1}};
    struct strbuf problems;
    struct fault fault;
    log_setup("sluice-sim", LOG_LEVEL_INFO);
    if (!read_options(&program.options, argc, argv)) {
        usage(stderr);
        return 1;
    }
    strbuf_init(&problems, PROBLEMS_BYTES);
    program.config = sim_config_load(program.options.config, &problems);
    if (program.config == NULL) {
        fwrite(problems.ptr, 1, problems.len, stderr);
        program.status = 1;
    } else if (program.options.check) {
        printf("%s: %zu providers\n", program.options.config, program.config->provider_count);
    } else if (!run(&program, &fault)) {
        log_error("start-failed", "reason=\"%s\"", fault.text);
        program.status = 1;
    } else {
        if (program.record != NULL) {
            sim_record_flush(program.record);
        }
        tell_totals(&program, false);
    }
    strbuf_free(&problems);
    end(&program);
    return program.status;
}
