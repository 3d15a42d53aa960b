/*
 * Command lines: accepted ones have no byte that could end a line, refused ones have a reply.
 */
#include "smtp/command.h"

#include "smtp/address.h"
#include "smtp/xtext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct slice line, struct slice part)
{
    CHECK(part.ptr == NULL || (part.ptr >= line.ptr && part.ptr + part.len <= line.ptr + line.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice line = slice_of(data, size);
    struct smtp_command command;
    struct smtp_command_error error = {0};
    struct smtp_address address;
    if (!smtp_command_parse(line, &command, &error)) {
        CHECK(error.code >= 500 && error.code < 600 && error.enhanced[0] == '5' &&
              error.text[0] != '\0');
        return 0;
    }
    CHECK(!slice_has_control(line) && command.verb != SMTP_COMMAND_UNKNOWN);
    check_inside(line, command.argument);
    check_inside(line, command.address);
    check_inside(line, command.envid);
    check_inside(line, command.notify);
    check_inside(line, command.orcpt);
    check_inside(line, command.initial);
    if (command.address.len > 0 && !slice_eq_nocase(command.address, SLICE("postmaster"))) {
        CHECK(smtp_address_parse(command.address, &address, NULL));
    }
    CHECK(smtp_xtext_valid(command.envid));
    return 0;
}
