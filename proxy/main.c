/* Arguments, order of start-up, exit status; nothing else. */
#include "../config/config.h"
#include "../config/print.h"
#include "server.h"

#include <event2/event.h>
#include <getopt.h>
#include <stdlib.h>
#include <zlib.h>

#define SIOLB_VERSION "0.1.0"

enum exit_status { EXIT_FINE = 0, EXIT_NOT_STARTED = 1, EXIT_ARGUMENTS = 2 };

static const char usage[] =
    "usage: siolb -c FILE [-l ADDR]... [-w PORTS]...\n"
    "       siolb -w PORTS [-w PORTS]... [-l ADDR]...\n"
    "\n"
    "A load balancer for Socket.IO: every session stays with its worker.\n"
    "\n"
    "  -c, --config FILE      settings; see siolb.ini.example\n"
    "  -l, --listen ADDR      listen here (0.0.0.0:8080) instead of where FILE says; repeatable\n"
    "  -w, --worker PORTS     workers instead of those of FILE: 3001-3004 on 127.0.0.1, or whatever\n"
    "                         the setting \"worker\" takes; repeatable\n"
    "  -t, --test             test the configuration, print what it amounts to, and end\n"
    "      --print-defaults   print siolb.ini.example and end\n"
    "  -V, --version          print the versions of siolb and its libraries and end\n"
    "  -h, --help             print this and end\n"
    "\n"
    "SIGTERM, SIGINT: finish requests, close websockets over the time that [timeouts] drain says, end; a second\n"
    "one: end now. SIGUSR1: open the log file anew and write all counters to it.\n"
    "\n"
    "Exit status: 0 fine, also after a drain; 1 could not start: the configuration is wrong (every mistake is on\n"
    "stderr), an address is in use; 2 wrong arguments.\n";

struct arguments {
    const char *file; /* NULL: none */
    bool test_only;
    size_t listen_count;
    size_t worker_count;
    const char **listens; /* as config_load wants them: they end with NULL */
    const char **workers;
};

static void print_version(FILE *out)
{
    fprintf(out,
            "siolb " SIOLB_VERSION "\n"
            "libevent %s\n"
            "zlib %s\n"
            "inih (does not tell its version)\n",
            event_get_version(), zlibVersion());
}

static void print_usage(FILE *out)
{
    fputs(usage, out);
}

/* What is asked for instead of a run goes to stdout, and counts as given only when it arrived there. */
static int answer(void (*print)(FILE *out))
{
    print(stdout);
    return fflush(stdout) == 0 ? EXIT_FINE : EXIT_NOT_STARTED;
}

static int refuse(const char *why)
{
    fprintf(stderr, "siolb: %s; see siolb --help\n", why);
    return EXIT_ARGUMENTS;
}

/* True: go on with *a. False: *status is the end of it. */
static bool arguments_read(struct arguments *a, int argc, char **argv, int *status)
{
    enum { PRINT_DEFAULTS = 256, PRINT_CONFIG_MD, PRINT_CONFIG_MAN };
    static const struct option names[] = {{"config", required_argument, NULL, 'c'},
                                          {"listen", required_argument, NULL, 'l'},
                                          {"worker", required_argument, NULL, 'w'},
                                          {"test", no_argument, NULL, 't'},
                                          {"print-defaults", no_argument, NULL, PRINT_DEFAULTS},
                                          {"print-config-md", no_argument, NULL, PRINT_CONFIG_MD},
                                          {"print-config-man", no_argument, NULL, PRINT_CONFIG_MAN},
                                          {"version", no_argument, NULL, 'V'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "c:l:w:tVh", names, NULL)) != -1;) {
        switch (c) {
        case 'c':
            if (a->file)
                return *status = refuse("-c is given twice"), false;
            a->file = optarg;
            break;
        case 'l':
            a->listens[a->listen_count++] = optarg;
            break;
        case 'w':
            a->workers[a->worker_count++] = optarg;
            break;
        case 't':
            a->test_only = true;
            break;
        case PRINT_DEFAULTS:
            return *status = answer(config_print_defaults), false;
        case PRINT_CONFIG_MD: /* this and the next are for docs/: not in the usage */
            return *status = answer(config_print_markdown), false;
        case PRINT_CONFIG_MAN:
            return *status = answer(config_print_man), false;
        case 'V':
            return *status = answer(print_version), false;
        case 'h':
            return *status = answer(print_usage), false;
        default: /* getopt has told what it did not understand */
            return *status = refuse("wrong arguments"), false;
        }
    }
    if (optind < argc)
        return *status = refuse("an argument that belongs to no flag"), false;
    if (!a->file && a->worker_count == 0)
        return *status = refuse("-c FILE or -w PORTS is needed"), false;
    return true;
}

static void complain(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "%s\n", text);
}

static int run(const struct arguments *a)
{
    struct config *c = config_load(a->file, a->listens, a->workers, complain, NULL);
    if (!c)
        return EXIT_NOT_STARTED;
    if (!a->test_only)
        return server_run(c); /* the reference is the server's now */
    config_print(c, stdout);
    config_release(c);
    return fflush(stdout) == 0 ? EXIT_FINE : EXIT_NOT_STARTED;
}

int main(int argc, char **argv)
{
    size_t places = (size_t)argc + 1;
    struct arguments a = {.listens = calloc(places, sizeof *a.listens), .workers = calloc(places, sizeof *a.workers)};
    int status = EXIT_NOT_STARTED;
    if (!a.listens || !a.workers)
        fputs("siolb: out of memory\n", stderr);
    else if (arguments_read(&a, argc, argv, &status))
        status = run(&a);
    free(a.listens);
    free(a.workers);
    return status;
}
