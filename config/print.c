/* The texts that are made from the table: the effective config, siolb.ini.example, docs/CONFIG.md, docs/siolb.ini.5. */
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

/* ---- docs/siolb.ini.5 -------------------------------------------------------------------------------------------- */

#define MAN_COLUMN 78 /* mandoc's lint wants lines of at most 80 */

/* Bytes of `text` as mdoc takes them; at the start of a line a '.' or "'" would make it a request. */
static void print_man_bytes(const char *text, size_t len, bool starts_line, FILE *out)
{
    if (starts_line && len && (*text == '.' || *text == '\''))
        fputs("\\&", out);
    for (; len--; text++) {
        fputc(*text, out);
        if (*text == '\\')
            fputc('e', out);
    }
}

static bool ends_sentence(const char *word, size_t len)
{
    return len && (word[len - 1] == '.' || (len > 1 && word[len - 2] == '.' && word[len - 1] == ')'));
}

/* Whole sentences, each on lines of its own: mdoc sets the space behind a sentence by that. */
static void print_man_text(const char *text, FILE *out)
{
    size_t column = 0;
    for (size_t len; *text; text += len) {
        text += strspn(text, " ");
        len = strcspn(text, " ");
        if (column > 0 && column + 1 + len > MAN_COLUMN) {
            fputc('\n', out);
            column = 0;
        }
        if (column)
            fputc(' ', out);
        print_man_bytes(text, len, column == 0, out);
        column += len + (column ? 1 : 0);
        if (ends_sentence(text, len)) {
            fputc('\n', out);
            column = 0;
        }
    }
    if (column)
        fputc('\n', out);
}

/* A macro line with `value` as its one argument, in quotes so that no word of it is taken for a macro. */
static void print_man_value(const char *macro, const char *value, const char *behind, FILE *out)
{
    fprintf(out, ".%s \"", macro);
    print_man_bytes(value, strlen(value), false, out);
    fprintf(out, "\"%s\n", behind);
}

static void print_man_setting(const struct option *o, FILE *out)
{
    char range[OPTION_RANGE_TEXT_MAX];
    option_range_text(o, range);
    print_man_value("It Cm", o->key, "", out);
    print_man_text(o->help, out);
    fprintf(out, ".br\nValue: %s%s.\n", range, option_is_repeatable(o) ? "; may be repeated" : "");
    if (o->def && o->def[0]) {
        fputs("Default:\n", out);
        print_man_value("Ql", o->def, " .", out);
    } else {
        fputs(o->def ? "Default: empty.\n" : "There is no default.\n", out);
    }
    for (const char *const *example = o->examples; example && *example; example++) {
        fputs(example == o->examples ? "For example\n" : "", out);
        print_man_value("Ql", *example, example[1] ? " ," : " .", out);
    }
}

void config_print_man(FILE *out)
{
    fputs(
        ".\\\" Made from the table of settings in config/options.c by siolb --print-config-man: do not edit it here.\n"
        ".Dd November 24, 2026\n"
        ".Dt SIOLB.INI 5\n"
        ".Os\n"
        ".Sh NAME\n"
        ".Nm siolb.ini\n"
        ".Nd settings of the Socket.IO load balancer siolb\n"
        ".Sh DESCRIPTION\n"
        "The file that\n"
        ".Xr siolb 8\n"
        "reads once, at its start, when it is named with\n"
        ".Fl c .\n"
        "It has sections,\n"
        ".Ql \"[proxy]\" ,\n"
        "and in them lines of the form\n"
        ".Ql \"key = value\" .\n"
        "Lines that begin with\n"
        ".Ql #\n"
        "or\n"
        ".Ql \\&;\n"
        "are comments, and so is what follows a blank and\n"
        ".Ql \\&;\n"
        "behind a value.\n"
        "A line has at most 4096 bytes and is not indented.\n"
        "A setting that is left out keeps its default; only a worker has to be named.\n"
        "A setting that may be repeated is a list: each line adds to it, the first one\n"
        "replaces the default; any other one may be written once.\n"
        ".Pp\n"
        ".Ic siolb -t -c Ar file\n"
        "tests a file, tells every mistake in it with its line, and prints what it\n"
        "amounts to.\n",
        out);
    for (size_t s = 0; s < option_section_count; s++) {
        fprintf(out, ".Ss [%s]\\&\n", option_sections[s].name);
        print_man_text(option_sections[s].help, out);
        fputs(".Bl -tag -width Ds\n", out);
        for (size_t i = 0; i < option_count; i++)
            if (is_in(&options[i], &option_sections[s]))
                print_man_setting(&options[i], out);
        fputs(".El\n", out);
    }
    fputs(".Sh FILES\n"
          ".Bl -tag -width Ds\n"
          ".It Pa siolb.ini.example\n"
          "All settings with their defaults, as\n"
          ".Ic siolb --print-defaults\n"
          "prints them; installed with the documentation.\n"
          ".El\n"
          ".Sh EXAMPLES\n"
          "Four workers under pm2 on ports of their own, behind a balancer that tells who\n"
          "the client is:\n"
          ".Bd -literal -offset indent\n"
          "[workers]\n"
          "worker = 127.0.0.1:3001-3004\n"
          "[forward]\n"
          "trust = 10.0.0.0/8\n"
          "forwarded_for = replace\n"
          ".Ed\n"
          ".Sh SEE ALSO\n"
          ".Xr siolb 8\n",
          out);
}
