/* Any bytes as sluice.yaml: no crash, no leak; what is taken can be looked up and is complete. */
#include "policy/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fault fault = {0};
    struct config *config = config_load_text("fuzz.yaml", slice_of(data, size), &fault);
    if (config == NULL) {
        CHECK(fault.kind == FAULT_INVALID && strncmp(fault.text, "fuzz.yaml:", 10) == 0);
        /* What the check passes, libcyaml takes. */
        CHECK(strncmp(fault.text, "fuzz.yaml: configuration: libcyaml", 34) != 0);
        return 0;
    }
    CHECK(config->kafka.bootstrap_servers != NULL && config->redis.host != NULL);
    CHECK(config->site_count > 0 && config->stream_count > 0);
    for (size_t i = 0; i < config->site_count; i++) {
        const struct config_site *site = &config->sites[i];
        CHECK(site->name != NULL && site->retry_count > 0 && site->connect_timeout_ms > 0);
        (void)config_site_for(config, slice_cstr(site->name), SLICE("mx.example"),
                              SLICE("example"));
    }
    for (size_t i = 0; i < config->vip_count; i++) {
        CHECK(config_vip_named(config, slice_cstr(config->vips[i].name)) == &config->vips[i]);
    }
    for (size_t i = 0; i < config->pool_count; i++) {
        for (size_t j = 0; j < config->pools[i].member_count; j++) {
            CHECK(config_vip_named(config, slice_cstr(config->pools[i].members[j].vip)) != NULL);
        }
    }
    config_free(&config);
    return 0;
}
