#include "worker/tenure.h"

#include "ledger/gate.h"

#define STATES 4u

static void set_state(struct tenures *tenures, enum tenure_state state)
{
    atomic_store(&tenures->kept[tenures->last % TENURES_KEPT].state,
                 (unsigned long long)tenures->last * STATES + (unsigned)state);
}

static enum tenure_state state_of(const struct tenures *tenures, uint32_t number)
{
    unsigned long long state =
        atomic_load_explicit(&tenures->kept[number % TENURES_KEPT].state, memory_order_acquire);
    return state / STATES == number ? (enum tenure_state)(state % STATES) : TENURE_LOST;
}

uint32_t tenure_begin(struct tenures *tenures)
{
    tenures->last++;
    set_state(tenures, TENURE_OWNED);
    return tenures->last;
}

void tenure_leave(struct tenures *tenures)
{
    if (tenures->last > 0 && state_of(tenures, tenures->last) == TENURE_OWNED) {
        atomic_store(&tenures->kept[tenures->last % TENURES_KEPT].left_us, mono_now().us);
        set_state(tenures, TENURE_LEAVING);
    }
}

void tenure_released(struct tenures *tenures)
{
    CHECK(state_of(tenures, tenures->last) == TENURE_LEAVING);
    set_state(tenures, TENURE_RELEASED);
}

void tenure_lost(struct tenures *tenures)
{
    if (tenures->last > 0) {
        set_state(tenures, TENURE_LOST);
    }
}

bool tenure_is_owned(const struct tenures *tenures, uint32_t number)
{
    return number == 0 || state_of(tenures, number) == TENURE_OWNED;
}

bool tenure_contact_is_fresh(const struct tenures *tenures, struct mono_time now)
{
    if (tenures->consumer == NULL) {
        return true;
    }
    struct mono_time contact = {kafka_consumer_contact_us(tenures->consumer)};
    return ledger_gate_open(LEDGER_OWNED, now, contact, contact, tenures->session_timeout_us, 0);
}

bool tenure_may_end(const struct tenures *tenures, uint32_t number, bool in_flight,
                    struct mono_time now)
{
    if (number == 0) {
        return true;
    }
    enum tenure_state state = state_of(tenures, number);
    struct mono_time left = {
        atomic_load_explicit(&tenures->kept[number % TENURES_KEPT].left_us, memory_order_acquire)};
    bool in_time = ledger_gate_open(LEDGER_RELEASED, now, left, left, tenures->session_timeout_us,
                                    (int64_t)TENURE_WAIT_MS * 1000);
    switch (state) {
    case TENURE_OWNED: return tenure_contact_is_fresh(tenures, now);
    case TENURE_LEAVING: return in_time && tenure_contact_is_fresh(tenures, now);
    case TENURE_RELEASED: return in_flight && in_time;
    case TENURE_LOST: break;
    }
    return false;
}
