/* The scripts as the build embeds them; loaded by SCRIPT LOAD and called by EVALSHA. */
#ifndef SLUICE_REDIS_SCRIPT_H
#define SLUICE_REDIS_SCRIPT_H

#include "base/slice.h"

/* Plain ASCII with a NUL behind its length. */
extern const char redis_limiter_lua[];
extern const size_t redis_limiter_lua_len;
extern const char redis_once_lua[];
extern const size_t redis_once_lua_len;

#endif
