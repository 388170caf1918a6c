"""Relevance: properties that no reader needs to see."""
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from glassml import relevance as r
from glassml.linear import BayesLasso, BayesRidge, MAPRidge
from glassml.validation import accuracy


def table(seed, n=60, m=6, rank=None):
    "Columns of very different scale; of the given rank."
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, rank or m)) @ rng.normal(size=(rank or m, m)) if rank else rng.normal(size=(n, m))
    return X * 10.0**rng.integers(-4, 5, size=m) + rng.normal(size=m)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_collinearity_agrees_with_regressions_and_does_not_see_units(seed):
    X = table(seed)
    found = r.collinearity(X)
    for a in range(X.shape[1]):
        others = np.delete(r.standardised(X), a, axis=1)
        R2 = LinearRegression().fit(others, r.standardised(X)[:, a]).score(others, r.standardised(X)[:, a])
        np.testing.assert_allclose(found.variance_inflation[a], 1 / (1 - R2), rtol=1e-6)
    again = r.collinearity(X * np.geomspace(1e-3, 1e3, X.shape[1]) - 7)
    np.testing.assert_allclose(again.variance_inflation, found.variance_inflation, rtol=1e-5)
    np.testing.assert_allclose(again.condition_number, found.condition_number, rtol=1e-5)
    np.testing.assert_allclose(found.shares.sum(), 1)
    assert 1 <= found.directions(0.5) <= found.directions(0.999) <= found.directions(1.0) <= X.shape[1]


def test_collinearity_counts_exact_relations():
    found = r.collinearity(table(0, rank=4))
    assert found.exact == 2 and found.condition_number == np.inf and np.isinf(found.variance_inflation).all()
    assert found.directions(1 - 1e-9) == 4


@pytest.mark.parametrize("X", [np.ones((9, 2)), np.ones((2, 3)) * [[1], [2]], np.column_stack([np.arange(9), np.ones(9)])])
def test_collinearity_refuses_what_has_no_answer(X):
    with pytest.raises(ValueError, match="more rows than columns"):
        r.collinearity(X)
    with pytest.raises(ValueError, match="finite"):
        r.collinearity(np.where(X == X[0, 0], np.nan, X))


def test_a_constant_column_is_standardised_to_zero_and_clusters_alone():
    X = np.column_stack([np.full(50, 0.1), np.arange(50), -np.arange(50.0)])
    assert (r.standardised(X)[:, 0] == 0).all()
    assert r.correlation_clusters(X).tolist() == [0, 1, 1]
    assert r.correlation_clusters(X[:, 1:2]).tolist() == [0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 0.99))
def test_clusters_follow_the_columns_when_these_are_reordered(seed, threshold):
    X = table(seed, rank=3)
    order = np.random.default_rng(seed).permutation(X.shape[1])
    a, b = r.correlation_clusters(X, threshold)[order], r.correlation_clusters(X[:, order], threshold)
    assert ((a[:, None] == a) == (b[:, None] == b)).all()
    assert b[0] == 0 and set(b) == set(range(b.max() + 1))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_intervals_grow_with_the_level_and_are_centred_on_the_weights(seed, level):
    X = table(seed) / table(seed).std(axis=0)
    model = BayesRidge(penalty=1.0).fit(X, np.random.default_rng(seed + 1).normal(size=len(X)))
    low, high = r.posterior_intervals(model, level)
    np.testing.assert_allclose((low + high) / 2, model.coef_, atol=1e-12)
    wider = r.posterior_intervals(model, (1 + level) / 2)
    assert (wider[0] < low).all() and (wider[1] > high).all()
    both = r.posterior_intervals(model, level, np.eye(X.shape[1])[[1]] * -2)
    np.testing.assert_allclose(both, [[-2 * high[1]], [-2 * low[1]]])


def test_intervals_of_bayes_lasso_hold_their_share_of_the_draws_and_of_combinations():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    p = X @ [1.0, -1.0, 0.0] + rng.normal(size=200)
    model = BayesLasso(random_state=0).fit(X, p)
    low, high = r.posterior_intervals(model, 0.8)
    np.testing.assert_allclose(np.mean((model.samples_ > low) & (model.samples_ < high), axis=0), 0.8, atol=1e-3)
    np.testing.assert_allclose(r.posterior_intervals(model, 0.8, [[0, -2, 0]]), -2 * np.array([high, low])[:, [1]])
    np.testing.assert_allclose(r.posterior_intervals(model), r.posterior_intervals(BayesRidge().fit(X, p)), atol=0.03)  # many points


def test_jackknife_over_points_repeats_the_posterior_and_copies_do_not_narrow_it():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3))
    p, groups = X @ [1.0, -1.0, 0.0] + rng.normal(size=3000), np.arange(3000) % 60
    width = lambda ends: ends[1] - ends[0]
    model = BayesRidge(penalty=1.0).fit(X, p)
    once = r.jackknife_intervals(model, X, p, groups)
    np.testing.assert_allclose(width(once), width(r.posterior_intervals(model)), rtol=0.3)
    np.testing.assert_allclose(np.mean(once, axis=0), model.coef_, atol=1e-12)
    X4, p4, groups4 = (np.repeat(v, 4, axis=0) for v in (X, p, groups))
    many = BayesRidge(penalty=4.0).fit(X4, p4)
    np.testing.assert_allclose(width(r.jackknife_intervals(many, X4, p4, groups4)), width(once), rtol=0.02)
    assert (width(r.posterior_intervals(many)) < 0.6 * width(once)).all()
    np.testing.assert_allclose(r.jackknife_intervals(model, X, p, groups, combinations=[[0, -2, 0]]), -2 * np.array(once)[::-1, [1]])
    for arguments, message in (((model, X, p, np.zeros(3000)), "two configurations, got 1"), ((MAPRidge(), X, p, groups), "BayesRidge"),
                               ((model, X, p, groups, 90), "got 90")):
        with pytest.raises(ValueError, match=message):
            r.jackknife_intervals(*arguments)


def test_chance_in_the_table_is_hypergeometric():
    a, b = np.arange(10) < 4, np.arange(10) > 4
    mean, sd = hypergeom(10, 4, 5).stats()[0], hypergeom(10, 4, 5).std()
    assert f"| a | **4** | 0 ({mean:.1f} ± {sd:.1f}) |" in r.overlap_table({"a": a, "b": b})
    assert "1 (1.0 ± 0.0)" in r.overlap_table({"a": np.ones(1, bool), "b": np.ones(1, bool)})


@pytest.mark.parametrize("call, message", [
    (lambda: r.largest(np.ones(3), -1), "from 0 to 3, got -1"), (lambda: r.largest([1.0, np.nan], 1), "finite"),
    (lambda: r.contribution(np.ones(2), np.ones((5, 3))), "a weight for each column"),
    (lambda: r.shuffled_loss(len, np.ones((5, 3)), np.ones(5), {"near": [True]}), r"family 'near' to have shape \(3,\), got \(1,\)"),
    (lambda: r.false_selections(3, 0), "at least one descriptor, got 0"),
    (lambda: r.plot_families({}), "at least one reading"), (lambda: r.plot_readings({"|w|": np.zeros(3)}, np.zeros(3)), "'|w|'"),
])
def test_doors(call, message):
    with pytest.raises(ValueError, match=message.replace("|w|", r"\|w\|")):
        call()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_no_more_enter_than_asked_for_and_units_do_not_matter_once_standardised(seed, count):
    X = table(seed)
    p = np.random.default_rng(seed + 1).normal(size=len(X))
    chosen = r.first_to_enter(r.standardised(X), p, count)
    assert chosen.dtype == bool and chosen.sum() <= count
    assert (chosen == r.first_to_enter(r.standardised(X * 7 - 3), p, count)).all()


def test_first_to_enter_without_anything_to_explain():
    assert not r.first_to_enter(table(1), np.ones(60), 3).any()
    with pytest.raises(ValueError, match="at least 1"):
        r.first_to_enter(table(1), np.arange(60.0), 0)


def test_halves_are_complementary_whole_configurations_and_reproducible():
    groups, seen = np.repeat(np.arange(5), 4), []

    def select(X, p):
        seen.append(set(X[:, 0].astype(int)))
        assert all((X[:, 0] == g).sum() in (0, 4) for g in range(5))
        return np.array([True, False])

    X = np.column_stack([groups, groups])
    chosen = r.stability_selection(select, X, groups, groups, n_pairs=6)
    assert chosen.shape == (12, 2) and chosen.dtype == bool
    assert all(len(a) == len(b) == 2 and not a & b for a, b in zip(seen[::2], seen[1::2]))
    first, seen[:] = list(seen), []
    r.stability_selection(select, X, groups, groups, n_pairs=6)
    assert seen == first
    with pytest.raises(ValueError, match="at least two"):
        r.stability_selection(select, X, groups, np.zeros(20))


def test_bound_and_its_threshold():
    assert r.false_selections(10, 100, 1.0) == 1
    with pytest.raises(ValueError, match="threshold"):
        r.false_selections(10, 100, 0.5)


def test_clusters_of_one_and_of_many_selections():
    clusters = np.array([0, 1, 0, 2])
    assert r.by_cluster([False, False, True, False], clusters).tolist() == [True, False, False]
    assert r.by_cluster(np.eye(4, dtype=bool), clusters).sum(axis=0).tolist() == [2, 1, 1]


@pytest.fixture
def sample():
    "Four configurations; the first column matters, the second is its copy, the third is nothing."
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 2))
    return np.column_stack([x[:, 0], x[:, 0], x[:, 1]]), x[:, 0] + 0.1 * rng.normal(size=800), np.repeat([3, 1, 7, 5], 200)


def test_scores_of_configurations_do_not_depend_on_how_many_are_left_out_in_order(sample):
    X, p, groups = sample
    subsets = {"all": np.ones(3, bool), "copy": np.array([False, True, False]), "nothing": np.array([False, False, True])}
    one, two = (r.subset_scores(MAPRidge(), X, p, subsets, groups, cv=cv) for cv in (None, GroupKFold(2)))
    for name in ("all", "copy"):
        assert one[name].left_out.each.shape == two[name].left_out.each.shape == (4,)
        np.testing.assert_allclose(one[name].left_out.each, two[name].left_out.each, atol=0.02)
    assert one["copy"].left_out.each.min() > 0.98 and np.abs(one["nothing"].left_out.each).max() < 0.3
    inside = accuracy(p, MAPRidge().fit(X, p).predict(X), groups)
    assert one["all"].in_sample.pooled == inside.pooled and one["all"].left_out.ceiling is None


def test_what_is_shuffled_within_held_out_configurations(sample):
    X, p, groups = sample
    families = {"one": np.array([1, 0, 0], bool), "both": np.array([1, 1, 0], bool), "none": np.zeros(3, bool)}
    loss = r.permutation_importance(make_pipeline(StandardScaler(), BayesRidge()), X, p, families, groups)
    assert all(values.shape == (4, 2) for values in loss.values())
    assert np.abs(loss["none"]).max() < 1e-12 and (loss["both"] > loss["one"]).all()
    np.testing.assert_allclose(loss["both"][:, 0].mean(), 1, atol=0.1)  # all of the correlation
    again = r.permutation_importance(make_pipeline(StandardScaler(), BayesRidge()), X, p, families, groups)
    assert all((loss[name] == again[name]).all() for name in families)


@pytest.mark.filterwarnings("ignore:The groups parameter")
def test_a_splitter_that_cuts_configurations_is_refused(sample):
    X, p, groups = sample
    with pytest.raises(ValueError, match="cuts through"):
        r.subset_scores(MAPRidge(), X, p, {"all": np.ones(3, bool)}, groups, cv=ShuffleSplit(2, random_state=0))


def test_shuffling_takes_any_function(sample):
    X, p, _ = sample
    loss = r.shuffled_loss(lambda x: np.tanh(x[:, 0]), X, p, {"used": [True, False, False], "other": [False, True, True]})
    assert np.abs(loss["other"]).max() < 1e-12 and (loss["used"] > 0.1).all()


def test_figures_show_what_they_are_given():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 8))
    w = rng.normal(size=8)
    assert r.plot_correlations(np.corrcoef(X.T), np.arange(8) // 2).images
    assert len(r.plot_weight_intervals(w, w - 0.1, w + 0.1, count=5).get_yticks()) == 5
    five = {name: w for name in "abcde"}
    assert len(r.plot_weights(five).get_lines()) == 6 and len(r.plot_weight_sizes(five).get_lines()) == 5
    assert len(r.plot_stability({"a": np.abs(w), "b": np.abs(w)}).get_lines()) == 3
    assert len(r.plot_readings({"|w|": np.abs(w), "c": np.abs(w) * 2}, w > 0)) == 2
    assert [t.get_text() for t in r.plot_families({"alone": {"near": w, "far": w}}).get_yticklabels()] == ["near", "far"]
    plt.close("all")
