"""The MAP protocol of the original study, timed: 390 ridge solves, 315 lasso fits and 495 debias solves.

    python benchmarks/map_study.py [FILE.xy] [--json OUT]

Without a file, the first configuration of the shipped data. The study's own programs took 13.8 + 1167 + 1.8 = 1183 CPU-seconds for it on `Cnf2.xy` (read as reported, not run here).
Besides ours, the table has a plain loop over scikit-learn's `Ridge` and `Lasso` with default settings, in the same run.
"""
import argparse
import json
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core, and before numpy is imported

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, Ridge
from sklearn.model_selection import ShuffleSplit

from glassml.dataset import load_glass, make_dataset, read_configurations
from glassml.linear import STUDY_LASSO_PENALTIES, STUDY_RIDGE_PENALTIES, relative_duality_gap
from glassml.original_study import map_protocol

STUDY_SECONDS = 13.8 + 1167 + 1.8


def cpu_seconds(work):
    "What `work()` returns, and the CPU time it took."
    start = time.process_time()
    done = work()
    return done, time.process_time() - start


def plain_loop(X, p):
    "A fit for every split and penalty with scikit-learn: the largest relative duality gap of the lasso solutions."
    gaps = []
    for train, _ in ShuffleSplit(15, test_size=0.1, random_state=0).split(X):
        Xc, pc = X[train] - X[train].mean(axis=0), p[train] - p[train].mean()
        for penalty in STUDY_RIDGE_PENALTIES:
            Ridge(alpha=penalty).fit(Xc, pc)
        for penalty in STUDY_LASSO_PENALTIES:
            w = Lasso(alpha=penalty / len(train)).fit(Xc, pc).coef_
            gaps.append(relative_duality_gap(Xc, pc, w, penalty))
    return max(gaps)


def largest_gap(X, p, curve):
    "The largest relative duality gap of all lasso solutions of the protocol."
    gaps = []
    for weights, (train, _) in zip(curve.weights, ShuffleSplit(15, test_size=0.1, random_state=0).split(X)):
        Xc, pc = X[train] - X[train].mean(axis=0), p[train] - p[train].mean()
        gaps += [relative_duality_gap(Xc, pc, w, penalty) for w, penalty in zip(weights, curve.penalties)]
    return max(gaps)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", help="configuration with propensity, such as Cnf2.xy")
    parser.add_argument("--json", metavar="OUT", help="write the figures to a file as well")
    options = parser.parse_args()
    data = make_dataset(read_configurations(options.file) if options.file else load_glass()[:1])
    curves, ours = cpu_seconds(lambda: map_protocol(data.X, data.p))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        plain_gap, plain = cpu_seconds(lambda: plain_loop(data.X, data.p))
    gap = largest_gap(data.X, data.p, curves["map_lasso"])
    print(f"{'':46s} CPU-seconds   largest relative duality gap")
    print(f"{'glassml, whole protocol (debias both ways)':46s} {ours:11.2f}   {gap:.1e}")
    print(f"{'scikit-learn, a fit at a time, without debias':46s} {plain:11.2f}   {plain_gap:.1e}")
    if options.file:
        print(f"{'the study on Cnf2 (reported)':46s} {STUDY_SECONDS:11.0f}   not converged in 173 of 315 fits")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(dict(glassml=ours, glassml_gap=gap, scikit_learn=plain, scikit_learn_gap=plain_gap,
                           study_reported=STUDY_SECONDS), file, indent=2)


if __name__ == "__main__":
    main()
