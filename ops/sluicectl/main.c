/* sluicectl: the operator's command line. It only finds the command; each has a file of its own. */
#include "ops/sluicectl/cmd.h"

#include "base/command.h"

static const struct command commands[] = {
    {"bounces", "bounces top --config FILE [--by site] …   what is refused most, and why",
     cmd_bounces},
    {"config", "config check FILE             check a configuration file", cmd_config},
    {"eta", "eta --config FILE …               by when the backlog will have been sent", cmd_why},
    {"explain", "explain limits --config FILE …    which limits hold for a site, VIP and tenant",
     cmd_explain},
    {"log", "log --config FILE [--follow] …   print events as JSON lines", cmd_log},
    {"publish", "publish --config FILE …           send a message to a list of recipients",
     cmd_publish},
    {"suppression", "suppression list|add|check|… --config FILE   who gets no mail any more",
     cmd_suppression},
    {"topics",
     "topics create|check|migrate --config FILE   make, verify or change the topics of Kafka",
     cmd_topics},
    {"uncertain",
     "uncertain list|resend|drop --config FILE   what may or may not have been delivered",
     cmd_uncertain},
    {"unsubscribe",
     "unsubscribe --config FILE --tenant NAME ADDRESS…   List-Unsubscribe fields to be signed",
     cmd_unsubscribe},
    {"why", "why --config FILE … [MESSAGE-ID]  what mail waits for, and until when", cmd_why},
};

int main(int argc, char **argv)
{
    return command_main("sluicectl", commands, ARRAY_LEN(commands), argc, argv);
}
