/* worker/tiers.c, worker/delay.c. Unlike there the second and the third tier have one partition. */
#include "simulation/process.h"

#define UNIT (2 * SECOND)
#define LOOK (5 * SECOND)

static const int64_t delay_of[TIERS] = {UNIT, 16 * UNIT, 256 * UNIT};

static int tier_of(int partition)
{
    return partition < 2 * STREAM_PARTITIONS ? 0 : partition - 2 * STREAM_PARTITIONS + 1;
}

int tier_for(const struct world *world, const struct process *process, int message, int64_t due)
{
    int64_t wait = due - wall_of(world, process);
    int tier = 0;
    while (tier + 1 < TIERS && delay_of[tier + 1] <= wait) {
        tier++;
    }
    return tier == 0 ? STREAM_PARTITIONS + message % STREAM_PARTITIONS
                     : 2 * STREAM_PARTITIONS + tier - 1;
}

/* A clock that is set meanwhile is noticed by then. */
static int64_t until_next_look(const struct world *world, int64_t wait)
{
    return wait < LOOK || world->broken == BREAK_LOOK ? wait : LOOK;
}

bool tier_waits(const struct world *world, struct process *process, int partition,
                const struct entry *entry)
{
    struct owned *owned = &process->owned[partition];
    int64_t due = entry->time + delay_of[tier_of(partition)];
    if (world->now < owned->look) {
        return true;
    }
    due = entry->record.due < due ? entry->record.due : due;
    if (due <= wall_of(world, process)) {
        return false;
    }
    owned->look = world->now + until_next_look(world, due - wall_of(world, process));
    return true;
}

static void hold(struct world *world, struct process *process, struct mail *mail);

static void hold_over(struct world *world, struct event *event)
{
    struct process *process = running(world, event);
    struct mail *mail = mail_by_id(process, event->a);
    if (mail != NULL && mail->where == WHERE_HELD) {
        hold(world, process, mail);
    }
}

static void hold(struct world *world, struct process *process, struct mail *mail)
{
    int64_t rest = mail->record.due - wall_of(world, process);
    if (rest <= 0) {
        mail_to_shard(world, process, mail);
        return;
    }
    mail->where = WHERE_HELD;
    at_thread(world, process, until_next_look(world, rest), hold_over, mail_id(process, mail), 0);
}

void tier_takes(struct world *world, struct process *process, struct mail *mail)
{
    if (mail->record.due - wall_of(world, process) < UNIT) {
        hold(world, process, mail);
    } else {
        mail_forward(world, process, mail, mail->record.due);
    }
}
