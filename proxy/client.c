#include "client.h"

#include <errno.h>

static enum stream_result client_read(struct client *c, char *to, size_t room, size_t *got_out)
{
    enum stream_result result = stream_read(&c->stream, to, room, got_out);
    c->got += *got_out;
    if (result == STREAM_EOF)
        c->has_ended = true;
    return result;
}

enum stream_result client_fetch(struct client *c, struct span *bytes_out)
{
    size_t got;
    *bytes_out = backlog_span(c->inbox);
    if (bytes_out->len)
        return STREAM_OK;
    if (!(c->stream.flags & STREAM_READABLE))
        return STREAM_BLOCKED;
    enum stream_result result = client_read(c, c->ctx->read_buffer, c->ctx->read_bytes, &got);
    *bytes_out = span_of(c->ctx->read_buffer, got);
    return result;
}

bool client_used(struct client *c, struct span bytes, size_t n)
{
    if (c->inbox) {
        backlog_drop(&c->inbox, &c->ctx->metrics, n);
        return true;
    }
    return ctx_keep(c->ctx, &c->inbox, span_skip(bytes, n));
}

enum stream_result client_fetch_more(struct client *c, size_t bytes_max, struct span *bytes_out)
{
    size_t got, held = backlog_span(c->inbox).len;
    *bytes_out = backlog_span(c->inbox);
    if (!(c->stream.flags & STREAM_READABLE) || held >= bytes_max)
        return STREAM_BLOCKED;
    size_t room = bytes_max - held;
    if (room > c->ctx->read_bytes)
        room = c->ctx->read_bytes;
    /* read into the shared buffer first: the inbox should not be larger than what came */
    enum stream_result result = client_read(c, c->ctx->read_buffer, room, &got);
    if (result == STREAM_OK && !ctx_keep(c->ctx, &c->inbox, span_of(c->ctx->read_buffer, got))) {
        errno = ENOMEM;
        return STREAM_FAILED;
    }
    *bytes_out = backlog_span(c->inbox);
    return result;
}

bool client_send(struct client *c, struct span bytes)
{
    size_t sent = 0;
    c->sent += bytes.len;
    if (!c->outbox && bytes.len && stream_write(&c->stream, bytes, &sent) == STREAM_FAILED)
        return false;
    if (ctx_keep(c->ctx, &c->outbox, span_skip(bytes, sent)))
        return true;
    errno = ENOMEM;
    return false;
}

bool client_flush(struct client *c)
{
    size_t sent;
    if (!c->outbox || !(c->stream.flags & STREAM_WRITABLE))
        return true;
    if (stream_write(&c->stream, backlog_span(c->outbox), &sent) == STREAM_FAILED)
        return false;
    backlog_drop(&c->outbox, &c->ctx->metrics, sent);
    return true;
}

void client_note_limited(struct client *c, enum metric which, enum hint hint, const struct ip *address)
{
    char text[IP_TEXT_BYTES];
    metrics_add(&c->ctx->metrics, which, 1);
    if (ctx_may_tell(c->ctx, hint))
        log_line(&c->ctx->log, LOG_WARN, "limited",
                 "conn=%u client=%s limit=%s total=%llu hint=\"if this is a balancer, name it in forward.trust\"",
                 c->id, ip_text(address, text), hint == HINT_PER_ADDRESS ? "per_address" : "handshakes_per_address",
                 (unsigned long long)c->ctx->metrics.value[which]);
}

void client_fini(struct client *c)
{
    backlog_free(&c->inbox, &c->ctx->metrics);
    backlog_free(&c->outbox, &c->ctx->metrics);
    config_release(c->config);
    c->config = NULL;
}
