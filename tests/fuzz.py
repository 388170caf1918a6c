"""Damaged files, recipes and command lines: a clear error or a right answer, and nothing else.

    python tests/fuzz.py --inputs 100000 --record tests/fuzz.md

Input number i of a seed is always the same one; `--only KIND --first I --inputs 1` makes a single one again.
"""
import argparse
import contextlib
import hashlib
import io
import json
import os
import pickle
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from datetime import date
from importlib.resources import files
from pathlib import Path

import numpy as np
from test_dataset import READERS, same, write

from glassml.dataset import read_configurations, versions, write_configurations
from glassml.descriptors import Configuration
from glassml.report import main
from glassml.simulation import read_recipe

os.environ["LOKY_MAX_CPU_COUNT"] = "1"  # a command without --jobs starts no processes
KINDS = (*READERS, "recipe", "command line")
WORDS = [b"nan", b"inf", b"-1", b"0", b"-0.0", b"1e308", b"1e-320", b"1000000000000", b"9" * 5000, b"1_0", b"0x10", b"", b"A", b"\0",
         "½".encode(), b"\xff", b"1 1", b"1\n1", b"T", b"_JSON {}", b"[[1]]", b"../a", b"--"]
LIMIT = 20  # CPU seconds for one input


# --- damage

def damaged(content, noise):
    "Bytes changed in one to three places."
    for _ in range(noise.randint(1, 3)):
        content = noise.choice(DAMAGES)(content or b" ", noise)
    return content


def _cut_at(content, noise, longest=200):
    "Two places not far from each other."
    first = noise.randrange(len(content) + 1)
    return first, min(len(content), first + noise.randint(0, longest))


def _byte(content, noise):
    at = noise.randrange(len(content))
    return content[:at] + bytes([noise.randrange(256)]) + content[at + 1:]


def _deleted(content, noise):
    first, last = _cut_at(content, noise)
    return content[:first] + content[last:]


def _repeated(content, noise):
    first, last = _cut_at(content, noise)
    return content[:last] + content[first:last] * noise.randint(1, 3) + content[last:]


def _truncated(content, noise):
    return content[:noise.randrange(len(content))]


def _word(content, noise):
    "Another word or number in the place of one."
    found = list(re.finditer(rb"[\w.+-]+", content))
    if not found:
        return content + noise.choice(WORDS)
    some = noise.choice(found)
    return content[:some.start()] + noise.choice([*WORDS, noise.choice(found)[0]]) + content[some.end():]


def _lines(content, noise):
    "Two lines exchanged."
    lines = content.split(b"\n")
    i, j = noise.randrange(len(lines)), noise.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines)


DAMAGES = (_byte, _byte, _deleted, _repeated, _truncated, _word, _word, _word, _lines)


def altered(array, noise):
    "An array that is not what it was."
    array = np.array(array)
    flat = array.ravel().copy()
    if flat.size and flat.dtype.kind in "iuf":
        with np.errstate(all="ignore"):
            flat[noise.randrange(flat.size)] = np.array(noise.choice([-1, 0, 0.5, 1e30, 127, *flat.tolist()])).astype(flat.dtype)
        if flat.dtype.kind == "f" and noise.random() < 0.3:
            flat[noise.randrange(flat.size)] = noise.choice([np.nan, np.inf, -np.inf, 1e308, 5e-324])
    return noise.choice([
        lambda: flat.reshape(array.shape), lambda: array.T, lambda: array[:-1] if array.ndim else array[None], lambda: array[None],
        lambda: array[..., None], lambda: array.ravel(), lambda: array.ravel()[:1], lambda: array.ravel()[:0], lambda: np.float64(1e12),
        lambda: array.astype(noise.choice(["f2", "f4", ">f8", "i1", "u8", "c16", "?", "S3", "U5"])), lambda: -array.astype(float),
        lambda: np.concatenate([array, array]) if array.ndim else array, lambda: np.array("text"), lambda: np.zeros((0, 10**12)),
        lambda: array * 1e300, lambda: array.astype(str), lambda: np.zeros(array.shape, [("a", "f4"), ("b", "i4")])])()


def npy(array):
    "The bytes of an array in numpy's own format."
    with io.BytesIO() as file:
        np.lib.format.write_array(file, np.asarray(array))
        return file.getvalue()


def damaged_archive(content, noise):
    "An archive whose members were changed, and whose checksums, more often than not, say that all is well."
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for _ in range(noise.randint(1, 2)):
        name = noise.choice(list(members))
        how = noise.randrange(5)
        if how == 0:
            members[noise.choice(["x.npy", "0/x.npy", "no array", noise.choice(list(members))])] = members.pop(name)
        elif how == 1 and len(members) > 1:
            del members[name]
        elif how == 2:
            members[name] = damaged(members[name], noise)
        elif how == 3:
            members[name] = members[noise.choice(list(members))]
        else:
            with contextlib.suppress(Exception):  # of numpy, on what was damaged before
                array = np.lib.format.read_array(io.BytesIO(members[name]))
                members[name] = npy(damaged(str(array).encode(), noise).decode(errors="replace") if name == "glassml.npy"
                                    else altered(array, noise))
    if "glassml.npy" in members and noise.random() < 0.7:
        members |= _with_right_checksums(members)
    with io.BytesIO() as file:
        packed = noise.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
        with zipfile.ZipFile(file, "w", packed) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return file.getvalue()


def _with_right_checksums(members):
    "Header and checksum of our own format, as far as the header can still be read."
    with contextlib.suppress(Exception):
        text = str(np.lib.format.read_array(io.BytesIO(members["glassml.npy"])))
        with contextlib.suppress(Exception):
            header = json.loads(text)
            for number, entry in enumerate(header["configurations"]):
                for key in entry["sha256"]:
                    entry["sha256"][key] = hashlib.sha256(members[f"{number}/{key}.npy"]).hexdigest()
            text = json.dumps(header)
        return {"glassml.npy": npy(text), "sha256.npy": npy(hashlib.sha256(text.encode()).hexdigest())}
    return {}


def damaged_pickle(content, noise):
    "A pickle of other arrays."
    data = pickle.loads(content)  # one that we wrote
    key = noise.choice(list(data))
    how = noise.randrange(4)
    if how == 0:
        del data[key]
    elif how == 1:
        data[key] = noise.choice([None, 3, -1.5, "text", [], {}, [None], [1, [2]], {"a": {1: 2}}, 10**400, (1, "a"), True, b"x", 2 + 3j])
    elif how == 2:
        data[noise.choice([1, "format", "wrapped", ("a",), None, "series", ""])] = data[key]
    else:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            data[key] = altered(data[key], noise)
            data[key] = list(data[key]) if noise.random() < 0.5 and np.ndim(data[key]) else data[key]
    return pickle.dumps(data, protocol=noise.randint(0, 5))


# --- what is tried

class Bench:
    "A folder with a good file of every kind, and the outcomes so far."

    def __init__(self, folder):
        self.folder, self.outcomes, self.slowest = Path(folder), {kind: Counter() for kind in KINDS}, 0.0
        self.good = {}
        for name in READERS:
            path, self.density = write(self.folder, name)
            self.good[name] = path.read_bytes(), path.suffix, self.density
            path.unlink()
        self.good["recipe"] = (files("glassml") / "recipes" / "quick.toml").read_bytes(), ".toml", None
        self.place = self.folder / "here"
        self._lay_out()

    def _lay_out(self):
        "A folder to give commands in."
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        draw = np.random.default_rng(0)
        for k in range(4):
            sites = np.stack(np.meshgrid(*2 * [np.arange(5.0)]), -1).reshape(-1, 2) + 0.2 * draw.random((25, 2))
            c = Configuration(sites, draw.integers(1, 4, 25), 5.0, propensity=draw.random(25), times=[1, 2],
                              series={"displacement": draw.random((2, 2, 25))}, name=str(k))
            write_configurations(self.place / f"{k}.npz", c)
        (self.place / "a.xy").write_bytes(self.good["study xy"][0])
        (self.place / "mine.toml").write_bytes(self.good["recipe"][0].replace(b"density = 1", b"density = -1"))
        (self.place / "garbage").write_bytes(random.Random(0).randbytes(999))
        (self.place / "empty").mkdir()

    def input(self, kind, noise):
        "The next damaged input of a kind."
        if kind == "command line":
            return command_line(noise)
        content = self.good[kind][0]
        if kind.endswith("npz") and noise.random() < 0.8:
            return damaged_archive(content, noise)
        if kind == "Bapst pickle" and noise.random() < 0.5:
            return damaged_pickle(content, noise)
        return damaged(content, noise)

    def try_one(self, kind, number, seed=0):
        "Make input `number` of a kind and see what comes of it."
        noise = random.Random(f"{seed} {kind} {number}")
        given, began, before = self.input(kind, noise), time.process_time(), peak()
        try:
            with clock(LIMIT):
                outcome = self._command(given) if kind == "command line" else self._file(kind, given)
            assert peak() < before + 300, f"took {peak() - before:.0f} MB"
        except BaseException as error:
            raise AssertionError(f"{kind}, input {number}: {type(error).__name__}: {str(error)[:2000]}\n{str(given)[:2000]}") from error
        self.outcomes[kind][outcome] += 1
        self.slowest = max(self.slowest, time.process_time() - began)

    def _file(self, kind, content):
        "Read, and what was read survives our own format, or is refused by it."
        suffix, density = self.good[kind][1:]
        path, again = self.folder / f"bad{suffix}", self.folder / "again.npz"
        path.write_bytes(content)
        try:
            if kind == "recipe":
                read_recipe(path)
                return "read"
            found = read_configurations(path, density)
        except ValueError as error:
            assert str(path) in str(error) and len(str(error)) < 1000 and "MemoryError" not in str(error), f"not a clear error: {error}"
            return "clear error"
        try:
            write_configurations(again, found)
        except ValueError as error:
            assert "cannot be" in str(error), f"not a clear error: {error}"
            return "not written"
        for one, other in zip(found, read_configurations(again), strict=True):
            same(one, other)
        return "read"

    def _command(self, words):
        "Run a command line: its exit code is 0 or 2, and its JSON is JSON."
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(self.place), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(words)
            except SystemExit as end:
                code = end.code
        assert code in (0, 2) and "Traceback" not in err.getvalue(), f"exit code {code}, {err.getvalue()[-2000:]}"
        if code == 0 and out.getvalue().startswith("{"):
            json.loads(out.getvalue(), parse_constant=refused)
        assert code == 0 or err.getvalue().strip(), "no message"
        if code == 0:
            self._lay_out()
        return "clear error" if code else "right answer"


def refused(constant):
    raise AssertionError(f"{constant} is no JSON")


@contextlib.contextmanager
def clock(seconds):
    "End what computes for too long."
    def late(*_):
        raise TimeoutError(f"more than {seconds} s")
    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


COMMANDS = [
    "convert a.xy out.npz --json", "convert 0.npz 1.npz out.npz --density 1", "convert empty out.npz", "convert garbage out.npz",
    "descriptors 0.npz 1.npz --family radial bond --cutoff 1.5 --out X.npz --jobs 1 --json",
    "descriptors 0.npz --family field rest --inherent --potential lancon --average 0.5 1 --single --unit 0.618 --density 1 --out X.npz",
    "predict --train 0.npz 1.npz 2.npz --test 3.npz --species 1 --time -1 --potential lancon --density 1 --jobs 1 --out P.npz --json",
    "report 0.npz 1.npz 2.npz --species 0 --time 0 --potential lancon --density 1 --jobs 1 --seed 0 --out r --json",
    "study a.xy --species 1 --unit 0.618 --density 0.24 --seed 0 --epochs 1 --out s --json",
    "simulate mine.toml --out g --work w --jobs 1 --json", "--version", "report --help"]
VALUES = ["nan", "inf", "-inf", "-1", "0", "1", "2", "9" * 30, "1e400", "-1e-300", "1.5", "", " ", "\0", "ü", "\udcff", "a.xy", "0.npz", "9.npz",
          "empty", "garbage", "/", "/dev/null", "/proc/self/mem", "/dev/full", ".", "..", "mine.toml", "ka", "ka-3d", "lancon", "--out", "--json", "--jobs",
          "--time", "--density", "--family", "radial", "field", "@a.xy", "~", "x" * 300, "../here/0.npz", "4294967296", "r/r/r"]


def command_line(noise):
    "Words of a command line, some of them wrong."
    words = noise.choice(COMMANDS).split()
    for _ in range(noise.randint(1, 3)):
        at = noise.randrange(len(words)) if words else 0
        how = noise.randrange(4)
        if how == 0 and words:
            del words[at]
        elif how == 1:
            words.insert(at, noise.choice(VALUES))
        elif how == 2 and words:
            words[at] = noise.choice(VALUES)
        else:
            words.insert(at, noise.choice(noise.choice(COMMANDS).split()))
    return words


# --- the long run

def record(bench, inputs, seed, minutes):
    "The outcome as a page."
    lines = ["# A long run on damaged input", "",
             f"`python tests/fuzz.py --inputs {inputs} --seed {seed}` on {date.today()}: {minutes:.0f} minutes, the slowest input {bench.slowest:.1f} CPU-s (a first command is compiled), "
             f"at most {peak():.0f} MB of memory in all. Every input was refused with a clear error (a `ValueError` that names the file, or exit "
             "code 2 and a message), or read or carried out. What was read from a file was written to our own format and came back the same to "
             "the last bit; or that format, which keeps no objects, refused it with a clear error, and then it is counted as not written.", "",
             "| kind | inputs | refused | read, not written | read, or carried out |", "|---|---|---|---|---|"]
    for kind, counts in bench.outcomes.items():
        refused, unwritten = counts["clear error"], counts["not written"]
        lines.append(f"| {kind} | {counts.total()} | {refused} | {unwritten} | {counts.total() - refused - unwritten} |")
    made_with = versions("glassml", "numpy", "ase", "scipy", "scikit-learn")
    return "\n".join([*lines, "", ", ".join(f"{name} {number}" for name, number in made_with.items()).capitalize() + "."]) + "\n"


def peak():
    "Most memory that this process has held, in MB."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--memory", type=float, default=8, help="address space that may be taken, in GB")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (int(options.memory * 2**30),) * 2)
    kinds, began, failed = [options.only] if options.only else KINDS, time.perf_counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder)
        for number in range(options.first, options.first + options.inputs):
            try:
                bench.try_one(kinds[number % len(kinds)], number, options.seed)
            except AssertionError as error:
                failed += 1
                print(error, flush=True)
            if number % 1000 == 999:
                print(f"{number + 1} inputs, {time.perf_counter() - began:.0f} s, {peak():.0f} MB", file=sys.stderr, flush=True)
    page = record(bench, options.inputs, options.seed, (time.perf_counter() - began) / 60)
    print(page)
    if options.record and not failed:
        options.record.write_text(page)
    sys.exit(failed > 0)
