/*
 * config - everything that siolb.ini says, as one struct that never changes once it is loaded.
 *
 * Units are in the names. A snapshot is counted: whoever keeps one holds a reference (config_hold / config_release), so
 * that a connection keeps the settings it was born with. One row per setting in options.c; text of values in value.c.
 */
#ifndef SIOLB_CONFIG_H
#define SIOLB_CONFIG_H

#include "../proxy/core/balance.h"
#include "../proxy/core/eio.h"
#include "../proxy/core/forward.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#define CONFIG_LISTENS_MAX 16
#define CONFIG_PATHS_MAX   16

/* An address to bind or to connect to. */
struct address {
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
        struct sockaddr_un un;
    } addr;
    socklen_t bytes;
};

struct config_listen {
    struct address address;
    char *name;       /* canonical text: "0.0.0.0:8080", "[::]:8080", "unix:/run/siolb/http.sock" */
    mode_t unix_mode; /* 0: as umask says */
    bool takes_proxy; /* a trusted peer begins with a PROXY header */
};

struct config_worker {
    struct address address;
    char *name;        /* canonical text: "127.0.0.1:3001"; the identity is a hash of it */
    uint64_t identity; /* the same in every siolb */
    uint16_t weight;   /* 1..256 */
    bool is_in_range;  /* from host:first-last */
};

enum access_log { ACCESS_OFF, ACCESS_ON, ACCESS_JSON };
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct config {
    unsigned references;
    /* [proxy] */
    struct config_listen *listens;
    size_t listen_count;
    struct span *paths; /* as configured, "/socket.io/"; the text is owned */
    size_t path_count;
    int balance; /* enum balance */
    /* [workers] */
    struct config_worker *workers;
    size_t worker_count;
    /* [sticky] */
    uint64_t sessions; /* entries of the sidmap, a power of two; 0: 16 x connections, at most 262144 */
    char *cookie;      /* name, "" for none */
    bool cookie_handshakes;
    int sid_repeated; /* enum eio_repeated */
    int recover;      /* 1: hash; `ask` is not built yet */
    /* [timeouts] milliseconds */
    uint64_t connect_ms;
    uint64_t head_ms;
    uint64_t keepalive_ms;
    uint64_t response_ms; /* 0: of the session, else 120 s */
    uint64_t stall_ms;    /* 0: off */
    uint64_t tunnel_ms;   /* 0: of the session */
    uint64_t drain_ms;
    /* [limits] */
    uint64_t connections;            /* 0: what RLIMIT_NOFILE allows */
    uint64_t per_address;            /* connections; 0: no limit */
    uint64_t handshakes_per_address; /* a second; 0: no limit */
    uint64_t head_bytes;
    uint64_t buffer_bytes;
    uint64_t memory_bytes; /* 0: a quarter of the machine's */
    /* [forward] */
    int forwarded_for;        /* enum forward_mode */
    struct ip_network *trust; /* whose word about addresses is believed */
    size_t trust_count;
    int proxy_protocol; /* towards workers: 0 off, else the version */
    /* [log] */
    char *log_file; /* "" for stderr */
    int log_level;  /* enum log_level */
    int access;     /* enum access_log */
};

/* Where load complains: one call per mistake, `text` is whole ("siolb.ini:12: [workers] worker: ..."). */
typedef void (*config_complain)(void *arg, const char *text);

/* Read a file, or the defaults when `file` is NULL. `listens` and `workers` (NULL-terminated, may be NULL) are values
 * from the command line (-l, -w); they replace those of the file and are complained about as "-l: ...". Every mistake
 * is reported, not the first only. NULL: there were mistakes. The result is the caller's, with one reference. */
struct config *config_load(const char *file, const char *const *listens, const char *const *workers,
                           config_complain complain, void *arg) MUST_CHECK;

struct config *config_hold(struct config *c);
void config_release(struct config *c); /* the last one frees */

/* The effective configuration as ini text, every key with its value (siolb -t). */
void config_print(const struct config *c, FILE *out);

/* siolb.ini.example: every key with default, unit and help, made from the table (siolb --print-defaults). */
void config_print_defaults(FILE *out);

#endif
