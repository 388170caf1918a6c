"""Commands on small data, run by processes that are forked from one in which everything is compiled."""
import contextlib
import io
import os
import re
import resource
import signal
import sys
import tempfile
from importlib.resources import files
from threading import RLock

import numpy as np
from tqdm import tqdm

from glassml.dataset import write_configurations
from glassml.descriptors import Configuration
from glassml.report import main
from glassml.simulation import lammps_engine

QUICK = [str(files("glassml") / "data" / "quick_T0.40" / f"0{k}.npz") for k in range(4)]
COMMANDS = {
    "report": ["report", *QUICK[:3], "--potential", "lancon", "--species", "1", "--jobs", "1", "--json", "--out", "out"],
    "predict": ["predict", "--train", *QUICK[:3], "--test", QUICK[3], "--potential", "lancon", "--species", "1", "--warm", "2", "--jobs", "1",
                "--json", "--out", "out.npz"],
    "descriptors": ["descriptors", *QUICK[:2], "--family", "radial", "bond", "--json", "--out", "out.npz"],
    "convert": ["convert", *QUICK, "out.npz", "--json"],
    "study": ["study", "../small.npz", "--epochs", "3", "--json", "--out", "out"],
    "simulate": ["simulate", "../tiny.toml", "--jobs", "1", "--json", "--out", "out"],
}


def lay_out(folder):
    "What a study and a simulation find in the folder above their own, and finish in seconds."
    draw, sites = np.random.default_rng(0), np.mgrid[:6, :5].reshape(2, -1).T
    X = draw.normal(size=(3, 30, 2))  # two columns that say nearly everything: Bayes-Lasso agrees with itself at once
    write_configurations(folder / "small.npz", [Configuration(sites, np.ones(30, int), 6.0, propensity=p, descriptors=x)
                                                for x, p in zip(X, 1 + X.sum(2) / 8 + draw.uniform(0, 0.1, (3, 30)))])
    recipe = (files("glassml") / "recipes" / "quick.toml").read_text()
    for name, value in dict(counts="[22, 10, 18]", cooling="[[1.0, 10]]", times="[1, 2]", n_configurations=1, n_runs=2, seed=0).items():
        recipe = re.sub(f"(?m)^{name} = .*", f"{name} = {value}", recipe)
    (folder / "tiny.toml").write_text(recipe)


def run(name, folder, largest=None):
    "A command in a folder of its own, with its output in a file beside it; no file may grow beyond `largest` bytes."
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal: workers of pytest ignore it
    for number, kind in (1, "stdout"), (2, "stderr"):
        os.dup2(os.open(f"{folder}.{kind}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND), number)
    if largest:
        if name in ("predict", "simulate"):
            lammps_engine()  # MPI keeps its own memory in files, too
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    sys.exit(main(COMMANDS[name]))


if "pytest" not in sys.modules:  # in the process that others are forked from
    tqdm.monitor_interval = 0  # no thread, whose lock a fork could inherit
    tqdm.set_lock(RLock())  # tqdm's own is shared by all forks, and stays taken when one is killed while it draws
    with tempfile.TemporaryDirectory() as somewhere, contextlib.chdir(somewhere), contextlib.redirect_stderr(io.StringIO()), \
            contextlib.redirect_stdout(io.StringIO()):
        main(COMMANDS["report"])
        import glassml.mlp_capacity  # noqa: F401, torch
