/* From the configuration to lib/kafka's properties. */
#include "ops/sluicectl/kafka_setup.h"

#include "base/mem.h"

struct kafka_properties kafka_setup_properties(const struct config *config)
{
    struct kafka_property *items = mem_calloc(config->kafka.property_count + 1, sizeof(*items));
    items[0] = (struct kafka_property){"bootstrap.servers", config->kafka.bootstrap_servers};
    for (size_t i = 0; i < config->kafka.property_count; i++) {
        items[i + 1] = (struct kafka_property){config->kafka.properties[i].name,
                                               config->kafka.properties[i].value};
    }
    return (struct kafka_properties){items, config->kafka.property_count + 1};
}

void kafka_setup_free(struct kafka_properties *properties)
{
    union {
        const struct kafka_property *given;
        struct kafka_property *own;
    } items = {properties->items};
    mem_free(items.own);
    *properties = (struct kafka_properties){NULL, 0};
}
