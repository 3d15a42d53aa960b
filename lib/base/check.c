#include "base/check.h"

void check_failed(const char *file, int line, const char *function, const char *what)
{
    fprintf(stderr, "sluice: %s:%d: %s: check failed: %s\n", file, line, function, what);
    fflush(stderr);
    abort();
}
