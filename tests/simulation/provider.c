/* Who gets the mail, and what he remembers of it. */
#include "simulation/world.h"

enum answer provider_takes(struct world *world, int message, uint32_t mask)
{
    int64_t luck = pick(world, 100);
    if (luck < 12) {
        return ANSWER_LATER;
    }
    if (luck < 16) {
        return ANSWER_NO;
    }
    for (int i = 0; i < RCPTS; i++) {
        struct recipient *recipient = &world->recipients[message][i];
        if (!in_mask(mask, i)) {
            continue;
        }
        recipient->accepted++;
        int most = 1 + recipient->uncertain + (world->never ? 0 : recipient->pardoned);
        if (recipient->accepted > most) {
            violated(world, "message %d recipient %d: accepted %d times, uncertain %d, pardoned %d",
                     message, i, recipient->accepted, recipient->uncertain, recipient->pardoned);
        }
        if (recipient->expired && recipient->accepted == most) {
            world->sent_though_expired++;
            if (world->clock_steps == 0) {
                violated(world, "message %d recipient %d: sent after it was told as expired",
                         message, i);
            }
        }
    }
    return luck < 22 && !world->gentle ? ANSWER_NONE : ANSWER_OK;
}
