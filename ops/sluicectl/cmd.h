/*
 * The commands of sluicectl, one file cmd_NAME.c each. `argv[0]` is the command's own name, so
 * "sluicectl config check FILE" calls cmd_config with {"config", "check", "FILE"}. The result is
 * the exit status: 0 done, 1 failed, 2 wrong usage.
 */
#ifndef SLUICE_OPS_SLUICECTL_CMD_H
#define SLUICE_OPS_SLUICECTL_CMD_H

int cmd_bounces(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_log(int argc, char **argv);
int cmd_publish(int argc, char **argv);
int cmd_suppression(int argc, char **argv);
int cmd_topics(int argc, char **argv);
int cmd_uncertain(int argc, char **argv);
int cmd_unsubscribe(int argc, char **argv);
int cmd_why(int argc, char **argv);

#endif
