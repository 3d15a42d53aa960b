/* A mail on its way in: who may be written to, and what it may take of the memory. */
#include "bouncer/mail_private.h"

#include "unit/cmocka_all.h"

static struct config_address entries[] = {
    {.address = "fbl@example.net", .kind = CONFIG_ADDRESS_FEEDBACK}};
static const char *role[] = {"role"};
static struct config_action actions[] = {
    {.addresses = role, .address_count = 1, .what = CONFIG_DO_DROP}};
static struct config config = {.bouncer = {.addresses = entries,
                                           .address_count = 1,
                                           .max_recipients = 2,
                                           .max_message_bytes = 1 << 20}};
static struct bouncer bouncer;

/* Stands for the daemon's, which ends the program when it is asked to. */
void bouncer_check_drained(struct bouncer *which)
{
    assert_ptr_equal(which, &bouncer);
}

static struct mail *begin(void)
{
    struct mail_reply reply = {0};
    struct mail *mail = mail_create(&bouncer, SLICE("a\r\nb@example.org"), 0, &reply);
    assert_non_null(mail);
    assert_true(mail_add_recipient(mail, SLICE("fbl@example.net"), &reply));
    return mail;
}

static void recipients(void **state)
{
    struct mail_reply reply = {0};
    struct mail *mail = begin();
    (void)state;
    assert_false(mail_add_recipient(mail, SLICE("user@example.org"), &reply));
    assert_int_equal(reply.code, 550);
    assert_string_equal(reply.enhanced, "5.1.1");
    assert_true(mail_add_recipient(mail, SLICE("FBL@example.net"), &reply));
    assert_false(mail_add_recipient(mail, SLICE("fbl@example.net"), &reply));
    assert_int_equal(reply.code, 452);
    assert_string_equal(reply.enhanced, "4.5.3");
    mail_free(&mail);
    assert_int_equal(bouncer.budget.used, 0);
}

/* Where actions go by class, a mail has addresses of one class: none gets what is another's. */
static void classes(void **state)
{
    struct mail_reply reply = {0};
    struct mail *mail = begin();
    (void)state;
    assert_true(mail_add_recipient(mail, SLICE("postmaster"), &reply));
    mail_free(&mail);
    config.bouncer.actions = actions;
    config.bouncer.action_count = 1;
    mail = begin();
    assert_false(mail_add_recipient(mail, SLICE("postmaster"), &reply));
    assert_int_equal(reply.code, 452);
    assert_string_equal(reply.enhanced, "4.5.3");
    assert_true(mail_add_recipient(mail, SLICE("FBL@example.net"), &reply));
    mail_free(&mail);
    config.bouncer.action_count = 0;
}

/* Our fields stand in front, and nothing that the peer says breaks them. */
static void trace(void **state)
{
    const struct mail_peer peer = {.address = SLICE("192.0.2.1"), .name = SLICE("x\r\nEvil: y")};
    const struct slice body = SLICE("Subject: x\r\n\r\nbody");
    struct mail_reply reply = {0};
    struct mail *mail = begin();
    (void)state;
    assert_true(mail_begin_content(mail, &peer, &reply));
    mail_add_content(mail, body);
    struct slice content = slice_of(mail->buffer, mail->len);
    assert_true(slice_starts_with(content, SLICE("Return-Path: <a??b@example.org>\r\n")));
    assert_int_equal(mail->len, mail->trace_len + body.len);
    assert_memory_equal(mail->buffer + mail->trace_len, body.ptr, body.len);
    struct slice rest = slice_head(content, mail->trace_len);
    while (rest.ptr != NULL && rest.len > 0) {
        assert_false(slice_starts_with(slice_cut(&rest, '\n'), SLICE("Evil")));
    }
    mail_free(&mail);
    assert_int_equal(bouncer.budget.used, 0);
}

/* What does not fit is refused for now, and all is given back. */
static void memory(void **state)
{
    static const char block[65536];
    const struct mail_peer peer = {.address = SLICE("192.0.2.1"), .name = SLICE("x")};
    struct mail_reply reply = {0};
    (void)state;
    assert_null(mail_create(&bouncer, SLICE_NULL, (uint64_t)bouncer.budget.max + 1, &reply));
    assert_int_equal(reply.code, 452);
    struct mail *mail = begin();
    assert_true(mail_begin_content(mail, &peer, &reply));
    for (int i = 0; i < 8; i++) {
        mail_add_content(mail, slice_of(block, sizeof(block)));
        assert_true(bouncer.budget.used <= bouncer.budget.max);
    }
    assert_int_equal(mail->failure.code, 452);
    mail_free(&mail);
    assert_int_equal(bouncer.budget.used, 0);
}

static int open_all(void **state)
{
    struct fault fault = {0};
    (void)state;
    bouncer = (struct bouncer){
        .config = &config, .host_name = SLICE("mx.example.net"), .budget = {.max = 300000}};
    bouncer.loop = io_loop_create(&fault);
    return bouncer.loop == NULL;
}

static int close_all(void **state)
{
    (void)state;
    io_loop_free(&bouncer.loop);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recipients),
        cmocka_unit_test(classes),
        cmocka_unit_test(trace),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
