#include "suppress/key.h"

#include "smtp/address.h"

bool suppress_tenant_valid(struct slice tenant)
{
    for (size_t i = 0; i < tenant.len; i++) {
        char c = tenant.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-')) {
            return false;
        }
    }
    return tenant.len <= SUPPRESS_TENANT_MAX;
}

bool suppress_list_valid(struct slice list)
{
    return list.len == 0 ||
           (list.len <= SUPPRESS_LIST_MAX && !slice_has_control(list) && slice_is_utf8(list));
}

bool suppress_address_fold_known(struct slice address, struct slice domain,
                                 char out[SUPPRESS_ADDRESS_MAX + 1], struct slice *folded)
{
    size_t local = address.len;
    while (local > 0 && address.ptr[local - 1] != '@') {
        local--;
    }
    if (local < 2 || local + domain.len > SUPPRESS_ADDRESS_MAX) { /* `local` counts the "@" */
        return false;
    }
    memcpy(out, address.ptr, local);
    memcpy(out + local, domain.ptr, domain.len);
    ascii_lower(out, local);
    out[local + domain.len] = '\0';
    *folded = slice_of(out, local + domain.len);
    return true;
}

bool suppress_address_fold(struct slice address, char out[SUPPRESS_ADDRESS_MAX + 1],
                           struct slice *folded, struct fault *fault)
{
    struct smtp_address parsed;
    char domain[SMTP_DOMAIN_MAX + 1];
    if (!smtp_address_parse(address, &parsed, fault) ||
        !smtp_domain_normalise(parsed.domain, domain, fault)) {
        return false;
    }
    return suppress_address_fold_known(address, slice_cstr(domain), out, folded) ||
           fault_set(fault, FAULT_INVALID, 0, "longer than %d bytes", SUPPRESS_ADDRESS_MAX);
}

size_t suppress_key_write(const struct suppress_key *key, char out[SUPPRESS_KEY_MAX])
{
    char *at = out;
    CHECK(key->tenant.len <= SUPPRESS_TENANT_MAX && key->list.len <= SUPPRESS_LIST_MAX &&
          key->address.len <= SUPPRESS_ADDRESS_MAX);
    CHECK(key->tenant.len > 0 || key->list.len == 0);
    if (key->tenant.len > 0) {
        memcpy(at, key->tenant.ptr, key->tenant.len);
        at += key->tenant.len;
    }
    *at++ = '/';
    for (size_t i = 0; i < key->list.len; i++) {
        char c = key->list.ptr[i];
        if (c == '%' || c == '/') {
            *at++ = '%';
            *at++ = '2';
            *at++ = c == '%' ? '5' : 'F';
        } else {
            *at++ = c;
        }
    }
    *at++ = '/';
    if (key->address.len > 0) {
        memcpy(at, key->address.ptr, key->address.len);
        at += key->address.len;
    }
    return (size_t)(at - out);
}

static bool read_list(struct slice text, char room[SUPPRESS_LIST_MAX], struct slice *list)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (len == SUPPRESS_LIST_MAX) {
            return false;
        }
        if (c == '%') {
            struct slice code = slice_of(text.ptr + i + 1, text.len - i - 1);
            code = slice_head(code, 2);
            if (!slice_eq(code, SLICE("25")) && !slice_eq(code, SLICE("2F"))) {
                return false;
            }
            c = code.ptr[1] == '5' ? '%' : '/';
            i += 2;
        }
        room[len++] = c;
    }
    *list = slice_of(room, len);
    return suppress_list_valid(*list);
}

bool suppress_key_read(struct slice text, char list_room[SUPPRESS_LIST_MAX],
                       struct suppress_key *key)
{
    struct slice rest = text;
    key->tenant = slice_cut(&rest, '/');
    if (rest.ptr == NULL || !suppress_tenant_valid(key->tenant)) {
        return false;
    }
    struct slice list = slice_cut(&rest, '/');
    if (rest.ptr == NULL || !read_list(list, list_room, &key->list)) {
        return false;
    }
    key->address = rest;
    return rest.len > 2 && rest.len <= SUPPRESS_ADDRESS_MAX && memchr(rest.ptr, '@', rest.len) &&
           !slice_has_control(rest) && (key->tenant.len > 0 || key->list.len == 0);
}
