/*
 * What command.c and command_param.c share.
 */
#ifndef SLUICE_SMTP_COMMAND_PRIVATE_H
#define SLUICE_SMTP_COMMAND_PRIVATE_H

#include "smtp/command.h"

/* Fills the reply; returns false. */
bool smtp_command_wrong(struct smtp_command_error *error, uint16_t code, const char *enhanced,
                        const char *text);

/* What follows the path of MAIL or RCPT: *( SP esmtp-param ). */
bool smtp_command_parse_params(struct slice rest, struct smtp_command *command,
                               struct smtp_command_error *error);

#endif
