/*
 * json - a strict reader of one JSON object (RFC 8259) that may be cut anywhere; just what Engine.IO bodies need.
 *
 * Pure, no allocation, no recursion. Hands out the members of the outermost object one by one, as raw text; what lies
 * deeper is checked and skipped. Bytes from 0x80 up pass as they are: a sid is opaque bytes (PROTOCOL 2).
 * Ceiling: JSON_DEPTH_MAX levels; deeper is bad.
 */
#ifndef SIOLB_CORE_JSON_H
#define SIOLB_CORE_JSON_H

#include "span.h"

#define JSON_DEPTH_MAX 64

enum json_step {
    JSON_MEMBER, /* one more member; a string is handed out as soon as its closing quote is there */
    JSON_END,    /* the object is whole; it ends at json_reader.at */
    JSON_MORE,   /* good so far, cut here */
    JSON_BAD     /* no JSON object */
};

struct json_member {
    struct span key;   /* raw, with both quotes */
    struct span value; /* raw: a string with both quotes, an object with both braces */
};

/* A walk through one text. To go on after JSON_MORE start again with the longer text. */
struct json_reader {
    struct span text;
    size_t at;        /* 0..at is read */
    uint64_t objects; /* a bit for each level: it is an object, else an array */
    uint8_t depth;    /* levels open */
    uint8_t want;     /* what has to come next, see json.c */
};

void json_begin(struct json_reader *r, struct span text);
enum json_step json_next(struct json_reader *r, struct json_member *out) MUST_CHECK;

/* After JSON_END: are there only blanks behind the object? */
bool json_is_over(struct json_reader *r);

/* Undo the escapes of the string whose opening quote is just before `text`. PARSE_OK: up to its closing quote.
 * PARSE_MORE: cut before that. PARSE_BAD: no JSON string, or it needs more than `size` bytes. In each case
 * out[0..*len_out] is what could be read; of an escape that is cut, nothing. A lone surrogate becomes U+FFFD. */
enum parse json_unescape(struct span text, char *out, size_t size, size_t *len_out) MUST_CHECK;

/* The same for a raw key or value of a member. False: no string, or longer than `size`. */
bool json_string(struct span raw, char *out, size_t size, size_t *len_out) MUST_CHECK;
bool json_string_is(struct span raw, struct span expected);

/* A raw value as a whole number: fraction cut off, UINT64_MAX when over it, 0 when negative. False: no number. */
bool json_number(struct span raw, uint64_t *number_out) MUST_CHECK;

#endif
