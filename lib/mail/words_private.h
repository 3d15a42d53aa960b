/*
 * The phrases themselves. Each table ends with NULL.
 */
#ifndef SLUICE_MAIL_WORDS_PRIVATE_H
#define SLUICE_MAIL_WORDS_PRIVATE_H

#include "mail/words.h"

/* words_bounce.c */
extern const char *const words_subject_bounce[];
extern const char *const words_text_bounce[];
extern const char *const words_delay[];
extern const char *const words_warning[];
extern const char *const words_final[];
extern const char *const words_daemon[];

/* words_opening.c */
extern const char *const words_opening[];
extern const char *const words_delivered[];

/* words_answer.c */
extern const char *const words_subject_auto[];
extern const char *const words_text_auto[];
extern const char *const words_challenge_ask[];
extern const char *const words_challenge_why[];

/* words_notice.c */
extern const char *const words_separator[];
extern const char *const words_recipient[];
extern const char *const words_not_recipient[];
extern const char *const words_boilerplate[];
extern const char *const words_quoted_field[];
extern const char *const words_label[];
extern const char *const words_footer[];

#endif
