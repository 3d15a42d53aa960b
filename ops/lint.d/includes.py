"""Who may include whom. Arrows of the architecture: programs -> lib rooms -> smtp, mail, io -> base; and every third-party
header in one folder only."""
import os
import re

from common import ROOT, files, read

LIBRARY = {
    "lib/base": set(),
    "lib/smtp": {"lib/base"},
    "lib/mail": {"lib/base"},
    "lib/io": {"lib/base"},
}
for _room in ("schema", "dns", "kafka", "redis", "policy", "classify"):
    LIBRARY["lib/" + _room] = {"lib/base", "lib/smtp", "lib/mail", "lib/io"}
LIBRARY["lib/ledger"] = {"lib/base", "lib/schema"}
LIBRARY["lib/kafka"].add("lib/ledger")
for _room in ("kafka", "redis", "dns"):  # each takes over its own section of the configuration
    LIBRARY["lib/" + _room].add("lib/policy")
LIBRARY["lib/suppress"] = {"lib/base", "lib/smtp", "lib/schema", "lib/kafka", "lib/policy", "lib/classify"}
LIBRARY["lib/once"] = {"lib/base", "lib/io", "lib/schema", "lib/kafka", "lib/redis"}
LIBRARY["lib/smtpd"] = {"lib/base", "lib/smtp", "lib/io", "lib/policy"}
LIBRARY["lib/sluice"] = set(LIBRARY)

# Room -> rooms that it may include besides itself. Tests may include everything.
ALLOWED = dict(LIBRARY)
for _program in ("producer", "worker", "bouncer", "ops"):
    ALLOWED[_program] = set(LIBRARY)

# Start of a third-party header's name -> the rooms that may include it. Tests may include all.
THIRD_PARTY = {
    "librdkafka/": {"lib/kafka"},
    "uv.h": {"lib/io"},
    "openssl/": {"lib/io", "lib/mail"},
    "hiredis/": {"lib/redis"},
    "unbound": {"lib/dns"},
    "event2/": {"lib/dns"},
    "cyaml/": {"lib/policy"},
    "yaml.h": {"lib/policy", "lib/classify"},
    "hs/": {"lib/classify"},
    "pcre2.h": {"lib/classify"},
    "protobuf-c/": {"lib/schema"},
    "idn2.h": {"lib/smtp"},
    "jansson.h": {"ops", "bouncer"},
    "argon2.h": {"producer"},
    "curl/": {"bouncer"},
    "microhttpd.h": {"bouncer"},
    "gnutls/": {"bouncer"},
    "libpq-fe.h": {"bouncer"},
    "cmocka.h": set(),
    "gmime/": set(),
}

# The C library, POSIX and Linux.
SYSTEM = re.compile(r"""^(?:
    (?:assert|ctype|errno|float|inttypes|limits|locale|math|setjmp|signal|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|threads|
       stdio|stdlib|stdnoreturn|string|strings|time|wchar|
       dirent|dlfcn|iconv|fcntl|fnmatch|getopt|glob|grp|ifaddrs|libgen|malloc|netdb|poll|pthread|pwd|regex|resolv|sched|
       semaphore|spawn|syslog|termios|unistd|fts|spawn|sysexits|ucontext|utime|features|alloca|byteswap|endian|execinfo)\.h
    |(?:sys|net|netinet|arpa|linux|asm|sanitizer)/.*)$""", re.X)

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def room_of(name):
    parts = name.split("/")
    return "/".join(parts[:2]) if parts[0] == "lib" and len(parts) > 2 else parts[0]


def target_of(name, header):
    """The project file that a quoted include means, or None."""
    for folder in (os.path.dirname(name), "lib", "", "tests"):
        path = os.path.normpath(os.path.join(folder, header))
        if os.path.isfile(os.path.join(ROOT, path)):
            return path
    return None


def check_third_party(room, header):
    for start, rooms in THIRD_PARTY.items():
        if header.startswith(start):
            if room in rooms:
                return None
            return f"<{header}> belongs to {' or '.join(sorted(rooms)) or 'tests'} alone"
    return f"<{header}> is not known; give it a room in ops/lint.d/includes.py"


def check_own(room, name, header):
    target = target_of(name, header)
    if target is None:
        # Made by the build; named after the schema it is made from.
        return None if header.endswith(".pb-c.h") and room == "lib/schema" else f'"{header}" is not a file of the project'
    other = room_of(target)
    if target.endswith("_private.h") and not name.startswith(os.path.dirname(target) + "/"):
        return f'"{header}" is private to {os.path.dirname(target)}'
    if other == room or other in ALLOWED[room]:
        return None
    return f'"{header}": {room} may not include {other}'


def first_problem(name, found):
    """The own header first; else any of ours, so that base/banned.h comes before the system's headers."""
    if not name.endswith(".c") or not found:
        return None
    own = name[:-2] + ".h"
    private = name[:-2] + "_private.h"
    quote, header = found[0]
    wanted = [path for path in (own, private) if os.path.isfile(os.path.join(ROOT, path))]
    if wanted and target_of(name, header) not in wanted:
        return f"its own header {os.path.basename(wanted[0])} must be included first"
    if quote == "<":
        return f"<{header}> comes first; begin with a header of ours"
    return None


def check():
    problems = []
    names = [name for name in files(".c", ".h") if room_of(name) in ALLOWED]
    for name in names:
        room = room_of(name)
        text = read(name)
        found = INCLUDE.findall(text)
        told = first_problem(name, found)
        if told:
            problems.append(f"{name}: {told}")
        for match in INCLUDE.finditer(text):
            quote, header = match.groups()
            line = text.count("\n", 0, match.start()) + 1
            if quote == "<" and SYSTEM.match(header):
                continue
            told = check_third_party(room, header) if quote == "<" else check_own(room, name, header)
            if told:
                problems.append(f"{name}:{line}: {told}")
    for name in files(".c", ".h"):
        if room_of(name) not in ALLOWED and room_of(name) not in ("tests", "docs"):
            problems.append(f"{name}: {room_of(name)} is not a known room; see ops/lint.d/includes.py")
    return len(names), problems
