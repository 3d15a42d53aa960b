"""What the checks of ops/lint share: the files of the project, how C is compiled here, running things in parallel."""
import concurrent.futures
import json
import os
import re
import shlex
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build", "debug")


def files(*endings):
    """Tracked files that exist, relative to ROOT; without git, all but build folders. No endings: all."""
    found = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached"], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, check=False)
    if found.returncode == 0:
        names = sorted(set(found.stdout.decode().split("\0")) - {""})
    else:
        names = []
        for folder, folders, plain in os.walk(ROOT):
            folders[:] = [name for name in folders if name not in (".git", "build", "node_modules", "target")]
            names += [os.path.relpath(os.path.join(folder, name), ROOT) for name in plain]
        names.sort()
    return [name for name in names
            if (not endings or name.endswith(endings)) and os.path.isfile(os.path.join(ROOT, name))]


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8", errors="replace") as file:
        return file.read()


def parallel(function, items):
    """function(item) for each, on all cores; the results in the order of the items."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        return list(pool.map(function, items))


def run(command, text=None):
    """(status, output and errors together)"""
    done = subprocess.run(command, cwd=ROOT, input=text, text=True, errors="replace", stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=None if text is not None else subprocess.DEVNULL,
                          check=False)
    return done.returncode, done.stdout


class Compiler:
    """How the debug preset compiles each source; for files that it does not compile (headers, fuzz targets), with the
    include folders and definitions of all others together."""

    def __init__(self):
        self.own = {}
        shared = []
        warnings = []
        path = os.path.join(BUILD, "compile_commands.json")
        if not os.path.exists(path):
            status, output = run(["cmake", "--preset", "debug"])
            if status != 0:
                raise SystemExit("lint: cmake --preset debug failed\n" + output)
        self._generate()
        with open(path, encoding="utf-8") as file:
            commands = json.load(file)
        for entry in commands:
            words = shlex.split(entry["command"])
            keep = self._flags(words[1:], entry["directory"])
            self.own[os.path.relpath(os.path.realpath(entry["file"]), os.path.realpath(ROOT))] = keep
            for flag in keep:
                kind = warnings if flag.startswith("-W") else shared
                if flag not in kind and not flag.startswith(("-f", "-O", "-g")):
                    kind.append(flag)
        self.shared = warnings + shared + ["-I" + ROOT, "-I" + os.path.join(ROOT, "tests")]

    @staticmethod
    def _flags(words, folder):
        """Only what matters for reading the source; include folders joined with their option."""
        keep = []
        rest = iter(words)
        for word in rest:
            if word in ("-isystem", "-I", "-D", "-include"):
                keep.append(("-isystem" if word == "-isystem" else word) + next(rest))
            elif word in ("-o", "-MT", "-MF", "-MQ"):
                next(rest)
            elif word.startswith(("-I", "-D", "-isystem", "-W", "-std=", "-f", "-pthread")):
                keep.append(word)
        return [re.sub(r"^(-I|-isystem)(?!/)", lambda m: m.group(1) + folder + "/", word)
                if word.startswith(("-I", "-isystem")) else word for word in keep]

    @staticmethod
    def _generate():
        """Headers that the build makes (protobuf-c)."""
        status, output = run(["ninja", "-C", BUILD, "-t", "targets", "all"])
        if status != 0:
            raise SystemExit("lint: ninja cannot read build/debug\n" + output)
        headers = sorted({line.split(":")[0] for line in output.splitlines()
                          if line.endswith("CUSTOM_COMMAND") and line.split(":")[0].endswith(".h")})
        if headers:
            status, output = run(["ninja", "-C", BUILD, *headers])
            if status != 0:
                raise SystemExit("lint: the generated headers cannot be made\n" + output)

    def flags(self, name):
        return self.own.get(name, self.shared)

    def depends(self, name):
        """The project's own files that a source is made of (itself, its headers), or None when it does not
        preprocess."""
        done = subprocess.run(["gcc", "-MM", *self.flags(name), os.path.join(ROOT, name)], cwd=ROOT, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            return None
        names = done.stdout.split(":", 1)[1].replace("\\\n", " ").split()
        return sorted(os.path.relpath(os.path.realpath(found), os.path.realpath(ROOT)) for found in names)
