/*
 * load - ini text to struct config, or every line of it that is wrong. config.h has what everybody needs; this is the
 * reading of something that is no file by its name, for tests.
 */
#ifndef SIOLB_CONFIG_LOAD_H
#define SIOLB_CONFIG_LOAD_H

#include "config.h"

#define CONFIG_LINE_BYTES_MAX 4096
#define CONFIG_FILE_BYTES_MAX (1 << 20)

/* config_load from a stream that stays the caller's; `name` is what complaints call it. */
struct config *config_load_stream(FILE *in, const char *name, const char *const *listens, const char *const *workers,
                                  config_complain complain, void *arg) MUST_CHECK;

#endif
