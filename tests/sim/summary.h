/* What was counted, as JSON and as lines for people. */
#ifndef SLUICE_SIM_SUMMARY_H
#define SLUICE_SIM_SUMMARY_H

#include "base/fault.h"
#include "base/strbuf.h"
#include "sim/provider.h"

void sim_summary_json(struct strbuf *out, const struct sim_provider *providers, size_t count);
/* One line per provider. */
void sim_summary_lines(struct strbuf *out, const struct sim_provider *providers, size_t count);
/* Replaces the file as a whole, so that a reader never sees a part. */
bool sim_file_replace(const char *path, struct slice text, struct fault *fault);

#endif
