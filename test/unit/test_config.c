/* load.c, options.c and print.c: ini text to a config or to complaints, and the texts made from the table. */
#include "unit.h"

#include "../../config/load.h"
#include "../../config/options.h"

#include <stdio.h>
#include <stdlib.h>

#define COMPLAINTS_MAX 4096

static void collect(void *arg, const char *text)
{
    char *all = arg;
    size_t len = strlen(all);
    assert_true(len + strlen(text) + 2 < COMPLAINTS_MAX);
    (void)snprintf(all + len, COMPLAINTS_MAX - len, "%s\n", text);
}

static struct config *load_bytes(struct span ini, const char *const *listens, const char *const *workers,
                                 char complaints[COMPLAINTS_MAX])
{
    FILE *in = fmemopen((void *)ini.ptr, ini.len, "r");
    assert_non_null(in);
    complaints[0] = '\0';
    struct config *c = config_load_stream(in, "f", listens, workers, collect, complaints);
    (void)fclose(in);
    assert_int_equal(c != NULL, complaints[0] == '\0');
    return c;
}

static struct config *load_good(const char *ini)
{
    char complaints[COMPLAINTS_MAX];
    struct config *c = load_bytes(span_from_str(ini), NULL, NULL, complaints);
    if (!c)
        fail_msg("%s: %s", ini, complaints);
    return c;
}

struct mistake {
    const char *ini;
    const char *complaints; /* all of them, each with a newline */
};

static void check_mistakes(const struct mistake *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char complaints[COMPLAINTS_MAX];
        struct config *c = load_bytes(span_from_str(rows[i].ini), NULL, NULL, complaints);
        assert_string_equal(complaints, rows[i].complaints);
        assert_null(c);
    }
}

/* A text of what a function prints; the caller frees it. */
static char *printed(const struct config *c, void (*print)(FILE *out))
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    if (print)
        print(out);
    else
        config_print(c, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

#define WORKERS "[workers]\nworker = 127.0.0.1:3001\n"

/* ---- what is said and what is not -------------------------------------------------------------------------------- */

static void what_a_file_does_not_say_has_its_default(void **state)
{
    (void)state;
    struct config *c = load_good(WORKERS);
    assert_int_equal(c->listen_count, 1);
    assert_string_equal(c->listens[0].name, "0.0.0.0:8080");
    assert_int_equal(c->path_count, 1);
    assert_span_is(c->paths[0], "/socket.io/");
    assert_int_equal(c->balance, BALANCE_LEAST);
    assert_int_equal(c->sessions, 0);
    assert_string_equal(c->cookie, "");
    assert_false(c->cookie_handshakes);
    assert_int_equal(c->sid_repeated, EIO_LAST_COUNTS);
    assert_int_equal(c->recover, 1);
    assert_int_equal(c->connect_ms, 2000);
    assert_int_equal(c->head_ms, 10000);
    assert_int_equal(c->keepalive_ms, 75000);
    assert_int_equal(c->response_ms, 0);
    assert_int_equal(c->stall_ms, 60000);
    assert_int_equal(c->tunnel_ms, 0);
    assert_int_equal(c->drain_ms, 20000);
    assert_int_equal(c->connections, 0);
    assert_int_equal(c->head_bytes, 16384);
    assert_int_equal(c->buffer_bytes, 65536);
    assert_string_equal(c->log_file, "");
    assert_int_equal(c->log_level, LOG_INFO);
    assert_int_equal(c->access, ACCESS_OFF);
    config_release(c);
}

static void what_a_file_says_lands_in_its_field(void **state)
{
    (void)state;
    struct config *c = load_good("[proxy]\nlisten = [::]:80\nlisten = unix:/x mode=0660\npath = /a/\npath = /b\n"
                                 "balance = source\n"
                                 "[workers]\nworker = 10.0.0.1:3001-3002 weight=7\nworker = unix:/w\n"
                                 "[sticky]\nsessions = 1000\ncookie = io\ncookie_handshakes = on\n"
                                 "sid_repeated = first\nrecover = hash\n"
                                 "[timeouts]\nconnect = 1s\nhead = 2s\nkeepalive = 3s\nresponse = 4s\nstall = 0\n"
                                 "tunnel = 5m\ndrain = 7ms\n"
                                 "[limits]\nconnections = 9\nhead_size = 8k\nbuffer = 1m\n"
                                 "[log]\nfile = /var/log/x\nlevel = debug\naccess = json\n");
    assert_int_equal(c->listen_count, 2);
    assert_string_equal(c->listens[0].name, "[::]:80");
    assert_int_equal(c->listens[0].address.addr.any.sa_family, AF_INET6);
    assert_string_equal(c->listens[1].name, "unix:/x");
    assert_int_equal(c->listens[1].unix_mode, 0660);
    assert_int_equal(c->path_count, 2);
    assert_span_is(c->paths[0], "/a/");
    assert_span_is(c->paths[1], "/b");
    assert_int_equal(c->balance, BALANCE_SOURCE);
    assert_int_equal(c->worker_count, 3);
    assert_string_equal(c->workers[1].name, "10.0.0.1:3002");
    assert_int_equal(value_port(&c->workers[1].address), 3002);
    assert_int_equal(c->workers[1].weight, 7);
    assert_true(c->workers[1].is_in_range);
    assert_string_equal(c->workers[2].name, "unix:/w");
    assert_int_equal(c->workers[2].weight, 1);
    assert_false(c->workers[2].is_in_range);
    assert_int_equal(c->sessions, 1024);
    assert_string_equal(c->cookie, "io");
    assert_true(c->cookie_handshakes);
    assert_int_equal(c->sid_repeated, EIO_FIRST_COUNTS);
    assert_int_equal(c->connect_ms, 1000);
    assert_int_equal(c->head_ms, 2000);
    assert_int_equal(c->keepalive_ms, 3000);
    assert_int_equal(c->response_ms, 4000);
    assert_int_equal(c->stall_ms, 0);
    assert_int_equal(c->tunnel_ms, 300000);
    assert_int_equal(c->drain_ms, 7);
    assert_int_equal(c->connections, 9);
    assert_int_equal(c->head_bytes, 8192);
    assert_int_equal(c->buffer_bytes, 1048576);
    assert_string_equal(c->log_file, "/var/log/x");
    assert_int_equal(c->log_level, LOG_DEBUG);
    assert_int_equal(c->access, ACCESS_JSON);
    config_release(c);
}

static void the_entries_of_the_session_map_are_rounded_up_to_a_power_of_two(void **state)
{
    (void)state;
    static const struct {
        const char *ini;
        uint64_t sessions;
    } rows[] = {
        {WORKERS "[sticky]\nsessions = 0\n", 0},
        {WORKERS "[sticky]\nsessions = 64\n", 64},
        {WORKERS "[sticky]\nsessions = 65\n", 128},
        {WORKERS "[sticky]\nsessions = 33554433\n", 67108864},
        {WORKERS "[sticky]\nsessions = 67108864\n", 67108864},
    };
    FOR_EACH (row, rows) {
        struct config *c = load_good(rows[row_at].ini);
        assert_int_equal(c->sessions, rows[row_at].sessions);
        config_release(c);
    }
}

static void a_workers_identity_is_its_canonical_address_for_ever(void **state)
{
    (void)state;
    struct config *c = load_good("[workers]\nworker = localhost:3001\nworker = [0:0::1]:3001\nworker = unix:/w\n");
    /* Known values: every siolb, of whatever version, has to agree on them. */
    assert_int_equal(c->workers[0].identity, 0x28ac160010dfeda3ull);
    assert_int_equal(c->workers[1].identity, 0xeb0e3dfc7a4391acull);
    assert_int_equal(c->workers[2].identity, 0xb9aab4e86d916ad5ull);
    config_release(c);
}

static void a_snapshot_lives_as_long_as_somebody_holds_it(void **state)
{
    (void)state;
    struct config *c = load_good(WORKERS);
    assert_ptr_equal(config_hold(c), c);
    config_release(c);
    assert_string_equal(c->workers[0].name, "127.0.0.1:3001");
    config_release(c);
}

static void comments_blanks_and_line_ends_of_all_kinds_are_fine(void **state)
{
    (void)state;
    static const char *const inis[] = {
        "[workers]\r\nworker = 127.0.0.1:3001\r\n",
        "\xef\xbb\xbf[workers]\nworker = 127.0.0.1:3001",
        "; a\n# b\n  ; c\n\t# d\n \t\n[workers] ; e\nworker=127.0.0.1:3001 ; f\n",
        "[workers] # e\nworker\t=\t127.0.0.1:3001\t;f;g\n",
        "[workers]\n[proxy]\n[workers]\nworker = 127.0.0.1:3001 weight=1\n[proxy]\n",
    };
    FOR_EACH (ini, inis) {
        struct config *c = load_good(inis[ini_at]);
        assert_int_equal(c->worker_count, 1);
        assert_string_equal(c->workers[0].name, "127.0.0.1:3001");
        config_release(c);
    }
}

/* ---- mistakes ---------------------------------------------------------------------------------------------------- */

static void a_line_of_no_known_form_is_told_with_its_number(void **state)
{
    (void)state;
    static const struct mistake rows[] = {
        {"x = 1\n" WORKERS, "f:1: x: outside of a section\n"},
        {WORKERS "\n[proxy]\nlisten 0.0.0.0:80\n",
         "f:5: [proxy] missing \"=\" behind the key in \"listen 0.0.0.0:80\"\n"},
        {WORKERS "[proxy]\nbalance: least\n", "f:4: [proxy] missing \"=\" behind the key in \"balance: least\"\n"},
        {WORKERS "[proxy]\nbalance: a = b\n", "f:4: [proxy] missing \"=\" behind the key in \"balance: a = b\"\n"},
        {WORKERS "[proxy]\nbalance ;= least\n", "f:4: [proxy] missing \"=\" behind the key in \"balance ;= least\"\n"},
        {WORKERS "[proxy]\n= least\n", "f:4: [proxy] no key before \"=\"\n"},
        {WORKERS " [proxy]\n", "f:3: [workers] an indented line; settings and sections begin in the first column\n"},
        {WORKERS "\tworker = 127.0.0.1:3002\n",
         "f:3: [workers] an indented line; settings and sections begin in the first column\n"},
        {WORKERS "[proxy\nlisen = 1\n", "f:3: \"[proxy\" has no \"]\"\n"},
        {WORKERS "[pro ;xy]\nlisen = 1\n", "f:3: [pro ;xy] unknown section; did you mean \"proxy\"?\n"},
        {WORKERS "[proxy] listen = 1\nlisen = 1\n", "f:3: \" listen = 1\" behind a section's name\n"},
        {WORKERS "[proxy]\nbalance = le\x01st\n", "f:4: [proxy] control byte 0x01\n"},
        {WORKERS "[proxy]\nbalance = least\rpath = /x\n", "f:4: [proxy] control byte 0x0d\n"},
        {WORKERS "[proxy]\nbalance = least # why\n",
         "f:4: [proxy] balance: a comment behind a value begins with \" ;\", not with \"#\"\n"},
        {"", "f: [workers] worker: at least one is needed\n"},
        {"[workers]\n", "f: [workers] worker: at least one is needed\n"},
    };
    check_mistakes(rows, COUNT_OF(rows));
}

static void an_unknown_name_is_told_with_the_nearest_known_one(void **state)
{
    (void)state;
    static const struct mistake rows[] = {
        {WORKERS "[proxy]\nlisen = 1\n", "f:4: [proxy] lisen: unknown key; did you mean \"listen\"?\n"},
        {WORKERS "[proxy]\nlistne = 1\n", "f:4: [proxy] listne: unknown key; did you mean \"listen\"?\n"},
        {WORKERS "[proxy]\nPath = /\n", "f:4: [proxy] Path: unknown key; did you mean \"path\"?\n"},
        {WORKERS "[proxy]\nuesr = x\n", "f:4: [proxy] uesr: unknown key; did you mean \"user\"?\n"},
        {WORKERS "[proxy]\nworker = 1\n", "f:4: [proxy] worker: unknown key; it belongs to [workers]\n"},
        {WORKERS "[proxy]\npxxh = 1\n", "f:4: [proxy] pxxh: unknown key\n"},
        {WORKERS "[proxy]\ncolour = 1\n", "f:4: [proxy] colour: unknown key\n"},
        {WORKERS "[timeouts]\nconect = 1s\nkeep_alive = 1s\n",
         "f:4: [timeouts] conect: unknown key; did you mean \"connect\"?\n"
         "f:5: [timeouts] keep_alive: unknown key; did you mean \"keepalive\"?\n"},
        {WORKERS "[worker]\nx = 1\n", "f:3: [worker] unknown section; did you mean \"workers\"?\n"},
        {WORKERS "[colours]\nx = 1\n", "f:3: [colours] unknown section\n"},
        {WORKERS "[]\nx = 1\n", "f:3: [] unknown section\n"},
        {WORKERS "[proxy]\n_________________________________ = 1\n",
         "f:4: [proxy] _________________________________: unknown key\n"},
    };
    check_mistakes(rows, COUNT_OF(rows));
}

static void what_is_not_built_yet_says_so(void **state)
{
    (void)state;
    static const struct mistake rows[] = {
        {WORKERS "[tls]\ncertificate = /x\nkey = /y\n", "f:3: [tls] this section is not built yet\n"},
        {WORKERS "[relay]\n", "f:3: [relay] this section is not built yet\n"},
        {WORKERS "[admin]\n[health]\n", "f:3: [admin] this section is not built yet\n"
                                        "f:4: [health] this section is not built yet\n"},
        {WORKERS "[proxy]\nuser = www\npid_file =\n",
         "f:4: [proxy] user: not built yet\nf:5: [proxy] pid_file: not built yet\n"},
        {WORKERS "resolve = 2s\nkind = auto\n",
         "f:3: [workers] resolve: not built yet\nf:4: [workers] kind: not built yet\n"},
        {WORKERS "[sticky]\nfile = /x\ninsert_cookie = x\nask_per_s = 1\nrecover = ask\n",
         "f:4: [sticky] file: not built yet\nf:5: [sticky] insert_cookie: not built yet\n"
         "f:6: [sticky] ask_per_s: not built yet\nf:7: [sticky] recover: \"ask\" is not built yet\n"},
        {WORKERS "[timeouts]\nlame = 0s\n", "f:4: [timeouts] lame: not built yet\n"},
        {WORKERS "[proxy]\nlisten = 0.0.0.0:443 tls\n", "f:4: [proxy] listen: flag \"tls\" is not built yet\n"},
    };
    check_mistakes(rows, COUNT_OF(rows));
}

static void trusted_networks_add_up_over_lines_and_in_one(void **state)
{
    (void)state;
    struct config *c = load_good(WORKERS "[forward]\ntrust = 10.0.0.0/8, 192.168.0.0/16\ntrust = unix ::1\n");
    static const char *const rows[] = {"10.0.0.0/8", "192.168.0.0/16", "unix", "::1"};
    assert_int_equal(c->trust_count, COUNT_OF(rows));
    FOR_EACH (row, rows) {
        char text[VALUE_NETWORK_TEXT_MAX];
        value_print_network(&c->trust[row_at], text);
        assert_string_equal(text, rows[row_at]);
    }
    config_release(c);
}

static void proxy_headers_need_somebody_who_is_trusted_to_send_them(void **state)
{
    (void)state;
    static const struct mistake rows[] = {
        {WORKERS "[proxy]\nlisten = [::]:8080 proxy\n",
         "f:4: [proxy] listen: [::]:8080 proxy: nobody who could connect there is trusted to send a PROXY header; name "
         "the balancers in [forward] trust\n"},
        {WORKERS "[proxy]\nlisten = [::]:80 proxy\n[forward]\ntrust = 10.0.0.0/8\n",
         "f:4: [proxy] listen: [::]:80 proxy: nobody who could connect there is trusted to send a PROXY header; name "
         "the "
         "balancers in [forward] trust\n"},
        {WORKERS "[proxy]\nlisten = unix:/x proxy\n[forward]\ntrust = 10.0.0.0/8\n",
         "f:4: [proxy] listen: unix:/x proxy: nobody who could connect there is trusted to send a PROXY header; name "
         "the balancers in [forward] trust\n"},
        {WORKERS "[proxy]\nlisten = 1.2.3.4:80 proxy\n[forward]\ntrust = ::1 unix\n",
         "f:4: [proxy] listen: 1.2.3.4:80 proxy: nobody who could connect there is trusted to send a PROXY header; "
         "name "
         "the balancers in [forward] trust\n"},
        {WORKERS "[limits]\nbuffer = 2m\nmemory = 1m\n",
         "f:5: [limits] memory: less than one buffer (2097152 bytes)\n"},
        {WORKERS "[forward]\ntrust = 10.0.0.7/8\n", "f:4: [forward] trust: \"10.0.0.7/8\": there are bits behind the "
                                                    "prefix\n"},
    };
    check_mistakes(rows, COUNT_OF(rows));
    config_release(
        load_good(WORKERS "[proxy]\nlisten = [::]:8080 proxy\nlisten = unix:/x proxy\n[forward]\ntrust = unix ::1\n"));
}

static void a_value_out_of_its_range_is_told_with_the_range(void **state)
{
    (void)state;
    static const struct mistake rows[] = {
        {WORKERS "[timeouts]\nconnect = 0\nhead = 61m\nstall = 25h\n",
         "f:4: [timeouts] connect: 0 is out of range: 1ms to 5m\n"
         "f:5: [timeouts] head: 61m is out of range: 1ms to 1h\n"
         "f:6: [timeouts] stall: 25h is out of range: 0, or 1ms to 24h\n"},
        {WORKERS "[timeouts]\nhead = 10\n",
         "f:4: [timeouts] head: \"10\" is not a duration such as 500ms, 2s, 5m, 1h or 0\n"},
        {WORKERS "[limits]\nhead_size = 65k\nbuffer = 4095\n",
         "f:4: [limits] head_size: 65k is out of range: 1k to 64k\n"
         "f:5: [limits] buffer: 4095 is out of range: 4k to 16m\n"},
        {WORKERS "[sticky]\nsessions = 63\n", "f:4: [sticky] sessions: 63 is out of range: 0, or 64 to 67108864\n"},
        {WORKERS "[sticky]\nsessions = 67108865\n",
         "f:4: [sticky] sessions: 67108865 is out of range: 0, or 64 to 67108864\n"},
        {WORKERS "[proxy]\nbalance = lest\n",
         "f:4: [proxy] balance: \"lest\" is not possible; it is one of: least, p2c, round-robin, random, source\n"},
        {WORKERS "[sticky]\nrecover =\n", "f:4: [sticky] recover: \"\" is not possible; it is one of: hash\n"},
        {WORKERS "[sticky]\ncookie_handshakes = yes\n",
         "f:4: [sticky] cookie_handshakes: \"yes\" is neither on nor off\n"},
        {WORKERS "[sticky]\ncookie = a b\n", "f:4: [sticky] cookie: \"a b\" cannot be the name of a cookie\n"},
        {WORKERS "[proxy]\npath = chat\n", "f:4: [proxy] path: \"chat\" does not begin with \"/\"\n"},
        {WORKERS "worker = 127.0.0.1:3004-3001\n", "f:3: [workers] worker: port range 3004-3001 runs backwards\n"},
        {WORKERS "worker = 127.0.0.1:3002 weight=0\n", "f:3: [workers] worker: weight 0 is outside 1 to 256\n"},
        {WORKERS "[log]\nfile =;x\n", "f:4: [log] file: the name of a file cannot begin with \";\"\n"},
    };
    check_mistakes(rows, COUNT_OF(rows));
}

static void what_is_said_twice_is_told(void **state)
{
    (void)state;
    static const struct mistake rows[] = {
        {WORKERS "[proxy]\nbalance = least\n[log]\nlevel = info\n[proxy]\nbalance = least\n",
         "f:8: [proxy] balance: set in line 4 already\n"},
        {WORKERS "[log]\nlevel = info\nlevel = info\nlevel = info\n",
         "f:5: [log] level: set in line 4 already\nf:6: [log] level: set in line 4 already\n"},
        {WORKERS "[log]\nlevel = loud\nlevel = info\n",
         "f:4: [log] level: \"loud\" is not possible; it is one of: error, warn, info, debug\n"
         "f:5: [log] level: set in line 4 already\n"},
        {WORKERS "worker = localhost:3001\n", "f:3: [workers] worker: 127.0.0.1:3001 is a worker already\n"},
        {WORKERS "worker = [::ffff:127.0.0.1]:3001\n", "f:3: [workers] worker: 127.0.0.1:3001 is a worker already\n"},
        {WORKERS "worker = 127.0.0.1:2999-3001\n", "f:3: [workers] worker: 127.0.0.1:3001 is a worker already\n"},
        {"[workers]\nworker = 127.0.0.1:1-10\nworker = 127.0.0.1:10-20\nworker = 127.0.0.1:11-15\n",
         "f:3: [workers] worker: 127.0.0.1:10 is a worker already\n"},
        {"[workers]\nworker = unix:/w\nworker = unix:/w\n", "f:3: [workers] worker: unix:/w is a worker already\n"},
        {WORKERS "[proxy]\nlisten = 127.0.0.1:80\nlisten = localhost:80\n",
         "f:5: [proxy] listen: 127.0.0.1:80 is listened on already\n"},
        {WORKERS "[proxy]\npath = /a/\npath = /a\npath = /a/\n", "f:6: [proxy] path: /a/ is there already\n"},
    };
    check_mistakes(rows, COUNT_OF(rows));
}

static void every_mistake_is_told_and_not_the_first_only(void **state)
{
    (void)state;
    static const struct mistake rows[] = {
        {"x = 1\n[proxy]\nlisen = 1\nlisten\n[proxi]\ny = 2\n[workers]\nworker = 1.2.3.4:5-4\nworker = ::1:5\n[log]\n"
         "level = all\n",
         "f:1: x: outside of a section\n"
         "f:3: [proxy] lisen: unknown key; did you mean \"listen\"?\n"
         "f:4: [proxy] missing \"=\" behind the key in \"listen\"\n"
         "f:5: [proxi] unknown section; did you mean \"proxy\"?\n"
         "f:8: [workers] worker: port range 5-4 runs backwards\n"
         "f:9: [workers] worker: \"::1:5\": an IPv6 address needs brackets: [::1]:8080\n"
         "f:11: [log] level: \"all\" is not possible; it is one of: error, warn, info, debug\n"}};
    check_mistakes(rows, COUNT_OF(rows));
}

static void two_addresses_whose_ports_the_kernel_picks_differ(void **state)
{
    (void)state;
    struct config *c = load_good(WORKERS "[proxy]\nlisten = 127.0.0.1:0\nlisten = 127.0.0.1:0\n");
    assert_int_equal(c->listen_count, 2);
    config_release(c);
}

/* ---- ceilings ---------------------------------------------------------------------------------------------------- */

static void a_thousand_workers_are_fine_and_one_more_is_not(void **state)
{
    (void)state;
    struct config *c = load_good("[workers]\nworker = 10.0.0.1:1-999\nworker = 10.0.0.2:1\n");
    assert_int_equal(c->worker_count, WORKERS_MAX);
    config_release(c);
    static const struct mistake rows[] = {
        {"[workers]\nworker = 10.0.0.1:1-999\nworker = 10.0.0.2:1-2\n",
         "f:3: [workers] worker: more than 1000 workers (1001)\n"},
        {"[workers]\nworker = 10.0.0.1:1-65535\n", "f:2: [workers] worker: more than 1000 workers (65535)\n"},
    };
    check_mistakes(rows, COUNT_OF(rows));
}

static void the_lists_of_addresses_and_paths_have_a_ceiling(void **state)
{
    (void)state;
    char ini[2048] = WORKERS "[proxy]\n";
    char complaints[COMPLAINTS_MAX];
    for (int i = 1; i <= CONFIG_LISTENS_MAX + 1; i++) {
        size_t len = strlen(ini);
        (void)snprintf(ini + len, sizeof ini - len, "listen = 127.0.0.1:%d\npath = /%d\n", i, i);
    }
    assert_null(load_bytes(span_from_str(ini), NULL, NULL, complaints));
    assert_string_equal(complaints, "f:36: [proxy] listen: more than 16 addresses\n"
                                    "f:37: [proxy] path: more than 16 paths\n");
}

/* A config whose last line is a log file's name, the line being `bytes` long. */
static struct span line_of(size_t bytes, char *ini)
{
    static const char start[] = WORKERS "[log]\nfile = ";
    size_t before_line = sizeof WORKERS "[log]\n" - 1;
    memset(ini, 'x', before_line + bytes);
    memcpy(ini, start, sizeof start - 1);
    return span_of(ini, before_line + bytes);
}

static void a_line_has_at_most_4096_bytes(void **state)
{
    (void)state;
    char ini[8192] = "";
    char complaints[COMPLAINTS_MAX];
    struct config *c = load_bytes(line_of(CONFIG_LINE_BYTES_MAX, ini), NULL, NULL, complaints);
    assert_string_equal(complaints, "");
    assert_int_equal(strlen(c->log_file), CONFIG_LINE_BYTES_MAX - strlen("file = "));
    config_release(c);
    assert_null(load_bytes(line_of(CONFIG_LINE_BYTES_MAX + 1, ini), NULL, NULL, complaints));
    assert_string_equal(complaints, "f:4: [log] a line of 4097 bytes; at most 4096 are possible\n");
    ini[sizeof WORKERS - 1 + sizeof "[log]\n" - 1] = '\n'; /* the count of lines goes on behind it */
    assert_null(load_bytes(span_of(ini, 6000), NULL, NULL, complaints));
    assert_non_null(strstr(complaints, "f:5: [log] a line of "));
}

static void a_nul_byte_is_told_and_hides_nothing(void **state)
{
    (void)state;
    char complaints[COMPLAINTS_MAX];
    static const char ini[] = WORKERS "[log]\nlevel = info\0 ; x\nfile\0 = y\n[proxy\0]\nfoo = 1\n[log]\nbar = 1\n";
    assert_null(load_bytes(span_of(ini, sizeof ini - 1), NULL, NULL, complaints));
    assert_string_equal(complaints, "f:4: [log] NUL byte\nf:5: [log] NUL byte\nf:6: [log] NUL byte\n"
                                    "f:9: [log] bar: unknown key\n");
}

static void a_file_that_never_ends_is_not_read_to_its_end(void **state)
{
    (void)state;
    char complaints[COMPLAINTS_MAX] = "";
    assert_null(config_load("/dev/zero", NULL, NULL, collect, complaints));
    assert_string_equal(complaints, "/dev/zero: more than 1048576 bytes\n");
}

static void a_file_that_cannot_be_read_says_why(void **state)
{
    (void)state;
    char complaints[COMPLAINTS_MAX] = "";
    assert_null(config_load("/nowhere/siolb.ini", NULL, NULL, collect, complaints));
    assert_null(config_load("/", NULL, NULL, collect, complaints));
    assert_string_equal(complaints, "/nowhere/siolb.ini: No such file or directory\n/: Is a directory\n");
}

/* ---- the command line -------------------------------------------------------------------------------------------- */

static void the_command_line_alone_is_enough(void **state)
{
    (void)state;
    static const char *const listens[] = {"127.0.0.1:0", "unix:/x mode=0600", NULL};
    static const char *const workers[] = {"3001-3002", "10.0.0.1:80 weight=2", NULL};
    char complaints[COMPLAINTS_MAX] = "";
    struct config *c = config_load(NULL, listens, workers, collect, complaints);
    assert_string_equal(complaints, "");
    assert_int_equal(c->listen_count, 2);
    assert_string_equal(c->listens[0].name, "127.0.0.1:0");
    assert_int_equal(c->listens[1].unix_mode, 0600);
    assert_int_equal(c->worker_count, 3);
    assert_string_equal(c->workers[1].name, "127.0.0.1:3002");
    assert_int_equal(c->workers[2].weight, 2);
    assert_int_equal(c->head_ms, 10000);
    config_release(c);
}

static void the_command_line_stands_in_the_place_of_the_file(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    static const char *const listens[] = {"127.0.0.1:81", NULL};
    static const char *const workers[] = {"3001", NULL};
    static const char ini[] =
        "[proxy]\nlisten = 127.0.0.1:80\nlisten = 127.0.0.1:81\n[workers]\nworker = 1.2.3.4:1-9\n";
    char complaints[COMPLAINTS_MAX];
    struct config *c = load_bytes(SPAN(ini), listens, workers, complaints);
    assert_string_equal(complaints, "");
    assert_int_equal(c->listen_count, 1);
    assert_string_equal(c->listens[0].name, "127.0.0.1:81");
    assert_int_equal(c->worker_count, 1);
    assert_string_equal(c->workers[0].name, "127.0.0.1:3001");
    config_release(c);
    c = load_bytes(SPAN(ini), none, none, complaints);
    assert_int_equal(c->listen_count, 2);
    assert_int_equal(c->worker_count, 9);
    config_release(c);
}

static void mistakes_of_the_command_line_name_the_flag(void **state)
{
    (void)state;
    static const char *const listens[] = {"8080", "127.0.0.1:80", "127.0.0.1:80", NULL};
    static const char *const workers[] = {"3004-3001", "3001", "127.0.0.1:3001", NULL};
    char complaints[COMPLAINTS_MAX] = "";
    assert_null(config_load(NULL, listens, workers, collect, complaints));
    assert_string_equal(complaints, "-l: \"8080\" has no port\n"
                                    "-l: 127.0.0.1:80 is listened on already\n"
                                    "-w: port range 3004-3001 runs backwards\n"
                                    "-w: 127.0.0.1:3001 is a worker already\n");
    complaints[0] = '\0';
    assert_null(config_load(NULL, NULL, NULL, collect, complaints));
    assert_string_equal(complaints, "-w: at least one worker is needed\n");
}

/* ---- texts from the table ---------------------------------------------------------------------------------------- */

static void the_example_says_the_defaults_and_four_workers(void **state)
{
    (void)state;
    char *example = printed(NULL, config_print_defaults);
    struct config *of_example = load_good(example);
    struct config *of_defaults = load_good("[workers]\nworker = 127.0.0.1:3001-3004\n");
    char *effective = printed(of_example, NULL);
    char *expected = printed(of_defaults, NULL);
    assert_string_equal(effective, expected);
    free(example);
    free(effective);
    free(expected);
    config_release(of_example);
    config_release(of_defaults);
}

/* The example with each line that is commented out as an example (";key = value") in the place of a comment. */
static void what_the_example_comments_out_is_possible_too(void **state)
{
    (void)state;
    char *example = printed(NULL, config_print_defaults);
    for (char *c = example; *c; c++)
        if (*c == ';' && (c == example || c[-1] == '\n'))
            memmove(c, c + 1, strlen(c));
    struct config *c = load_good(example);
    assert_int_equal(c->listen_count, 4);
    assert_int_equal(c->path_count, 2);
    assert_int_equal(c->worker_count, 6);
    assert_string_equal(c->cookie, "io");
    assert_string_equal(c->log_file, "/var/log/siolb.log");
    config_release(c);
    free(example);
}

static void the_example_has_no_long_lines_and_names_every_setting(void **state)
{
    (void)state;
    char *example = printed(NULL, config_print_defaults);
    for (size_t i = 0; i < option_count; i++) {
        char line[128];
        (void)snprintf(line, sizeof line, "%s = ", options[i].key);
        assert_non_null(strstr(example, line));
    }
    for (const char *line = example; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 110);
    free(example);
}

static void the_effective_config_reads_back_as_the_same(void **state)
{
    (void)state;
    struct config *c = load_good("[proxy]\nlisten = unix:/x mode=0660\npath = /a;b\nbalance = p2c\n"
                                 "[workers]\nworker = 10.0.0.1:1-3\nworker = 10.0.0.1:4 weight=1\n"
                                 "worker = 10.0.0.1:5-5\nworker = 10.0.0.1:6-7 weight=2\nworker = [::1]:8-9 weight=2\n"
                                 "worker = 10.0.0.2:10-11\nworker = 10.0.0.2:12-13\n"
                                 "[sticky]\ncookie = io\n[timeouts]\nhead = 1500ms\n[limits]\nbuffer = 5000\n");
    char *first = printed(c, NULL);
    struct config *again = load_good(first);
    char *second = printed(again, NULL);
    assert_string_equal(first, second);
    assert_non_null(strstr(first, "[workers]\n"
                                  "worker = 10.0.0.1:1-3\n"
                                  "worker = 10.0.0.1:4\n"
                                  "worker = 10.0.0.1:5-5\n"
                                  "worker = 10.0.0.1:6-7 weight=2\n"
                                  "worker = [::1]:8-9 weight=2\n"
                                  "worker = 10.0.0.2:10-13\n"));
    assert_int_equal(c->worker_count, again->worker_count);
    for (size_t i = 0; i < c->worker_count; i++)
        assert_int_equal(c->workers[i].is_in_range, again->workers[i].is_in_range);
    free(first);
    free(second);
    config_release(c);
    config_release(again);
}

static void the_policies_in_the_table_are_those_of_balance(void **state)
{
    (void)state;
    static const char *const names[BALANCE_POLICIES] = {
        [BALANCE_LEAST] = "least",   [BALANCE_P2C] = "p2c",       [BALANCE_ROUND_ROBIN] = "round-robin",
        [BALANCE_RANDOM] = "random", [BALANCE_SOURCE] = "source",
    };
    const struct option *o;
    assert_int_equal(option_find("proxy", "balance", &o), OPTION_KNOWN);
    FOR_EACH (name, names)
        assert_string_equal(o->choices[name_at], names[name_at]);
    assert_null(o->choices[BALANCE_POLICIES]);
}

static void a_config_cut_at_any_byte_is_a_config_or_complaints(void **state)
{
    (void)state;
    char complaints[COMPLAINTS_MAX];
    static const char ini[] = "\xef\xbb\xbf; c\n[proxy]\r\nlisten = [::1]:80 ; c\nlisten = unix:/x mode=0660\n"
                              "[workers]\nworker = 127.0.0.1:3001-3004 weight=2\n[timeouts]\nhead = 10s\n";
    for (size_t len = 1; len < sizeof ini; len++) {
        struct config *c = load_bytes(edge_copy_span(span_of(ini, len)), NULL, NULL, complaints);
        if (c)
            config_release(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_file_does_not_say_has_its_default),
        cmocka_unit_test(what_a_file_says_lands_in_its_field),
        cmocka_unit_test(the_entries_of_the_session_map_are_rounded_up_to_a_power_of_two),
        cmocka_unit_test(a_workers_identity_is_its_canonical_address_for_ever),
        cmocka_unit_test(a_snapshot_lives_as_long_as_somebody_holds_it),
        cmocka_unit_test(comments_blanks_and_line_ends_of_all_kinds_are_fine),
        cmocka_unit_test(a_line_of_no_known_form_is_told_with_its_number),
        cmocka_unit_test(an_unknown_name_is_told_with_the_nearest_known_one),
        cmocka_unit_test(what_is_not_built_yet_says_so),
        cmocka_unit_test(trusted_networks_add_up_over_lines_and_in_one),
        cmocka_unit_test(proxy_headers_need_somebody_who_is_trusted_to_send_them),
        cmocka_unit_test(a_value_out_of_its_range_is_told_with_the_range),
        cmocka_unit_test(what_is_said_twice_is_told),
        cmocka_unit_test(every_mistake_is_told_and_not_the_first_only),
        cmocka_unit_test(two_addresses_whose_ports_the_kernel_picks_differ),
        cmocka_unit_test(a_thousand_workers_are_fine_and_one_more_is_not),
        cmocka_unit_test(the_lists_of_addresses_and_paths_have_a_ceiling),
        cmocka_unit_test(a_line_has_at_most_4096_bytes),
        cmocka_unit_test(a_nul_byte_is_told_and_hides_nothing),
        cmocka_unit_test(a_file_that_never_ends_is_not_read_to_its_end),
        cmocka_unit_test(a_file_that_cannot_be_read_says_why),
        cmocka_unit_test(the_command_line_alone_is_enough),
        cmocka_unit_test(the_command_line_stands_in_the_place_of_the_file),
        cmocka_unit_test(mistakes_of_the_command_line_name_the_flag),
        cmocka_unit_test(the_example_says_the_defaults_and_four_workers),
        cmocka_unit_test(what_the_example_comments_out_is_possible_too),
        cmocka_unit_test(the_example_has_no_long_lines_and_names_every_setting),
        cmocka_unit_test(the_effective_config_reads_back_as_the_same),
        cmocka_unit_test(the_policies_in_the_table_are_those_of_balance),
        cmocka_unit_test(a_config_cut_at_any_byte_is_a_config_or_complaints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
