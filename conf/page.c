/* SPDX-License-Identifier: BSD-2-Clause */
/* The frame of a report: see page.h. */
#include "conf/page.h"

#include "conf/markup.h"

static const char before_title[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n"
    "<title>";
static const char after_title[] =
    "</title>\n<style>\n"
    ":root{color-scheme:light dark;--line:#8886}\n"
    "body{font:15px/1.45 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}\n"
    "table{border-collapse:collapse;margin:.5em 0 1.5em}\n"
    "td,th{padding:.2em .8em;border-bottom:1px solid var(--line);text-align:left}\n"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\n"
    ".as-expected{color:#18794e}.failed{color:#c0362c}\n"
    "svg{width:100%;height:auto;display:block;margin:.3em 0 1.5em}\n"
    "svg text{font:11px system-ui,sans-serif;fill:currentColor}\n"
    "svg .grid{stroke:var(--line);stroke-width:1}\n"
    "svg polyline{fill:none;stroke-width:1.6}svg circle{fill:none;stroke-width:1.6}\n"
    ".c0{stroke:#2f6fd0}.c1{stroke:#d9822b}.c2{stroke:#b3261e}\n"
    "svg text.c0{fill:#2f6fd0;stroke:none}svg text.c1{fill:#d9822b;stroke:none}\n"
    "svg text.c2{fill:#b3261e;stroke:none}\n"
    "</style></head><body>\n";

void kl_page_begin(const char *title, FILE *out)
{
    fputs(before_title, out);
    kl_markup_text(out, title);
    fputs(after_title, out);
}

void kl_page_end(FILE *out)
{
    fputs("</body></html>\n", out);
}
