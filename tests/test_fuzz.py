"""Damaged input, a little of each kind; `tests/fuzz.py` makes the long run, whose outcome is in `tests/fuzz.md`."""
import pickle
import re
import subprocess
import sys
import zipfile
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from fuzz import KINDS, Bench, npy, record
from test_dataset import dump_text, needs_ase, write, xyz_text

from glassml.dataset import read_configurations


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.filterwarnings("ignore")  # what ASE and zipfile think of the input
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_input_is_refused_or_read(kind, bench):
    if kind in ("extended XYZ", "LAMMPS dump") and not find_spec("ase"):
        pytest.skip("needs ASE, the extra glassml[ase]")
    for number in range(100):
        bench.try_one(kind, number, seed=7)
    assert 50 < bench.outcomes[kind]["clear error"] < 100


def test_the_record_of_the_long_run_is_what_the_program_prints(bench):
    numbers = re.compile(r"\d[\d.-]*")
    kept = Path(__file__).with_name("fuzz.md").read_text()
    assert numbers.sub("#", kept) == numbers.sub("#", record(bench, 100_000, 0, 1))
    inputs = [int(row.split("|")[2]) for row in kept.splitlines() if row.startswith(tuple(f"| {kind} |" for kind in KINDS))]
    assert len(inputs) == len(KINDS) and sum(inputs) >= 100_000


# --- much is announced, little is there

HUGE = 10**12


def bomb(path, packed=zipfile.ZIP_DEFLATED):
    "A small archive with an array of 320 MB, or the beginning of it."
    with zipfile.ZipFile(path, "w", packed) as archive, archive.open("types.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, dict(descr="<f8", fortran_order=False, shape=(40 * 2**20,)))
        for _ in range(40 if packed == zipfile.ZIP_DEFLATED else 1):
            file.write(bytes(8 * 2**20))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("initial_positions.npy", b"")


def header_only(path, shape):
    "Arrays that are nothing but a header."
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("types", "initial_positions"):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array_header_1_0(file, dict(descr="<f8", fortran_order=False, shape=shape))


def nested(path):
    "An archive of the package whose header is ten thousand lists in each other."
    text = "[" * 10_000 + "]" * 10_000
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("glassml.npy", npy(text))
        archive.writestr("sha256.npy", npy(sha256(text.encode()).hexdigest()))


ABSURD = {
    "bomb.npz": (bomb, "refused: unpacked, a file of"),
    "lzma.npz": (lambda path: bomb(path, zipfile.ZIP_LZMA), "that numpy does not use"),
    "bzip2.npz": (lambda path: bomb(path, zipfile.ZIP_BZIP2), "that numpy does not use"),
    "header.npz": (lambda path: header_only(path, (HUGE, 2)), "announces an array of shape (1000000000000, 2), but has"),
    "product.npz": (lambda path: header_only(path, (2**40, 2**40)), "announces an array of shape"),
    "nested.npz": (nested, "RecursionError"),
    "a.xy": (lambda path: path.write_text(f"{HUGE} 10\n1 1 1 1\n"), "announces 1000000000000 particles, but 1 rows follow"),
    "a.xyz": (lambda path: path.write_text(xyz_text().replace("6\n", f"{HUGE}\n", 1)), "1000000000000 particles are announced"),
    "wide.xyz": (lambda path: path.write_text(xyz_text().replace("forces:R:3", f"forces:R:{HUGE}", 1)), "announces 1000000000006 columns"),
    "minus.xyz": (lambda path: path.write_text(xyz_text().replace("forces:R:3", f"forces:R:{HUGE}:less:R:-{HUGE}", 1)), "announces 2000000000006 columns"),
    "a.dump": (lambda path: path.write_text(dump_text().replace("ATOMS\n6", f"ATOMS\n{HUGE}", 1)), "1000000000000 particles are announced"),
    "two.dump": (lambda path: path.write_text(dump_text().replace("ITEM: BOX", f"ITEM: NUMBER OF ATOMS\n{HUGE}\nITEM: BOX", 1)),
                 "one ITEM: NUMBER OF ATOMS"),
    "a.pickle": (lambda path: path.write_bytes(write(path.parent, "Bapst pickle")[0].read_bytes().replace(b"K\x06K\x03\x86", b"J\xff\xff\xff\x7fK\x03\x86")),
                 "cannot be read"),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    "What the reader says about each of them, in a process that may take 100 MB more than it has."
    folder = tmp_path_factory.mktemp("absurd")
    for name, (make, _) in ABSURD.items():
        make(folder / name)
    program = f"""
import resource, sys
from glassml.dataset import read_configurations
try:
    import ase.io.extxyz, ase.io.lammpsrun
except ImportError:
    pass
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + {100 * 2**20},) * 2)
for name in sys.argv[1:]:
    try:
        read_configurations(name)
    except (ValueError, ImportError) as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program, *ABSURD], cwd=folder, check=True, capture_output=True, text=True)
    return dict(zip(ABSURD, done.stdout.splitlines(), strict=True))


@pytest.mark.parametrize("name", [pytest.param(name, marks=[needs_ase] if name.endswith(("xyz", "dump")) else []) for name in ABSURD])
def test_what_announces_more_than_it_has_takes_no_memory(name, told):
    assert told[name].startswith(name) and ABSURD[name][1] in told[name] and "MemoryError" not in told[name], told[name]


# --- what looks like data and is a program

class Prank:
    def __reduce__(self):
        return open, ("prank", "w")


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.pt", "a.pickle", "a.xyz", "a.toml"])
def test_no_file_is_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    if path.suffix == ".npz":
        np.savez(path, types=np.array([Prank()], object), initial_positions=np.zeros((1, 2)))
    elif path.suffix == ".npy":
        np.save(path, np.array([Prank()], object))
    elif path.suffix == ".pt":
        pytest.importorskip("torch").save({"positions": Prank()}, path)
    elif path.suffix == ".pickle":
        path.write_bytes(pickle.dumps({"positions": Prank()}))
    else:
        path.write_text("__import__('os').mkdir('prank')\n" * 3)
    with pytest.raises(ValueError, match=name):
        read_configurations(path)
    assert not Path("prank").exists()
