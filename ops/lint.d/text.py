"""Checks that read files as text: sizes, unfinished work, scripts, documentation of the configuration."""
import os
import re
import shutil

from common import ROOT, files, read, run

FILE_MAX = 800
FUNCTION_MAX = 100
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" "DO", "FIX" "ME", "X" "XX")) + r")\b")
TEXT = (".c", ".h", ".py", ".sh", ".md", ".cmake", ".proto", ".yaml", ".yml", ".txt", ".json", ".java", ".go", ".ts", ".js")


def check_sizes():
    """Files and functions that nobody can read at once. clang-format puts a function's braces into column 1."""
    problems = []
    names = files(".c", ".h")
    for name in names:
        lines = read(name).splitlines()
        if len(lines) > FILE_MAX:
            problems.append(f"{name}: {len(lines)} lines; at most {FILE_MAX}")
        start = None
        for at, line in enumerate(lines, 1):
            if line == "{":
                start = at
            elif line == "}" and start is not None:
                if at - start + 1 > FUNCTION_MAX:
                    problems.append(f"{name}:{start}: a function of {at - start + 1} lines; at most {FUNCTION_MAX}")
                start = None
    return len(names), problems


def first_line(name):
    with open(os.path.join(ROOT, name), "rb") as file:
        return file.readline(200).decode("utf-8", "replace")


def scripts(word):
    return [name for name in files()
            if name.endswith(".py" if word == "python" else ".sh") or
            ("." not in os.path.basename(name) and first_line(name).startswith("#!") and word in first_line(name))]


def check_unfinished():
    problems = []
    names = sorted(set(files(*TEXT)) | set(scripts("python")) | set(scripts("sh")))
    names = [name for name in names if "/corpus" not in name and "/third_party/" not in name]
    for name in names:
        for at, line in enumerate(read(name).splitlines(), 1):
            if UNFINISHED.search(line):
                problems.append(f"{name}:{at}: unfinished: {line.strip()[:80]}")
    return len(names), problems


def check_scripts():
    """They parse; with shellcheck installed, it has nothing to say either."""
    problems = []
    shell = scripts("sh")
    python = scripts("python")
    for name in shell:
        status, output = run(["bash", "-n", name])
        if status != 0:
            problems.append(output.strip())
    if shutil.which("shellcheck") and shell:
        status, output = run(["shellcheck", "-S", "warning", "-f", "gcc", *shell])
        if status != 0:
            problems += output.strip().splitlines()
    for name in python:
        try:
            compile(read(name), name, "exec")
        except SyntaxError as error:
            problems.append(f"{name}:{error.lineno}: {error.msg}")
    return len(shell) + len(python), problems


def check_configuration():
    """Every key of the configuration's schema stands in docs/configuration.md, with its default."""
    schema = read("lib/policy/config_schema.c")
    page = read("docs/configuration.md")
    problems = []
    keys = re.findall(r'\{"([a-z0-9-]+)", SCHEMA_', schema)
    for key in sorted(set(keys)):
        if f"`{key}`" not in page and not re.search(rf"^## {re.escape(key)}$", page, re.M):
            problems.append(f"docs/configuration.md: the key {key} is missing")
    if len(keys) < 50:
        problems.append("lib/policy/config_schema.c: the keys were not found")
    return len(keys), problems
