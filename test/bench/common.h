/*
 * common - what the programs of the bench share: sockets on loopback, and an end with a message.
 *
 * These programs are measuring instruments: whatever they did not expect ends them with status 1, so that no figure
 * comes out of a run in which something went wrong.
 */
#ifndef SIOLB_BENCH_COMMON_H
#define SIOLB_BENCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#define SID_BYTES    20 /* like Node's: PROTOCOL 2 */
#define EVENTS_MAX   512
#define SHARED_BYTES (256 * 1024)

/* Where the answers of the fake workers name the worker that gave them. */
#define WORKER_MARK "\"from\":\""

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A number from the command line, or die. */
unsigned long number_from(const char *text, const char *what, unsigned long max);

int loop_new(void);

/* Watch `fd` for both directions, edge-triggered; `data` comes back with the events. */
void loop_add(int loop, int fd, void *data);

/* Listen on 127.0.0.1, port 0: the kernel picks. Connections that are accepted inherit TCP_NODELAY. */
int listen_open(uint16_t port);
uint16_t listen_port(int fd);

/* The next waiting connection, non-blocking; -1: none waits. */
int listen_accept(int listener);

/* A connection to 127.0.0.1; blocks until it is there, and stays blocking. */
int connect_open(uint16_t port);
void set_nonblocking(int fd);

/* recv: bytes, 0 for an end of any kind, -1 for "nothing now". */
ssize_t recv_some(int fd, void *buffer, size_t size);

/* Every byte at once, or die: with one message under way per connection no socket buffer can be full. */
void send_all(int fd, const void *bytes, size_t count);

uint64_t now_ns(void);

#endif
