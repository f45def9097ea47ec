/*
 * clock - the time, in the units that the rest of the house uses. The coarse clocks (4 ms steps) are read without a
 * system call; nothing here needs better ones.
 */
#ifndef SIOLB_CLOCK_H
#define SIOLB_CLOCK_H

#include <stdint.h>

uint64_t clock_ms(void);     /* monotonic: deadlines, ages */
uint32_t clock_boot_s(void); /* CLOCK_BOOTTIME: what the sidmap counts in, also through suspend and over a restart */

/* "2026-11-22T22:40:40.123Z" into `out`. */
#define CLOCK_TEXT_BYTES 32
void clock_text(char out[CLOCK_TEXT_BYTES]);

#endif
