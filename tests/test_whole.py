"""Outputs are whole or not there, and the same again: after `kill -9`, on a full disk, with a damaged cache, on two threads."""
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from importlib.resources import files

import numpy as np
import pytest

QUICK = [str(files("glassml") / "data" / "quick_T0.40" / f"0{k}.npz") for k in range(4)]
PROGRAM = "import sys; from glassml.report import main; sys.exit(main())"
COMMANDS = {
    "report": ["report", *QUICK[:3], "--potential", "lancon", "--species", "1", "--jobs", "1", "--json", "--out", "out"],
    "predict": ["predict", "--train", *QUICK[:3], "--test", QUICK[3], "--potential", "lancon", "--species", "1", "--jobs", "1", "--json",
                "--out", "out.npz"],
    "descriptors": ["descriptors", *QUICK[:2], "--family", "radial", "bond", "--json", "--out", "out.npz"],
    "convert": ["convert", *QUICK, "out.npz", "--json"],
}


def start(name, folder, **more):
    "Start a command in a folder of its own."
    folder.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *COMMANDS[name]], cwd=folder, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **more)


def finish(job):
    "Its exit code, and output and messages."
    out, err = job.communicate(timeout=300)
    assert "Traceback" not in err, err
    return job.returncode, out, err


def written(folder):
    "What a command has left, but for what says how long it took and for what is hidden."
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".") and "unfinished" not in path.parts}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    "What each command leaves and says when nothing happens."
    found = {}

    def run(name):
        if name not in found:
            folder = tmp_path_factory.mktemp(name)
            code, out, err = finish(start(name, folder))
            assert code == 0, err
            found[name] = written(folder), json.loads(out, parse_constant=pytest.fail)
        return found[name]
    return run


def without_seconds(found):
    return {name: value for name, value in found.items() if name != "seconds"}


@pytest.mark.parametrize("name", COMMANDS)
def test_twice_the_same_bytes(name, tmp_path, undisturbed):
    first, said = undisturbed(name)
    code, out, err = finish(start(name, tmp_path))
    assert code == 0, err
    assert written(tmp_path) == first and without_seconds(json.loads(out)) == without_seconds(said)
    if name == "report":
        assert {f"out/{figure}.svg" for figure in ("map", "accuracy", "correlation", "reliability")} < set(first)


@pytest.mark.parametrize("name", ["report", "predict"])
def test_killed_at_any_moment_it_finishes_the_second_time(name, tmp_path, undisturbed):
    whole, _ = undisturbed(name)
    for moment in (r"structure: +\d+%.*1/3", r"left out: +\d+%.*1/3" if name == "report" else r"structure: +100%.*1/1", None):
        job, said = start(name, tmp_path), ""
        while job.poll() is None and (not re.search(moment, said) if moment else not _begun(tmp_path)):
            said += os.read(job.stderr.fileno(), 9999).decode(errors="replace") if moment else time.sleep(0.001) or ""
        job.send_signal(signal.SIGKILL)
        job.communicate()
        for path, content in written(tmp_path).items():
            assert content == whole[path], f"{path} is not whole"
    code, _, err = finish(start(name, tmp_path))
    assert code == 0, err
    assert written(tmp_path) == whole


def _begun(folder):
    "Whether an output is being written."
    return any(path.name.startswith((".out", ".map", ".report")) for path in folder.rglob(".*"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_leaves_nothing_half(name, tmp_path):
    """No file may grow beyond a few kB, as if the disk were full: a real error of the system, in the middle of a write."""
    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    code, out, err = finish(start(name, tmp_path, preexec_fn=full))
    assert code == 2 and "File too large" in err.splitlines()[-1] and not out, err
    assert not any(path.endswith((".npz", "html")) for path in written(tmp_path)) and not list(tmp_path.glob(".*"))


def test_a_device_without_space(tmp_path):
    "Also where the directory itself takes nothing."
    place = tmp_path / "out.npz"
    place.symlink_to("/dev/full")
    done = subprocess.run([sys.executable, "-c", PROGRAM, "convert", QUICK[0], str(place)], capture_output=True, text=True)
    assert done.returncode == 2 and "must name a file in a folder that exists" in done.stderr and place.is_symlink()


@pytest.mark.parametrize("damage", [lambda whole: whole[:len(whole) // 2], lambda whole: b"garbage", lambda whole: b""])
def test_a_damaged_cache_is_made_again(damage, tmp_path, undisturbed):
    whole, _ = undisturbed("report")
    job, said = start("report", tmp_path), ""
    while job.poll() is None and "left out" not in said:
        said += os.read(job.stderr.fileno(), 9999).decode(errors="replace")
    job.send_signal(signal.SIGKILL)
    job.communicate()
    kept = list((tmp_path / "out" / "unfinished").rglob("output.pkl"))
    assert len(kept) == 3
    for path in kept:
        path.write_bytes(damage(path.read_bytes()))
    code, _, err = finish(start("report", tmp_path))
    assert code == 0, err
    assert written(tmp_path) == whole and not (tmp_path / "out" / "unfinished").exists()


def test_interrupted_by_the_user(tmp_path):
    job, said = start("report", tmp_path), ""
    while job.poll() is None and "structure" not in said:
        said += os.read(job.stderr.fileno(), 9999).decode(errors="replace")
    job.send_signal(signal.SIGINT)
    code, out, err = finish(job)
    assert code == 130 and not out and err.endswith("glassml: interrupted\n"), err
    assert not written(tmp_path)


def test_two_threads_agree_with_one(tmp_path, undisturbed):
    """To 1e-8 of the spread of the predictions: sums come in another order."""
    found = []
    for threads in "12":
        place = tmp_path / threads
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), threads)
        code, _, err = finish(start("predict", place, env=environment))
        assert code == 0, err
        found.append(dict(np.load(place / "out.npz")))
    one, two = found
    for name in ("prediction", "std"):
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=1e-8 * np.ptp(one[name]))
