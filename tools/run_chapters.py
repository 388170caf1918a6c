"""Run the notebooks.

    run_chapters.py               run copies in _build/nbs; the checkout stays as it is
    run_chapters.py --in-place    run the notebooks themselves and clean them: how an author refreshes the outputs

Cells flagged `#| slow` keep the outputs they have, unless `--slow` is given.
"""
import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
# The kernel is the one of this environment, without what the user has installed or set up for others.
os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
os.environ["IPYTHONDIR"] = str(BUILD / "ipython")
os.environ.pop("JUPYTER_PATH", None)
import nbformat  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbclient.exceptions import CellExecutionError, DeadKernelError  # noqa: E402

FLAG = r"(?m)\A(?:\s*#\|.*\n)*?\s*#\|\s*{}\s*$"


def flagged(cell, flag):
    "Whether one of the leading `#|` lines of a code cell is `flag`."
    return bool(re.search(FLAG.format(flag), cell.source))


class Runner(NotebookClient):
    "Run a notebook, leaving out the cells that are not for every run."

    def __init__(self, *args, slow=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.slow, self.current = slow, None

    async def async_execute_cell(self, cell, cell_index, **kwargs):
        if cell.cell_type != "code" or flagged(cell, "eval: *false") or (flagged(cell, "slow") and not self.slow):
            return cell
        self.current = cell
        return await super().async_execute_cell(cell, cell_index, **kwargs)


def settle_widgets(notebook):
    "Drop the state of widgets, and name each one after its cell: otherwise every run would write new names."
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            view = output.get("data", {}).get("application/vnd.jupyter.widget-view+json")
            if view:
                view["model_id"] = cell.id


def run(source, target, slow=False):
    "Run the notebook `source` in its own folder and write it to `target`; return the seconds it took."
    asyncio.set_event_loop(asyncio.new_event_loop())
    start = time.perf_counter()
    notebook = nbformat.read(source, as_version=4)
    runner = Runner(notebook, slow=slow, timeout=None, kernel_name="python3", record_timing=False, coalesce_streams=True,
                    extra_arguments=["--log-level=ERROR"], resources={"metadata": {"path": str(source.parent)}})
    try:
        runner.execute()
    except (CellExecutionError, DeadKernelError) as error:
        place = f"cell '{runner.current.id}'" if runner.current else "the kernel"
        text = str(error) if sys.stdout.isatty() else re.sub(r"\x1b\[[\d;]*m", "", str(error))
        raise RuntimeError(f"{source.relative_to(ROOT)}, {place}:\n{text}") from None
    settle_widgets(notebook)
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="notebooks to run, such as 03_validation; all of them if none is named")
    parser.add_argument("--in-place", action="store_true", help="write the notebooks themselves, cleaned")
    parser.add_argument("--slow", action="store_true", help="run the cells flagged slow, too")
    parser.add_argument("--jobs", type=int, default=2, help="how many notebooks to run side by side")
    args = parser.parse_args()

    notebooks = sorted((ROOT / "nbs").glob("[!._]*.ipynb"), reverse=True)  # the longest ones come late in the alphabet
    notebooks = [path for path in notebooks if not args.names or path.stem in args.names]
    if not notebooks:
        sys.exit(f"no notebook in nbs/ is called {' or '.join(args.names)}")
    (BUILD / "ipython").mkdir(parents=True, exist_ok=True)
    if not args.in_place and not args.names:
        shutil.rmtree(BUILD / "nbs", ignore_errors=True)
    target = (lambda path: path) if args.in_place else (lambda path: BUILD / "nbs" / path.name)
    print(f"running {len(notebooks)} notebooks, {args.jobs} at a time")
    failures = []
    with ThreadPoolExecutor(args.jobs) as pool:
        running = {pool.submit(run, path, target(path), args.slow): path for path in notebooks}
        for n, future in enumerate(as_completed(running), 1):
            path, error = running[future], future.exception()
            print(f"  [{n:2}/{len(notebooks)}] {path.stem:22} {'FAILED' if error else f'{future.result():6.1f} s'}", flush=True)
            if error:
                failures.append(str(error) if isinstance(error, RuntimeError) else f"{path.name}: {error!r}")
    if args.in_place:
        for path in notebooks:
            subprocess.run([Path(sys.executable).parent / "nbdev_clean", "--fname", path], cwd=ROOT, check=True)
    if failures:
        sys.exit("\n" + "\n\n".join(failures) + f"\n\n{len(failures)} of {len(notebooks)} notebooks failed")


if __name__ == "__main__":
    main()
