/* Handing a question to all that answer. */
#include "worker/intake.h"
#include "worker/question.h"
#include "worker/shard.h"
#include "worker/worker.h"

unsigned question_ask(struct worker *worker, const struct question *question)
{
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        shard_ask_why(worker->shards[i], question);
    }
    intake_ask_why(worker->intake, question);
    return worker->shard_count + 1;
}
