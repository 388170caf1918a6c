"""Lasso paths on the study's columns, as they are: who reaches a relative duality gap of 1e-6, and at what cost.

    python benchmarks/lasso.py [FILE.xy] [--splits K] [--budget SECONDS] [--json OUT]

Two data sets: one configuration with random splits (`FILE.xy` such as the study's `Cnf2.xy`, else the first of the shipped
data), on the study's 21 penalties and on 41 from 100 down to 1; and all shipped data with one configuration left out, on 49
penalties from 1e6 down to 0.01. Every solver gets the same problem, reduced by a QR decomposition to as many rows as columns,
follows the path from large penalties to small ones, and is stopped when a split has used its budget of CPU time. celer and
skglm have to be installed: `pip install glassml[bench]`.
"""
import argparse
import importlib.util
import json
import os
import time
import warnings
from itertools import islice

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # one core, and before numpy is imported

import multiprocessing
import resource

import numpy as np
from sklearn.linear_model import Lasso, lars_path
from sklearn.model_selection import LeaveOneGroupOut, ShuffleSplit

from glassml.dataset import load_glass, make_dataset, read_configurations
from glassml.linear import STUDY_LASSO_PENALTIES, MAPLasso, relative_duality_gap

GAP = 1e-6


def reduced(X, p):
    "The same lasso with as many rows as columns."
    Q, R = np.linalg.qr(X)
    return np.asfortranarray(R), Q.T @ p


def ours(X, p, penalties):
    yield from MAPLasso(GAP).path(X, p, penalties)[0]


def lars(X, p, penalties):
    "All corners of the path, and straight lines between them; none beyond the point where it stops."
    R, y = reduced(X, p)
    corners, _, weights = lars_path(R, y, method="lasso", alpha_min=penalties.min() / len(y), max_iter=10_000)
    for penalty in penalties:
        yield np.array([np.interp(penalty, corners[::-1] * len(y), w[::-1]) for w in weights])


def scikit_learn(X, p, penalties, gram=False):
    R, y = reduced(X, p)
    model = Lasso(fit_intercept=False, warm_start=True, tol=GAP / 2, max_iter=10**9, precompute=R.T @ R if gram else False)
    for penalty in penalties:
        yield model.set_params(alpha=penalty / len(y)).fit(R, y).coef_.copy()


def scikit_learn_gram(X, p, penalties):
    yield from scikit_learn(X, p, penalties, gram=True)


def celer(X, p, penalties):
    from celer import Lasso as Celer
    R, y = reduced(X, p)
    model = Celer(fit_intercept=False, warm_start=True, tol=GAP / 2, max_iter=1000, max_epochs=10**6)
    for penalty in penalties:
        yield model.set_params(alpha=penalty / len(y)).fit(R, y).coef_.copy()


def skglm(X, p, penalties):
    "Its tolerance is not the gap: it is lowered until the gap is reached."
    from skglm import Lasso as Skglm
    R, y = reduced(X, p)
    model, w = Skglm(fit_intercept=False, warm_start=True, max_iter=1000, max_epochs=10**6), None
    for penalty in penalties:
        for tolerance in np.geomspace(1e-4, 1e-14, 11):
            w = model.set_params(alpha=penalty / len(y), tol=tolerance).fit(R, y).coef_
            if relative_duality_gap(R, y, w, penalty) <= GAP:
                break
        yield w.copy()


SOLVERS = {"glassml, active set": ours, "scikit-learn, lars_path": lars, "scikit-learn, Lasso": scikit_learn,
           "scikit-learn, Lasso with Gram matrix": scikit_learn_gram, "skglm": skglm, "celer": celer}
INSTALLED = {name: solver for name, solver in SOLVERS.items() if name not in ("skglm", "celer") or importlib.util.find_spec(name)}


def work(send, solver, X, p, penalties, budget):
    "In a process of its own, which the system ends after `budget` seconds of CPU time."
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CPU, (budget, budget + 1))
    for weights in solver(X, p, penalties):
        send.send((weights, time.process_time()))
    send.close()


def timed(solver, X, p, penalties, budget):
    "CPU seconds and relative duality gap of each solution that came within the budget."
    receive, send = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=work, args=(send, solver, X, p, penalties, budget))
    process.start()
    send.close()
    seconds, gaps = budget, []
    try:
        while True:
            weights, now = receive.recv()
            gaps.append(relative_duality_gap(X, p, weights, penalties[len(gaps)]))
            if len(gaps) == len(penalties):
                seconds = now
    except EOFError:
        process.join()
    return seconds, gaps


def compare(X, p, groups, cv, n_splits, penalties, budget):
    "A row for each solver: CPU seconds a split, solutions in time, those that reached the gap, and the largest gap."
    rows = {}
    for name, solver in INSTALLED.items():
        seconds, gaps = [], []
        for train, _ in islice(cv.split(X, p, groups), n_splits):
            Xc, pc = X[train] - X[train].mean(axis=0), p[train] - p[train].mean()
            cost, reached = timed(solver, Xc, pc, penalties, budget)
            seconds.append(cost)
            gaps += reached
        rows[name] = row = dict(
            seconds=float(np.mean(seconds)), stopped=sum(s >= budget for s in seconds), asked=len(seconds) * len(penalties),
            in_time=len(gaps), reached=int(np.sum(np.array(gaps) <= GAP)), largest_gap=float(max(gaps, default=np.nan)))
        print(f"{name:38s} {row['seconds']:9.3f}{'+' if row['stopped'] else ' '} {row['reached']:8d} of {row['asked']}   "
              f"{row['largest_gap']:.1e}", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", help="configuration with propensity, such as Cnf2.xy")
    parser.add_argument("--splits", type=int, default=3, help="splits of each case (the study: 15)")
    parser.add_argument("--budget", type=int, default=5, help="CPU seconds a split")
    parser.add_argument("--json", metavar="OUT", help="write the figures to a file as well")
    options = parser.parse_args()
    shipped = make_dataset(load_glass())
    one = make_dataset(read_configurations(options.file) if options.file else load_glass()[:1])
    random = ShuffleSplit(15, test_size=0.1, random_state=0)
    cases = {"one configuration, the study's penalties": (one, None, random, STUDY_LASSO_PENALTIES[::-1]),
             "one configuration, 100 down to 1": (one, None, random, np.geomspace(100, 1, 41)),
             "shipped data, 1e6 down to 0.01": (shipped, shipped.groups, LeaveOneGroupOut(), np.geomspace(1e6, 1e-2, 49))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for solver in INSTALLED.values():  # compile and import first
            list(solver(np.eye(4) - 0.25, np.arange(4) - 1.5, np.array([1.0, 0.1])))
    if len(INSTALLED) < len(SOLVERS):
        print("not installed: " + ", ".join(name for name in SOLVERS if name not in INSTALLED))
    results = {}
    for case, (data, groups, cv, penalties) in cases.items():
        print(f"\n{case}\n{'':38s} CPU-s a split   gap {GAP:g} reached   largest gap")
        results[case] = compare(data.X, data.p, groups, cv, options.splits, penalties, options.budget)
    print(f"\n+: some splits were stopped after {options.budget} CPU-seconds; the largest gap is of the solutions until then")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(dict(gap=GAP, splits=options.splits, budget=options.budget, cases=results), file, indent=2)


if __name__ == "__main__":
    main()
