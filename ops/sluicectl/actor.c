#include "ops/sluicectl/actor.h"

#include <stdlib.h>

const char *actor_default(void)
{
    const char *name = getenv("SUDO_USER");
    name = name != NULL && name[0] != '\0' ? name : getenv("USER");
    return name != NULL && name[0] != '\0' ? name : "sluicectl";
}
