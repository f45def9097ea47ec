/*
 * value - the text of one value, "30s", "64k", "127.0.0.1:3001-3004 weight=2", to numbers and addresses and back.
 *
 * Pure; looks up no names: addresses are numeric, or `localhost`, which is 127.0.0.1. Strict: what is not wholly
 * understood is refused, and `why` tells it in words that need no more than the setting's name in front of them.
 * Texts come trimmed (inih does that) and are at most a line long; control bytes are refused where text is kept.
 */
#ifndef SIOLB_CONFIG_VALUE_H
#define SIOLB_CONFIG_VALUE_H

#include "config.h"

/* Why a value was refused. Long texts are cut. */
struct value_why {
    char text[256];
};

/* Say why; returns false, so that a parser can end with it. */
bool value_refuse(struct value_why *why, const char *format, ...) PRINTF_LIKE(2, 3);

/* How much of a text a complaint quotes: printf's "%.*s" with value_quoted(text). */
#define VALUE_QUOTED_MAX  60
#define value_quoted(txt) (int)((txt).len < VALUE_QUOTED_MAX ? (txt).len : VALUE_QUOTED_MAX), (txt).ptr

/* Numbers. One that is too large for 64 bits reads as UINT64_MAX, so that the range of the setting refuses it. */
bool value_count(struct span text, uint64_t *out, struct value_why *why) MUST_CHECK;   /* "200" */
bool value_duration(struct span text, uint64_t *ms, struct value_why *why) MUST_CHECK; /* "500ms" "2s" "5m" "1h" "0" */
bool value_size(struct span text, uint64_t *bytes, struct value_why *why) MUST_CHECK;  /* "65536" "64k" "1m" "1g" */

/* Texts that are kept as they are. */
bool value_cookie_name(struct span text, struct value_why *why) MUST_CHECK; /* a token (RFC 6265 4.1.1), or empty */
bool value_file_name(struct span text, struct value_why *why) MUST_CHECK;   /* no control bytes; may be empty */
bool value_path(struct span text, struct value_why *why) MUST_CHECK;        /* "/socket.io/", at most 256 bytes */

/* The shortest text that reads back as the same number. */
#define VALUE_TEXT_MAX 32
void value_print_duration(uint64_t ms, char out[VALUE_TEXT_MAX]);
void value_print_size(uint64_t bytes, char out[VALUE_TEXT_MAX]);

/* Canonical text of an address: "127.0.0.1:3001", "[::1]:3001", "unix:/run/chat/1.sock". */
#define VALUE_ADDRESS_TEXT_MAX (sizeof "unix:" + sizeof(((struct sockaddr_un *)NULL)->sun_path))
void value_print_address(const struct address *a, char out[VALUE_ADDRESS_TEXT_MAX]);

/* Port of an inet address, 0 for a unix socket. */
uint16_t value_port(const struct address *a);
void value_set_port(struct address *a, uint16_t port);

/* What `listen` says: "0.0.0.0:8080", "[::]:8080 proxy", "unix:/run/siolb/http.sock mode=0660". Port 0: the kernel
 * picks. */
struct value_listen {
    struct address address;
    mode_t unix_mode; /* 0: not said */
    bool takes_proxy;
};
bool value_listen(struct span text, struct value_listen *out, struct value_why *why) MUST_CHECK;

/* What `trust` says: "10.0.0.0/8", "2001:db8::/32", "192.168.0.7", or "unix" for the peers of unix sockets. Bits behind
 * the prefix are refused: who writes 10.0.0.7/8 means something else. */
bool value_network(struct span text, struct ip_network *out, struct value_why *why) MUST_CHECK;

/* "10.0.0.0/8", "unix"; a single address has no prefix. */
#define VALUE_NETWORK_TEXT_MAX (IP_TEXT_BYTES + 4)
void value_print_network(const struct ip_network *n, char out[VALUE_NETWORK_TEXT_MAX]);

/* Take the next element off a list whose elements stand apart by blanks or commas; false: there is none. */
bool value_take_element(struct span *list, struct span *out);

/* What `worker` says: one address, or as many as the range has ports, `weight=` behind it. */
struct value_worker {
    struct address first; /* with port first_port; an IPv4 address written as IPv6 (::ffff:127.0.0.1) is IPv4 here */
    uint16_t last_port;   /* of a range; else that of `first`, 0 for a unix socket */
    bool is_range;
    uint16_t weight; /* 1..256 */
};
bool value_worker(struct span text, struct value_worker *out, struct value_why *why) MUST_CHECK;

/* The same for the command line (-w), where ports alone stand for those of 127.0.0.1: "3001-3004". */
bool value_worker_or_ports(struct span text, struct value_worker *out, struct value_why *why) MUST_CHECK;

#endif
