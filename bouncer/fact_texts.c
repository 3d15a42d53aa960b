#include "bouncer/fact_texts.h"

#include "base/mem.h"

struct fact_vip {
    uint16_t number; /* from 1 */
    size_t len;
    char name[];
};

void fact_texts_init(struct fact_texts *texts)
{
    *texts = (struct fact_texts){0};
    map_init(&texts->texts);
    map_init(&texts->vips);
}

void fact_texts_free(struct fact_texts *texts)
{
    size_t cursor = 0;
    void *one;
    while ((one = map_next(&texts->texts, &cursor)) != NULL) {
        mem_free(one);
    }
    for (size_t i = 0; i < texts->vip_count; i++) {
        mem_free(texts->by_number[i]);
    }
    mem_free(texts->by_number);
    map_free(&texts->texts);
    map_free(&texts->vips);
}

struct fact_text *fact_text_take(struct fact_texts *texts, struct slice bytes)
{
    struct fact_text *text = map_get(&texts->texts, bytes);
    if (text == NULL) {
        text = mem_zalloc(sizeof(*text) + bytes.len);
        text->len = bytes.len;
        memcpy(text->bytes, bytes.ptr, bytes.len);
        map_put(&texts->texts, slice_of(text->bytes, text->len), text);
        texts->bytes += sizeof(*text) + text->len;
    }
    text->refs++;
    return text;
}

void fact_text_release(struct fact_texts *texts, struct fact_text *text)
{
    CHECK(text->refs > 0);
    if (--text->refs == 0) {
        texts->bytes -= sizeof(*text) + text->len;
        (void)map_remove(&texts->texts, slice_of(text->bytes, text->len));
        mem_free(text);
    }
}

uint16_t fact_vip_number(struct fact_texts *texts, struct slice name)
{
    struct fact_vip *vip = name.len == 0 ? NULL : map_get(&texts->vips, name);
    if (vip != NULL || name.len == 0 || texts->vip_count == FACT_VIPS_MAX) {
        return vip == NULL ? 0 : vip->number;
    }
    vip = mem_zalloc(sizeof(*vip) + name.len);
    vip->len = name.len;
    memcpy(vip->name, name.ptr, name.len);
    texts->by_number =
        mem_realloc(texts->by_number, (texts->vip_count + 1) * sizeof(struct fact_vip *));
    texts->by_number[texts->vip_count++] = vip;
    vip->number = (uint16_t)texts->vip_count;
    map_put(&texts->vips, slice_of(vip->name, vip->len), vip);
    return vip->number;
}

struct slice fact_vip_name(const struct fact_texts *texts, uint16_t number)
{
    CHECK(number > 0 && number <= texts->vip_count);
    const struct fact_vip *vip = texts->by_number[number - 1];
    return slice_of(vip->name, vip->len);
}
