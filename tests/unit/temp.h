/* Names for mkstemp() and mkdtemp(), in the folder that TMPDIR names. */
#ifndef SLUICE_TESTS_TEMP_H
#define SLUICE_TESTS_TEMP_H

#include <stdio.h>
#include <stdlib.h>

#define TEMP_NAME_MAX 256

static inline char *temp_name(char name[TEMP_NAME_MAX])
{
    const char *folder = getenv("TMPDIR");
    (void)snprintf(name, TEMP_NAME_MAX, "%s/sluice-test-XXXXXX",
                   folder != NULL && folder[0] != '\0' ? folder : "/tmp");
    return name;
}

#endif
