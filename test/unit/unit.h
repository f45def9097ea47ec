/*
 * unit - what every unit test needs: cmocka, spans that lie flush against an unreadable page, and span assertions.
 *
 * Each test file has its own main() with cmocka_run_group_tests.
 */
#ifndef SIOLB_TEST_UNIT_H
#define SIOLB_TEST_UNIT_H

#include "../../proxy/core/span.h"

/* cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

/* The bytes of `s`, copied so that the first byte behind them is unreadable: a parser that looks one byte too far dies.
 * A ring of 16 regions of 64 KiB: a copy is valid until the 16th call after it. */
static inline struct span edge_copy_span(struct span s)
{
    enum { REGIONS = 16, BYTES = 64 * 1024 };
    static char *region[REGIONS];
    static unsigned next;
    unsigned at = next++ % REGIONS;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    assert_true(s.len <= BYTES);
    if (!region[at]) {
        region[at] = mmap(NULL, BYTES + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(region[at] != MAP_FAILED);
        assert_int_equal(mprotect(region[at] + BYTES, page, PROT_NONE), 0);
    }
    char *start = region[at] + BYTES - s.len;
    if (s.len)
        memcpy(start, s.ptr, s.len);
    return span_of(start, s.len);
}

static inline struct span edge_copy(const char *str)
{
    return edge_copy_span(span_from_str(str));
}

#define assert_span_is(actual, expected)    assert_span_equal_at((actual), span_from_str(expected), __FILE__, __LINE__)
#define assert_span_equal(actual, expected) assert_span_equal_at((actual), (expected), __FILE__, __LINE__)

static inline void assert_span_equal_at(struct span actual, struct span expected, const char *file, int line)
{
    if (span_equal(actual, expected))
        return;
    print_error("%s:%d: got \"%.*s\" (%zu), expected \"%.*s\" (%zu)\n", file, line, (int)actual.len, actual.ptr,
                actual.len, (int)expected.len, expected.ptr, expected.len);
    fail();
}

#endif
