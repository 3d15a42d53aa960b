"""Banned functions do not compile, and every source is under that ban."""
import os
import re

from common import ROOT, parallel, read, run, files

HEADER = "lib/base/banned.h"


def attempt(body):
    source = f'#include "base/check.h"\nvoid probe(char *a, time_t *t);\nvoid probe(char *a, time_t *t)\n{{\n{body}\n}}\n'
    return run(["gcc", "-std=c11", "-fsyntax-only", "-D_GNU_SOURCE", "-I" + os.path.join(ROOT, "lib"), "-x", "c", "-"],
               text=source)


# A call that compiles as long as the function is not banned.
CALLS = {
    "strcpy": "strcpy(a, a)", "strcat": "strcat(a, a)", "strncpy": "strncpy(a, a, 1)", "strncat": "strncat(a, a, 1)",
    "sprintf": 'sprintf(a, "x")', "vsprintf": "vsprintf(a, a, *(va_list *)(void *)a)", "strtok": "strtok(a, a)",
    "atoi": "atoi(a)", "atol": "atol(a)", "atoll": "atoll(a)", "gmtime": "gmtime(t)", "localtime": "localtime(t)",
    "ctime": "ctime(t)", "asctime": "asctime(gmtime_r(t, (struct tm *)(void *)a))", "gets": "gets(a)",
}


def check(compiler):
    names = re.findall(r"^#define (\w+)\(\.\.\.\) BANNED_USE", read(HEADER), re.M)
    problems = []
    status, output = attempt("    (void)snprintf(a, 1, \"%p\", (void *)t);")
    if status != 0:
        problems.append(f"{HEADER}: a program without a banned function does not compile: {output.splitlines()[0]}")
    for name in sorted(set(CALLS) | set(names)):
        call = CALLS.get(name, name + "(a)")
        status, output = attempt(f"    (void){call};")
        if status == 0 or f"sluice_banned_function_" not in output:
            problems.append(f"{HEADER}: {name} compiles")
    words = re.compile(r"\b(" + "|".join(sorted(set(CALLS) | set(names))) + r")[ \t]*\(")
    sources = [name for name in files(".c") if name.split("/")[0] in ("lib", "producer", "worker", "bouncer", "ops", "tests")]

    def under_ban(name):
        depends = compiler.depends(name)
        if depends is None or HEADER in depends:
            return []
        return [f"{name}:{at}: {found.group(1)} is banned, and base/check.h is not included"
                for at, line in enumerate(read(name).splitlines(), 1) for found in words.finditer(line)]

    for told in parallel(under_ban, sources):
        problems += told
    return len(set(CALLS) | set(names)), problems
