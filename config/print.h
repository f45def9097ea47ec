/*
 * print - the texts that are made from the table of settings. config_print and config_print_defaults are in config.h,
 * for everybody; these are for the documentation.
 */
#ifndef SIOLB_CONFIG_PRINT_H
#define SIOLB_CONFIG_PRINT_H

#include <stdio.h>

/* docs/CONFIG.md (siolb --print-config-md). */
void config_print_markdown(FILE *out);

/* docs/siolb.ini.5, in mdoc(7) (siolb --print-config-man). */
void config_print_man(FILE *out);

#endif
