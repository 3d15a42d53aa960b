/*
 * What sluicectl publish tells: a progress line on stderr, a line per failure, and the summary on
 * stdout.
 */
#ifndef SLUICE_OPS_SLUICECTL_PUBLISH_REPORT_H
#define SLUICE_OPS_SLUICECTL_PUBLISH_REPORT_H

#include "base/clock.h"
#include "base/strbuf.h"

struct publish_report {
    const char *list_name;
    bool json;
    bool terminal; /* stderr is one */
    struct mono_time start, last_shown;
    /* All in recipients, but records. */
    uint64_t published; /* acknowledged by Kafka */
    uint64_t waiting;   /* not yet */
    uint64_t failed;
    uint64_t records;       /* acknowledged */
    struct strbuf failures; /* JSON array members */
    uint64_t failures_kept;
};

void publish_report_init(struct publish_report *report, const char *list_name, bool json);
void publish_report_free(struct publish_report *report);
/* One recipient that is not published, and why. */
void publish_report_failure(struct publish_report *report, uint64_t line, const char *address,
                            const char *problem);
/* Shows the progress when it is time to. */
void publish_report_progress(struct publish_report *report);
/* Ends the progress line, prints the summary. */
void publish_report_end(struct publish_report *report);

#endif
