/*
 * Functions that must not be used in Sluice: unbounded, locale-dependent or without error
 * reporting. base/check.h includes this file, and every source includes base/check.h by way of its
 * own header, so a use fails to compile with the name of what to use instead. System headers are
 * not affected as long as they are included first by base/check.h.
 */
#ifndef SLUICE_BASE_BANNED_H
#define SLUICE_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define BANNED_USE(use) sluice_banned_function_##use

#undef strcpy
#define strcpy(...) BANNED_USE(use_strbuf_or_memcpy)
#undef strcat
#define strcat(...) BANNED_USE(use_strbuf)
#undef strncpy
#define strncpy(...) BANNED_USE(use_strbuf_or_memcpy)
#undef strncat
#define strncat(...) BANNED_USE(use_strbuf)
#undef sprintf
#define sprintf(...) BANNED_USE(use_snprintf_or_strbuf_addf)
#undef vsprintf
#define vsprintf(...) BANNED_USE(use_vsnprintf_or_strbuf_vaddf)
#undef strtok
#define strtok(...) BANNED_USE(use_slice_cut)
#undef atoi
#define atoi(...) BANNED_USE(use_slice_to_u64)
#undef atol
#define atol(...) BANNED_USE(use_slice_to_u64)
#undef atoll
#define atoll(...) BANNED_USE(use_slice_to_u64)
#undef gmtime
#define gmtime(...) BANNED_USE(use_gmtime_r)
#undef localtime
#define localtime(...) BANNED_USE(use_localtime_r)
#undef ctime
#define ctime(...) BANNED_USE(use_wall_time_format)
#undef asctime
#define asctime(...) BANNED_USE(use_wall_time_format)
#undef gets
#define gets(...) BANNED_USE(use_fgets)

#endif
