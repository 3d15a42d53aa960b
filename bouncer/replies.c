#include "bouncer/replies.h"

static const char *const column_names[REPLIES_COLUMN_COUNT] = {
    "id", "phase", "code", "enhanced", "text", "provider", "remote_host", "recipient", "sender",
};

bool replies_header_read(struct replies_header *header, struct slice line, struct fault *fault)
{
    for (size_t i = 0; i < REPLIES_COLUMN_COUNT; i++) {
        header->at[i] = -1;
    }
    header->count = 0;
    while (line.ptr != NULL) {
        struct slice name = slice_cut(&line, '\t');
        for (size_t i = 0; i < REPLIES_COLUMN_COUNT; i++) {
            if (header->at[i] < 0 && slice_eq(name, slice_cstr(column_names[i]))) {
                header->at[i] = (int)header->count;
            }
        }
        header->count++;
    }
    return header->at[REPLIES_TEXT] >= 0 ||
           fault_set(fault, FAULT_INVALID, 0,
                     "the first line must name the columns, \"text\" among them");
}

static bool read_code(struct slice text, uint16_t *code)
{
    uint64_t value = 0;
    if (text.len > 0 && (!slice_to_u64(text, &value) || value > 999)) {
        return false;
    }
    *code = value >= 200 && value <= 599 ? (uint16_t)value : 0;
    return true;
}

static bool read_phase(struct slice text, enum smtp_phase *phase)
{
    *phase = SMTP_PHASE_NONE;
    for (unsigned i = SMTP_PHASE_DNS; i <= SMTP_PHASE_IDLE && text.len > 0; i++) {
        if (slice_eq_nocase(text, slice_cstr(smtp_phase_name((enum smtp_phase)i)))) {
            *phase = (enum smtp_phase)i;
        }
    }
    return text.len == 0 || *phase != SMTP_PHASE_NONE;
}

bool replies_line_read(const struct replies_header *header, struct slice line, struct slice *id,
                       struct classify_input *input, const char **problem)
{
    struct slice values[REPLIES_COLUMN_COUNT] = {{NULL, 0}};
    for (int at = 0; line.ptr != NULL; at++) {
        struct slice value = slice_trim(slice_cut(&line, '\t'));
        for (size_t i = 0; i < REPLIES_COLUMN_COUNT; i++) {
            if (header->at[i] == at) {
                values[i] = value;
            }
        }
    }
    *id = values[REPLIES_ID];
    *input = (struct classify_input){
        .text = values[REPLIES_TEXT],
        .provider = values[REPLIES_PROVIDER],
        .remote_host = values[REPLIES_HOST],
        .recipient = values[REPLIES_RECIPIENT],
        .sender = values[REPLIES_SENDER],
    };
    if (values[REPLIES_TEXT].ptr == NULL) {
        *problem = "the line has too few columns";
        return false;
    }
    if (!read_code(values[REPLIES_CODE], &input->code)) {
        *problem = "the code is not a reply code";
        return false;
    }
    if (!read_phase(values[REPLIES_PHASE], &input->phase)) {
        *problem = "the phase is not known";
        return false;
    }
    struct slice enhanced = values[REPLIES_ENHANCED];
    if (enhanced.len > 0 && !smtp_enhanced_take(&enhanced, &input->enhanced)) {
        *problem = "the enhanced code is none";
        return false;
    }
    return true;
}
