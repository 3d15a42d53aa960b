/*
 * Whole mails with the kind and the recipients that they must be read as.
 */
#ifndef SLUICE_TESTS_MAIL_LETTERS_H
#define SLUICE_TESTS_MAIL_LETTERS_H

#include "mail/returned.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct letter {
    const char *name;
    const char *text;
    enum returned_kind kind;
    const char *recipients; /* with commas, in their order */
};

static inline void letter_read(struct arena *arena, const char *text, struct returned_mail *mail)
{
    struct fault fault = {0};
    assert_true(returned_mail_read(arena, slice_cstr(text), mail, &fault));
}

/* 1 when the letter is read otherwise, which is told. */
static inline unsigned letter_check(const struct letter *letter)
{
    struct arena *arena = arena_create(65536, RETURNED_ARENA_MAX);
    struct returned_mail mail;
    char found[512];
    size_t len = 0;
    found[0] = '\0';
    letter_read(arena, letter->text, &mail);
    for (size_t i = 0; i < mail.recipient_count && len < sizeof(found) - 300; i++) {
        len += (size_t)snprintf(found + len, sizeof(found) - len, "%s%.*s", i > 0 ? "," : "",
                                SLICE_FMT(mail.recipients[i].address));
    }
    bool good = mail.kind == letter->kind && strcmp(found, letter->recipients) == 0;
    if (!good) {
        print_error("%s: %s to \"%s\"\n", letter->name, returned_kind_name(mail.kind), found);
    }
    arena_free(&arena);
    return good ? 0 : 1;
}

static inline void letters_check(const struct letter *letters, size_t count)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < count; i++) {
        wrong += letter_check(&letters[i]);
    }
    assert_int_equal(wrong, 0);
}

#endif
