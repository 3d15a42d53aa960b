/*
 * What follows from an outcome: an event at once, and at the end of the round a delay record for
 * those that are tried again. After settle_round() (or one of the functions that end the round
 * themselves) the shard no longer owns the mail.
 */
#ifndef SLUICE_WORKER_SETTLE_H
#define SLUICE_WORKER_SETTLE_H

#include "suppress/check.h"
#include "worker/journal.h"
#include "worker/report.h"

struct settler {
    struct worker *worker;
    struct reporter *reporter;
    struct journal_writer *journal;
};

/* One recipient has its outcome of this round. NONE is not an outcome: leave it pending and try
 * another session. `site` gives the retry schedule. UNCERTAIN is told, and then its stream's policy
 * decides: tried again by the schedule, held for people, or left. */
void settle_recipient(struct settler *settler, struct mail *mail, uint32_t index,
                      const struct smtp_outcome *outcome, const struct report_facts *facts,
                      const struct config_site *site);

/* One has an outcome that another worker wrote down (worker/inherited.h) but whose event may not
 * have been written: it is told again, with the same id. UNTRIED: the recipient stays pending. */
void settle_again(struct settler *settler, struct mail *mail, uint32_t index,
                  const struct ledger_outcome *outcome);

/* The same outcome for all that are pending. */
void settle_pending(struct settler *settler, struct mail *mail, const struct smtp_outcome *outcome,
                    const struct report_facts *facts, const struct config_site *site);

/* No recipient is pending any more: the deferred ones go to a tier; the shard lets go of the mail.
 */
void settle_round(struct settler *settler, struct mail **mail);

/* Its time is over: expired for all that are not settled; ends the round. */
void settle_expired(struct settler *settler, struct mail **mail, const struct report_facts *facts);

/* Not to be delivered ("policy", "invalid"): dropped events, and for invalid records a copy in the
 * dlq; ends the round. */
void settle_dropped(struct settler *settler, struct mail **mail, struct slice reason,
                    struct slice detail, bool dead_letter);

/* Takes recipients who are on the suppression list out of the round, each with its dropped event.
 * False: none is left to be tried; settle_round() comes next. */
bool settle_suppressed(struct settler *settler, struct mail *mail, struct suppress_checker *checker,
                       struct wall_time now);

/* Not tried in this round (spilled, not before): to a tier until its time, same attempt number,
 * with a postponed event; ends the round. */
void settle_later(struct settler *settler, struct mail **mail, const struct report_wait *wait);

/* True when the mail's time is over. */
bool settle_is_expired(const struct mail *mail, struct wall_time now);

#endif
