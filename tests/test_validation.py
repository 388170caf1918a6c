"""Honest validation: nothing held out reaches a fit, whatever the splits; errors and coverage where the truth is known."""
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import BayesianRidge, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, LeaveOneGroupOut, RandomizedSearchCV, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from glassml.dataset import make_dataset, read_configurations
from glassml.relevance import subset_scores
from glassml.validation import (Comparison, LearningCurve, SpatialBlocks, accuracy, compare, comparison_table, coverage, evaluate,
                                held_out, learning_curve, negative_log_likelihood, pearson, plot_learning_curve, plot_reliability)


def made_up(n_groups=6, n=40, features=5, seed=0):
    "Descriptors, propensities and configurations: a line, noise, and an offset of each configuration."
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), n)
    X = rng.normal(size=(len(groups), features))
    return X, X @ rng.normal(size=features) + rng.normal(size=len(groups)) + rng.normal(size=n_groups)[groups], groups


class Recorder(RegressorMixin, BaseEstimator):
    "Remembers the row numbers (first column) of every fit, and the groups that came along."

    def __init__(self, seen):
        self.seen = seen

    def __sklearn_clone__(self):
        return self

    def fit(self, X, p, groups=None):
        self.seen.append((X[:, 0].astype(int), groups))
        return self

    def predict(self, X):
        return X[:, 0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("cv", [None, KFold(4), GroupKFold(3), "blocks"])
def test_nothing_held_out_is_fitted(cv):
    n, rng = 80, np.random.default_rng(1)
    groups, places = np.repeat([3, 1, 4, 5], 20), rng.uniform(0, 9, (80, 2))
    cv = SpatialBlocks(places, 9.0, 2, buffer=1.0) if cv == "blocks" else cv
    X, seen = np.column_stack([np.arange(n), groups]).astype(float), []
    prediction = held_out(Recorder(seen), X, rng.normal(size=n), groups, cv)
    assert (prediction == np.arange(n)).all()
    folds = list((cv or LeaveOneGroupOut()).split(X, None, None if isinstance(cv, KFold) else groups))
    assert len(seen) == len(folds)
    for (rows, labels), (train, held) in zip(seen, folds):
        assert set(rows) == set(train) and not set(rows) & set(held) and (labels == groups[rows]).all()
        if cv is None:
            assert not set(labels) & set(groups[held])


@pytest.mark.parametrize("search, options", [(GridSearchCV, {}), (RandomizedSearchCV, dict(n_iter=2))])
def test_nested_selection_is_that_of_scikit_learn(search, options):
    X, p, groups = made_up()
    model = search(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [1.0, 100.0]}, cv=LeaveOneGroupOut(), **options)
    expected = cross_val_predict(model, X, p, groups=groups, cv=LeaveOneGroupOut(), params=dict(groups=groups))
    np.testing.assert_allclose(held_out(model, X, p, groups), expected)
    assert not hasattr(model, "best_estimator_")   # cloned


def test_every_way_of_scoring_lets_a_search_select_by_configuration():
    X, p, groups = made_up()
    search = GridSearchCV(Ridge(), {"alpha": [1.0, 100.0]}, cv=LeaveOneGroupOut())
    expected = accuracy(p, held_out(search, X, p, groups), groups).each
    np.testing.assert_allclose(evaluate(search, X, p, LeaveOneGroupOut(), groups).pearson, expected)
    np.testing.assert_allclose(subset_scores(search, X, p, {"all": np.ones(5, bool)}, groups)["all"].left_out.each, expected)


def test_standard_deviations_come_through_searches_and_pipelines():
    X, p, groups = made_up()
    model = make_pipeline(StandardScaler(), BayesianRidge())
    search = GridSearchCV(model, {"bayesianridge__lambda_init": [None]}, cv=LeaveOneGroupOut())
    (a, sa), (b, sb) = (held_out(m, X, p, groups, return_std=True) for m in (model, search))
    np.testing.assert_allclose(a, b), np.testing.assert_allclose(sa, sb)
    assert (sa > 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_accuracy_is_pearson_whatever_the_units(seed, shift, scale):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(4), rng.integers(3, 20, 4)))
    p, guess = rng.normal(size=(2, len(groups)))
    a, b = accuracy(p, guess, groups), accuracy(shift + scale * p, guess, groups)
    each = [pearson(p[groups == g], guess[groups == g]) for g in range(4)]
    np.testing.assert_allclose([a.pooled, *a.each], [pearson(p, guess), *each])
    np.testing.assert_allclose([b.pooled, *b.each, b.pooled_error], [a.pooled, *a.each, a.pooled_error], rtol=1e-6, atol=1e-9)


def test_errors_are_those_of_new_configurations():
    "Bootstrap errors, on average over samples of eight configurations, against the scatter between such samples."
    rng, values, errors = np.random.default_rng(0), [], []
    for _ in range(150):
        groups, slope = np.repeat(np.arange(8), 30), rng.normal(1, 0.5, 8)
        p = rng.normal(size=240) + rng.normal(size=8)[groups]
        a = accuracy(p, slope[groups] * p + rng.normal(size=240), groups, n_bootstrap=200)
        values.append([a.pooled, a.one_by_one]), errors.append([a.pooled_error, a.one_by_one_error])
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(errors), axis=0)), np.std(values, axis=0), rtol=0.25)


def test_accuracy_has_the_ceiling_of_the_runs_and_says_so():
    rng = np.random.default_rng(0)
    groups, truth = np.repeat(np.arange(3), 400), rng.uniform(1, 2, 1200)
    runs = truth + 0.5 * rng.normal(size=(8, 1200))
    score = accuracy(runs.mean(axis=0), truth, groups, runs)
    assert abs(score.pooled - score.ceiling.pooled) < 0.02 and "ceiling" in str(score)
    assert "one configuration" in str(accuracy(truth, truth)) and np.isnan(accuracy(truth, truth).one_by_one_error)


def test_learning_curve_is_reproducible_and_never_scores_what_it_learned():
    X, p, groups = made_up(8)
    X[:, 0] = groups
    a, b = (learning_curve(Ridge(), X, p, groups, [1, 3], n_repeats=3, random_state=5) for _ in range(2))
    assert (a.scores == b.scores).all() and (a.sizes == [1, 3]).all()
    names = np.array([f"configuration {g}" for g in groups])      # labels need not be numbers
    assert learning_curve(Ridge(), X, p, names, [1, 3], n_repeats=3, random_state=5).scores.shape == (2, 3)
    seen = []
    learning_curve(Recorder(seen), X, p, groups, [1, 2, 4], n_repeats=4)
    for r in range(4):
        fits = [set(labels) for _, labels in seen[3 * r:3 * r + 3]]
        assert [len(f) for f in fits] == [1, 2, 4] and fits[0] < fits[1] < fits[2]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_coverage_is_the_level_for_the_right_deviation_and_grows_with_it(seed, scale):
    rng = np.random.default_rng(seed)
    std = scale * rng.uniform(0.2, 3, 4000)
    p, levels = std * rng.normal(size=4000), (0.1, 0.5, 0.9)
    found = coverage(p, np.zeros(4000), std, levels)
    np.testing.assert_allclose(found, [levels], atol=0.05)
    assert (coverage(p, np.zeros(4000), 2 * std, levels) > found).all() and (np.diff(found[0]) > 0).all()


def test_reliability_diagram_has_a_line_a_configuration():
    ax = plot_reliability([0.5, 0.9], np.full((3, 2), 0.4), "too sure")
    assert plot_reliability([0.5, 0.9], np.full((3, 2), 0.5), ax=ax) is ax
    assert len(ax.lines) == 10 and ax.get_legend()
    plt.close("all")


def test_comparison_says_how_much_random_splits_leak():
    "A descriptor that names the configuration, and an offset of each: worth something by random splits, nothing left out."
    X, p, groups = made_up(12)
    named = np.column_stack([X, groups[:, None] == np.arange(12)])
    runs = p - p.min() + 0.1 * np.abs(np.random.default_rng(0).normal(size=(4, len(p))))
    models = {"line": Ridge(1.0), "chosen": GridSearchCV(Ridge(), {"alpha": [1.0, 10.0]}, cv=GroupKFold(3))}
    found = compare(models, named, p, groups, runs)
    for c in found.values():
        assert c.in_sample.pooled > c.random_split.pooled > c.left_out.pooled + 0.05
        assert c.left_out.ceiling and not c.in_sample.ceiling
    text = comparison_table(found).splitlines()
    assert len(text) == 2 + 2 + 1 and text[-1].startswith("noise ceiling")
    assert f"{found['line'].left_out.pooled:.3f} ± " in text[2]
    assert len({len(line) for line in text[1:]}) == 1       # columns stand below each other
    short = comparison_table({"x": Comparison(found["line"].in_sample, found["line"].in_sample)}).splitlines()
    assert len(short) == 3 and len(short[1]) == len(short[2]) and "random" not in short[0] and "random split" in text[0]


def test_limit_of_a_learning_curve_is_exact_for_curves_of_that_form():
    sizes, r = np.array([1, 2, 4, 8]), np.array([0.4, 0.7])
    curve = LearningCurve(sizes, *(r + b / sizes[:, None] for b in (-0.3, -0.3, 0.1, 0, 0)))
    for n_last in (2, 3, 9):
        np.testing.assert_allclose(curve.limit(n_last), r)
    ax = plot_learning_curve({"a": curve, "b": curve}, 0.9)
    assert ax.get_legend() and plot_learning_curve(curve, ax=ax) is ax
    plt.close("all")


def test_a_limit_is_also_an_expectation_at_a_size():
    sizes, r = np.array([1, 2, 4, 8]), np.array([0.4, 0.7])
    curve = LearningCurve(sizes, *(r + b / sizes[:, None] for b in (-0.3, -0.3, 0.1, 0, 0)))
    np.testing.assert_allclose(curve.limit(size=8), curve.scores[-1])
    np.testing.assert_allclose(curve.limit(size=16), r - 0.3 / 16)


@pytest.mark.filterwarnings("error")
def test_doors_of_scores_and_learning_curves():
    X, p, groups = made_up(4)
    assert negative_log_likelihood(p, p) == -np.inf
    assert learning_curve(Ridge(), X, p, groups, [1.0, 2.0], n_repeats=2).sizes.dtype.kind == "i"
    for bad, said in ((dict(sizes=[1.5]), "whole numbers"), (dict(sizes=[4]), "one less than the 4"),
                      (dict(sizes=[np.nan]), "sizes"),
                      (dict(groups=None), "needs groups"), (dict(groups=np.zeros(len(p))), "at least two labels")):
        with pytest.raises(ValueError, match=said):
            learning_curve(**dict(model=Ridge(), X=X, p=p, groups=groups) | bad)


def test_of_two_configurations_the_error_is_half_the_difference():
    X, p, groups = made_up(2)
    score = accuracy(p, X @ np.ones(5), groups, n_bootstrap=20_000)
    np.testing.assert_allclose(score.one_by_one_error, abs(np.diff(score.each))[0] / 2, rtol=0.03)


def test_random_splits_leak_in_the_studys_own_files():
    folder = Path(__file__).parents[1] / "../shared/data"
    if not (folder / "Cnf2.xy").exists():
        pytest.skip(f"no files of the study in {folder}")
    data = make_dataset(read_configurations([folder / "Cnf1.xy", folder / "Cnf2.xy"]))
    for model, X in ((KNeighborsRegressor(5), data.positions), (Ridge(128.0), data.X)):
        random, other = (accuracy(data.p, held_out(model, X, data.p, data.groups, cv), data.groups).pooled
                         for cv in (KFold(5, shuffle=True, random_state=0), None))
        assert random > other + 0.08
    assert abs(accuracy(data.p, held_out(KNeighborsRegressor(5), data.positions, data.p, data.groups), data.groups).pooled) < 0.2
