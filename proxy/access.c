#include "access.h"

#include "clock.h"

#include <stdio.h>

#define FIELD_BYTES 512

static const char *transport_name(const struct eio_target *t)
{
    static const char *const name[] = {
        [EIO_TRANSPORT_NONE] = "-",
        [EIO_POLLING] = "polling",
        [EIO_WEBSOCKET] = "websocket",
        [EIO_TRANSPORT_OTHER] = "other",
    };
    return name[t->transport];
}

static struct span without_query(struct span target)
{
    const char *mark = memchr(target.ptr, '?', target.len);
    return mark ? span_of(target.ptr, (size_t)(mark - target.ptr)) : target;
}

static const char plain_format[] = "%s access conn=%u client=%s method=%s path=%s transport=%s sid=%s status=%u "
                                   "worker=%s route=%s in=%llu out=%llu ms=%llu";
static const char json_format[] =
    "{\"time\":\"%s\",\"conn\":%u,\"client\":\"%s\",\"method\":\"%s\",\"path\":\"%s\","
    "\"transport\":\"%s\",\"sid\":\"%s\",\"status\":%u,\"worker\":\"%s\",\"route\":\"%s\","
    "\"in\":%llu,\"out\":%llu,\"ms\":%llu}";

void access_log(const struct exchange *x, unsigned status)
{
    const struct client *c = x->client;
    if (c->config->access == ACCESS_OFF)
        return;
    bool json = c->config->access == ACCESS_JSON;
    const char *(*escape)(struct span, char *, size_t) = json ? log_json_value : log_value;
    char line[LOG_LINE_BYTES], when[CLOCK_TEXT_BYTES], client[IP_TEXT_BYTES], method[64], path[FIELD_BYTES];
    char sid[SID_SHOWN_BYTES] = "-";
    struct span head = exchange_head(x);
    if (x->target.has_sid)
        eio_sid_shown(eio_sid(&x->target), sid);
    clock_text(when);
    snprintf(line, sizeof(line), json ? json_format : plain_format, when, c->id, ip_text(&x->from, client),
             escape(span_of(head.ptr, x->request.method_name.len), method, sizeof(method)),
             escape(without_query(exchange_target(x)), path, sizeof(path)), transport_name(&x->target), sid, status,
             x->worker ? x->worker->name : "-", route_name(x->route.route), (unsigned long long)x->bytes_up,
             (unsigned long long)x->bytes_down, (unsigned long long)(clock_ms() - x->started_ms));
    log_access(&c->ctx->log, line);
}
