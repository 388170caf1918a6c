"""Commands on small data, run by processes that are forked from one in which everything is compiled."""
import contextlib
import io
import os
import resource
import sys
import tempfile
from importlib.resources import files

from tqdm import tqdm

from glassml.report import main

QUICK = [str(files("glassml") / "data" / "quick_T0.40" / f"0{k}.npz") for k in range(4)]
COMMANDS = {
    "report": ["report", *QUICK[:3], "--potential", "lancon", "--species", "1", "--jobs", "1", "--json", "--out", "out"],
    "predict": ["predict", "--train", *QUICK[:3], "--test", QUICK[3], "--potential", "lancon", "--species", "1", "--jobs", "1", "--json",
                "--out", "out.npz"],
    "descriptors": ["descriptors", *QUICK[:2], "--family", "radial", "bond", "--json", "--out", "out.npz"],
    "convert": ["convert", *QUICK, "out.npz", "--json"],
}


def run(name, folder, largest=None):
    "A command in a folder of its own, with its output in a file beside it; no file may grow beyond `largest` bytes."
    os.chdir(folder)
    for number, kind in (1, "stdout"), (2, "stderr"):
        os.dup2(os.open(f"{folder}.{kind}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND), number)
    if largest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    sys.exit(main(COMMANDS[name]))


if "pytest" not in sys.modules:  # in the process that others are forked from
    tqdm.monitor_interval = 0  # no thread, whose lock a fork could inherit
    with tempfile.TemporaryDirectory() as somewhere, contextlib.chdir(somewhere), contextlib.redirect_stderr(io.StringIO()), \
            contextlib.redirect_stdout(io.StringIO()):
        main(COMMANDS["report"])
