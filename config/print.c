/* The three texts that are made from the table: the effective config, siolb.ini.example and docs/CONFIG.md. */
#include "print.h"
#include "options.h"

#define WRAP_COLUMN 100

static bool is_in(const struct option *o, const struct option_section *section)
{
    return strcmp(o->section, section->name) == 0;
}

void config_print(const struct config *c, FILE *out)
{
    for (size_t s = 0; s < option_section_count; s++) {
        fprintf(out, "%s[%s]\n", s ? "\n" : "", option_sections[s].name);
        for (size_t i = 0; i < option_count; i++)
            if (is_in(&options[i], &option_sections[s]))
                option_print(&options[i], c, out);
    }
}

/* ---- siolb.ini.example ------------------------------------------------------------------------------------------- */

/* Words of `text` behind "# ", broken into lines. *column is where the line that is being written stands, 0: nowhere.
 */
static void print_comment(const char *text, size_t *column, FILE *out)
{
    for (size_t len; *text; text += len) {
        text += strspn(text, " ");
        len = strcspn(text, " ");
        if (*column > 0 && *column + 1 + len > WRAP_COLUMN) {
            fputc('\n', out);
            *column = 0;
        }
        *column += (size_t)fprintf(out, "%s%.*s", *column ? " " : "# ", (int)len, text);
    }
}

static void print_help(const struct option *o, FILE *out)
{
    char range[OPTION_RANGE_TEXT_MAX];
    char note[sizeof range + sizeof "(; may be repeated)"];
    size_t column = 0;
    option_range_text(o, range);
    (void)snprintf(note, sizeof note, "(%s%s)", range, option_is_repeatable(o) ? "; may be repeated" : "");
    print_comment(o->help, &column, out);
    print_comment(note, &column, out);
    fputc('\n', out);
}

/* The default; else, where one has to be given, the first example. Other examples are commented out. */
static void print_example(const struct option *o, FILE *out)
{
    const char *const *example = o->examples;
    print_help(o, out);
    if (!o->def)
        fprintf(out, "%s = %s\n", o->key, *example++);
    else if (o->def[0])
        fprintf(out, "%s = %s\n", o->key, o->def);
    for (; example && *example; example++)
        fprintf(out, ";%s = %s\n", o->key, *example);
}

void config_print_defaults(FILE *out)
{
    fputs(
        "# siolb.ini: every setting of siolb with its default. Lines that begin with \"#\" or \";\" are comments, and\n"
        "# so is what follows \" ;\" behind a value. What is left out keeps its default; only a worker has to be\n"
        "# named. `siolb -t -c FILE` tests a file and prints what it amounts to.\n",
        out);
    for (size_t s = 0; s < option_section_count; s++) {
        fprintf(out, "\n# %s\n[%s]\n", option_sections[s].help, option_sections[s].name);
        for (size_t i = 0; i < option_count; i++) {
            if (!is_in(&options[i], &option_sections[s]))
                continue;
            fputc('\n', out);
            print_example(&options[i], out);
        }
    }
}

/* ---- docs/CONFIG.md ---------------------------------------------------------------------------------------------- */

static void print_row(const struct option *o, FILE *out)
{
    char range[OPTION_RANGE_TEXT_MAX];
    option_range_text(o, range);
    fprintf(out, "| `%s` | %s%s | ", o->key, range, option_is_repeatable(o) ? "; repeatable" : "");
    if (!o->def)
        fputs("none", out);
    else if (o->def[0])
        fprintf(out, "`%s`", o->def);
    else
        fputs("empty", out);
    fprintf(out, " | %s", o->help);
    for (const char *const *example = o->examples; example && *example; example++)
        fprintf(out, "%s`%s`", example == o->examples ? " For example " : ", ", *example);
    fprintf(out, "%s |\n", o->examples ? "." : "");
}

void config_print_markdown(FILE *out)
{
    fputs("# Configuration\n"
          "\n"
          "Made from the table of settings in `config/options.c` by `siolb --print-config-md`; do not edit it here.\n"
          "`siolb.ini.example` (`siolb --print-defaults`) shows the same as a file to start from, and\n"
          "`siolb -t -c FILE` tests a file and prints what it amounts to.\n"
          "\n"
          "A file has sections, `[proxy]`, and in them lines of the form `key = value`. Lines that begin with `#` or "
          "`;`\n"
          "are comments, and so is what follows a blank and `;` behind a value. A line has at most 4096 bytes and is\n"
          "not indented. A setting that is left out keeps its default. A repeatable one is a list: each line adds to\n"
          "it, the first one replaces the default; any other one may be written once. siolb tells every mistake that\n"
          "it finds, as `siolb.ini:12: [workers] worker: port range 3004-3001 runs backwards`, and does not start.\n"
          "Settings that this version has not got yet are mistakes too.\n",
          out);
    for (size_t s = 0; s < option_section_count; s++) {
        fprintf(out,
                "\n"
                "## [%s]\n"
                "\n"
                "%s\n"
                "\n"
                "| key | value | default | what it means |\n"
                "| --- | --- | --- | --- |\n",
                option_sections[s].name, option_sections[s].help);
        for (size_t i = 0; i < option_count; i++)
            if (is_in(&options[i], &option_sections[s]))
                print_row(&options[i], out);
    }
}
