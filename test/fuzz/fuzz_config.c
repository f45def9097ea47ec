/*
 * Any bytes as siolb.ini and as the values of -l and -w. Either there is a config, and then it is one that siolb can
 * run with and that survives being printed and read again; or there are complaints, each one line of text.
 */
#include "../../config/load.h"
#include "../../config/value.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void note_complaint(void *arg, const char *text)
{
    size_t *complaints = arg;
    ++*complaints;
    must(text[0] != '\0');
    for (; *text; text++)
        must((unsigned char)*text >= 0x20 || *text == '\t');
}

static struct config *load(const char *text, size_t bytes)
{
    size_t complaints = 0;
    FILE *in = fmemopen((void *)text, bytes, "r");
    must(in != NULL);
    struct config *c = config_load_stream(in, "f", NULL, NULL, note_complaint, &complaints);
    (void)fclose(in);
    must((c != NULL) == (complaints == 0));
    return c;
}

static void check_workers(const struct config *c)
{
    must(c->worker_count >= 1 && c->worker_count <= WORKERS_MAX);
    for (size_t i = 0; i < c->worker_count; i++) {
        const struct config_worker *w = &c->workers[i];
        must(w->weight >= 1 && w->weight <= 256);
        must(w->address.bytes > 0 && w->address.bytes <= sizeof w->address.addr);
        must(w->address.addr.any.sa_family == AF_UNIX || value_port(&w->address) != 0);
        for (size_t k = 0; k < i && k < 16; k++)
            must(strcmp(w->name, c->workers[k].name) != 0 && w->identity != c->workers[k].identity);
    }
}

/* No bit of the base lies behind its prefix, so that the base is one of the network. */
static void check_network(const struct ip_network *n)
{
    struct ip_network single = *n;
    struct span bytes = ip_bytes(&n->base);
    must(n->prefix <= 8 * bytes.len);
    for (size_t bit = n->prefix; bit < 8 * bytes.len; bit++)
        must(!(n->base.bytes[bit / 8] & 0x80 >> bit % 8));
    single.prefix = (uint8_t)(8 * bytes.len);
    must(ip_is_in(&n->base, n, 1) && ip_is_in(&n->base, &single, 1));
}

static void check_forward(const struct config *c)
{
    must(c->forwarded_for >= FORWARD_OFF && c->forwarded_for <= FORWARD_REPLACE);
    must(c->proxy_protocol >= 0 && c->proxy_protocol <= 2);
    for (size_t i = 0; i < c->trust_count; i++)
        check_network(&c->trust[i]);
    for (size_t i = 0; i < c->listen_count; i++)
        must(!c->listens[i].takes_proxy || c->trust_count > 0);
    must(c->handshakes_per_address <= 1000000); /* far below BUCKET_RATE_MAX */
}

static void check_config(const struct config *c)
{
    check_workers(c);
    check_forward(c);
    must(c->references == 1);
    must(c->listen_count >= 1 && c->listen_count <= CONFIG_LISTENS_MAX);
    must(c->path_count >= 1 && c->path_count <= CONFIG_PATHS_MAX);
    for (size_t i = 0; i < c->path_count; i++)
        must(c->paths[i].len >= 1 && c->paths[i].ptr[0] == '/');
    must(c->balance >= 0 && c->balance < BALANCE_POLICIES);
    must(c->recover == 1);
    must((c->sessions & (c->sessions - 1)) == 0);
    must(c->connect_ms > 0 && c->head_ms > 0 && c->keepalive_ms > 0);
    must(c->head_bytes >= 1024 && c->buffer_bytes >= 4096);
    must(c->cookie && c->log_file);
}

static char *printed(const struct config *c, size_t *bytes)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, bytes);
    must(out != NULL);
    config_print(c, out);
    must(fclose(out) == 0);
    return text;
}

static void check_file(const char *text, size_t bytes)
{
    struct config *c = load(text, bytes);
    if (!c)
        return;
    check_config(c);
    size_t first_bytes;
    size_t second_bytes;
    char *first = printed(c, &first_bytes);
    struct config *again = load(first, first_bytes);
    must(again != NULL);
    char *second = printed(again, &second_bytes);
    must(strcmp(first, second) == 0);
    free(first);
    free(second);
    config_release(c);
    config_release(again);
}

/* An address that was understood has a canonical text, which means the same address. */
static void check_values(struct span text)
{
    struct value_why why = {""};
    struct value_listen listen;
    struct value_worker worker;
    char name[VALUE_ADDRESS_TEXT_MAX];
    char again[VALUE_ADDRESS_TEXT_MAX];
    if (value_listen(text, &listen, &why)) {
        value_print_address(&listen.address, name);
        must(value_listen(span_from_str(name), &listen, &why));
        value_print_address(&listen.address, again);
        must(strcmp(name, again) == 0);
    } else {
        must(why.text[0] != '\0');
    }
    if (value_worker_or_ports(text, &worker, &why)) {
        must(worker.weight >= 1 && worker.last_port >= value_port(&worker.first));
        value_print_address(&worker.first, name);
        must(value_worker(span_from_str(name), &worker, &why));
        value_print_address(&worker.first, again);
        must(strcmp(name, again) == 0);
    }
}

/* Elements are without blanks and commas, and there is an end of them; a network has a canonical text, too. */
static void check_networks(struct span text)
{
    struct value_why why = {""};
    struct ip_network network, again;
    struct span element;
    char name[VALUE_NETWORK_TEXT_MAX];
    while (value_take_element(&text, &element)) {
        must(element.len > 0 && element.ptr + element.len == text.ptr);
        must(!memchr(element.ptr, ',', element.len) && !memchr(element.ptr, ' ', element.len));
        if (!value_network(element, &network, &why)) {
            must(why.text[0] != '\0');
            continue;
        }
        check_network(&network);
        value_print_network(&network, name);
        must(value_network(span_from_str(name), &again, &why));
        must(ip_equal(&network.base, &again.base) && network.prefix == again.prefix);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* An own copy without a byte to spare. */
    char *text = malloc(size ? size : 1);
    must(text != NULL);
    if (size)
        memcpy(text, data, size);
    check_values(span_of(text, size));
    check_networks(span_of(text, size));
    check_file(text, size);
    free(text);
    return 0;
}
