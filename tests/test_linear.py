"""The ridge family against closed forms and numerical integrals, and the lasso on columns that are hard."""
import numpy as np
import pytest
from scipy.linalg import helmert
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import BayesianRidge, Ridge, lars_path
from sklearn.model_selection import LeaveOneGroupOut, ShuffleSplit
from sklearn.utils.estimator_checks import check_estimator

from glassml import linear
from glassml.linear import (BayesRidge, MAPDebias, MAPLasso, MAPRidge, RelaxedLasso, evidence, evidence_minima,
                            relative_duality_gap, risk_curve)

pytestmark = pytest.mark.filterwarnings("error")
PENALTIES = np.geomspace(1e-3, 1e6, 28)


def normal(n=60, m=8, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, m)) * np.geomspace(1e-2, 1e3, m) + 5
    return X, X @ (rng.normal(size=m) / X.std(axis=0)) + rng.normal(size=n)


def hard(name):
    "Descriptors that break solvers, and propensities."
    X, p = normal()
    rng = np.random.default_rng(1)
    cases = {
        "well behaved": X,
        "fewer points than descriptors": rng.normal(size=(60, 100)) * np.geomspace(1e-3, 1e3, 100),
        "exactly collinear": np.hstack([X, X[:, :3] @ [[1, 0, 2], [0, 1, 0.3], [0, 0, -1]], X[:, :2]]),
        "nearly collinear": np.hstack([X, X + 1e-9 * rng.normal(size=X.shape)]),
        "constant columns": np.hstack([X, np.full((60, 2), 0.1), np.zeros((60, 1))]),
        "nothing varies": np.full((60, 3), 0.1),
        "all at once": np.hstack([X, X[:, :4] * 3, np.full((60, 1), 1e3), rng.normal(size=(60, 80)) * 1e-4,
                                  X[:, ::2] + X[:, 1::2]]),
    }
    if name == "fewer points than descriptors":
        p = cases[name] @ (rng.normal(size=100) / np.geomspace(1e-3, 1e3, 100)**0.5) + rng.normal(size=60)
    return cases[name], p


NAMES = ["well behaved", "fewer points than descriptors", "exactly collinear", "nearly collinear", "constant columns",
         "nothing varies", "all at once"]


def centred(X, p):
    return X - X.mean(axis=0), p - p.mean()


@pytest.fixture
def decompositions(monkeypatch):
    "The shapes that were decomposed."
    shapes, svd = [], np.linalg.svd
    monkeypatch.setattr(linear.np.linalg, "svd", lambda A, **options: shapes.append(A.shape) or svd(A, **options))
    return shapes


# the ridge family

@pytest.mark.parametrize("name", NAMES)
def test_ridge_is_that_of_scikit_learn(name):
    X, p = hard(name)
    weights, offsets = MAPRidge().path(X, p, PENALTIES)
    for w, w0, penalty in zip(weights, offsets, PENALTIES):
        theirs = Ridge(alpha=penalty, solver="svd").fit(X, p)
        np.testing.assert_allclose(w * X.std(axis=0), theirs.coef_ * X.std(axis=0), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(X @ w + w0, theirs.predict(X), rtol=1e-6, atol=1e-6)


def test_one_decomposition_for_every_penalty(decompositions):
    X, p = normal()
    MAPRidge().path(X, p, PENALTIES)
    evidence(X, p, PENALTIES)
    evidence_minima(X, p)
    BayesRidge().fit(X, p)
    assert decompositions == [(9, 8)] * 4  # as many rows as there are columns of X and p together


def test_one_decomposition_a_split(decompositions):
    X, p = normal()
    risk_curve(MAPRidge(), X, p, PENALTIES, ShuffleSplit(5, test_size=0.1, random_state=0))
    assert decompositions == [(9, 8)] * 5


@pytest.mark.parametrize("name", NAMES)
def test_the_posterior_is_a_closed_form(name):
    X, p = hard(name)
    model = BayesRidge(penalty=2.0).fit(X, p)
    Xc, pc = centred(X, p)
    K = Xc.T @ Xc + 2.0 * np.eye(X.shape[1])
    np.testing.assert_array_equal(model.coef_, MAPRidge(2.0).fit(X, p).coef_)
    np.testing.assert_allclose(K @ model.covariance_ * model.beta_, np.eye(len(K)), atol=1e-6 * np.abs(K).max() ** 0.5)
    np.testing.assert_allclose(model.beta_, len(p) / (pc @ pc - pc @ Xc @ model.coef_), rtol=1e-6)
    np.testing.assert_allclose(model.gamma_bishop_, np.trace(np.linalg.solve(K, Xc.T @ Xc)), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(model.gamma_, model.beta_ * 2.0 * model.coef_ @ model.coef_, rtol=1e-9)


def test_the_posterior_by_numerical_marginalisation():
    "Weights and offset integrated over a grid: no algebra."
    rng = np.random.default_rng(0)
    X, beta, penalty = rng.normal(size=(9, 2)) * [1.0, 0.5], 4.0, 1.5
    p = X @ [0.7, -0.4] + 0.3 + rng.normal(size=9) * 0.5
    w0, w1, w2 = np.meshgrid(*[np.linspace(-3.5, 3.5, 141)] * 3, indexing="ij", sparse=True)
    residuals = [p[i] - w0 - X[i, 0] * w1 - X[i, 1] * w2 for i in range(9)]
    log_joint = 4.5 * np.log(beta / (2 * np.pi)) - beta / 2 * sum(r**2 for r in residuals)
    log_joint = log_joint + np.log(penalty * beta / (2 * np.pi)) - penalty * beta / 2 * (w1**2 + w2**2)
    joint = np.exp(log_joint) * 0.05**3
    model = BayesRidge(penalty=penalty).fit(X, p)
    total = joint.sum()
    mean = [np.sum(joint * w) / total for w in (w1, w2)]
    covariance = [[np.sum(joint * (a - m) * (b - n)) / total for b, n in zip((w1, w2), mean)] for a, m in zip((w1, w2), mean)]
    np.testing.assert_allclose(model.coef_, mean, rtol=1e-6)
    np.testing.assert_allclose(model.intercept_, np.sum(joint * w0) / total, rtol=1e-6)
    np.testing.assert_allclose(model.covariance_ * model.beta_, np.array(covariance) * beta, rtol=1e-6)
    # the evidence at this beta: ours is at its maximum, (N - 1) / C, and elsewhere -8 (ln x + 1 - x) / 2 above, x = beta C / (N - 1)
    x = beta / (model.beta_ * 8 / 9)
    np.testing.assert_allclose(9 * model.nll_ - 4 * (np.log(x) + 1 - x), -np.log(total), rtol=1e-6)


@pytest.mark.parametrize("name", ["well behaved", "exactly collinear", "constant columns", "fewer points than descriptors"])
def test_the_maximum_is_the_fixed_point_of_bayesian_ridge(name):
    "On the differences between points, which is what remains once the offset is integrated out."
    X, p = hard(name)
    D = helmert(len(p))
    ours = BayesRidge().fit(X, p)
    theirs = BayesianRidge(fit_intercept=False, alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, tol=1e-13, max_iter=100_000,
                           alpha_init=ours.beta_, lambda_init=ours.beta_ * ours.penalty_).fit(D @ X, D @ p)
    beta = ours.beta_ * (len(p) - 1) / len(p)
    np.testing.assert_allclose(theirs.alpha_, beta, rtol=1e-6)
    np.testing.assert_allclose(theirs.lambda_ / theirs.alpha_, ours.penalty_, rtol=1e-6)
    np.testing.assert_allclose((D @ X) @ theirs.coef_, (D @ X) @ ours.coef_, atol=1e-6)
    np.testing.assert_allclose(theirs.coef_, ours.coef_, rtol=1e-6, atol=1e-6 * np.abs(ours.coef_).max())
    np.testing.assert_allclose(beta * ours.penalty_ * ours.coef_ @ ours.coef_, ours.gamma_bishop_, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", ["as given", "constant", "noise", "exact"])
def test_the_evidence_is_finite_whatever_comes(name, target):
    X, p = hard(name)
    p = {"as given": p, "constant": np.full(60, 0.3), "noise": np.random.default_rng(5).normal(size=60), "exact": X[:, 0] * 2}[target]
    found, minima = evidence(X, p, PENALTIES), evidence_minima(X, p)
    model = BayesRidge().fit(X, p)
    prediction, deviation = model.predict(X, return_std=True)
    for values in (*vars(found).values(), *vars(minima).values(), model.coef_, model.covariance_, prediction, deviation):
        assert np.isfinite(values).all()
    assert minima.nll[0] <= found.nll.min() + 1e-6
    assert (np.diag(model.covariance_) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_spread_is_that_of_the_covariance(name):
    X, p = hard(name)
    model, new = BayesRidge(penalty=2.0).fit(X, p), np.random.default_rng(2).normal(size=(9, X.shape[1])) * X.std(axis=0)
    variance = model.predict(new, return_std=True)[1]**2 - (1 + 1 / 60) / model.beta_
    x = new - model.mean_
    np.testing.assert_allclose(variance, np.einsum("na,ab,nb->n", x, model.covariance_, x), rtol=1e-6, atol=1e-9 / model.beta_)


def test_constant_columns_change_nothing():
    X, p = hard("well behaved")
    more = hard("constant columns")[0]
    for name, values in vars(evidence(more, p, PENALTIES)).items():
        np.testing.assert_allclose(values, getattr(evidence(X, p, PENALTIES), name), rtol=1e-9, err_msg=name)
    np.testing.assert_array_equal(MAPRidge(1.0).fit(more, p).coef_[8:], 0)
    np.testing.assert_array_equal(BayesRidge().fit(hard("nothing varies")[0], p).coef_, 0)


def test_weights_that_the_data_do_not_support_vanish():
    "Propensities at right angles to every column: the evidence asks for no weights at all."
    X, _ = normal()
    p = np.random.default_rng(3).normal(size=60)
    A = np.column_stack([np.ones(60), X])
    p -= A @ np.linalg.lstsq(A, p)[0]
    model = BayesRidge().fit(X, p)
    assert model.penalty_ > 1e3 * np.linalg.norm(X - X.mean(axis=0))**2
    assert np.abs((X - X.mean(axis=0)) @ model.coef_).max() < 1e-12 and model.gamma_ < 1e-3 and model.gamma_bishop_ < 1e-3
    assert model.beta_ == pytest.approx(60 / (p @ p))


@pytest.mark.parametrize("seed", range(3, 6))
def test_both_minima_are_found_and_the_lower_one_is_taken(seed):
    rng = np.random.default_rng(seed)
    scales = np.repeat([1e3, 1.0], [5, 40])
    X = rng.normal(size=(60, 45)) * scales
    p = X @ (rng.normal(size=45) / scales / np.repeat([1.0, 6.0], [5, 40])) + 0.1 * rng.normal(size=60)
    minima = evidence_minima(X, p)
    assert len(minima.penalties) == 2 and minima.nll[0] < minima.nll[1]
    assert BayesRidge().fit(X, p).penalty_ == minima.penalties[0]
    for penalty, nll in zip(minima.penalties, minima.nll):
        assert (evidence(X, p, penalty * np.array([0.99, 1.01])).nll > nll).all()


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e6, 1e8])
def test_the_search_sees_columns_however_small_they_are(scale):
    "Five columns of the given scale and five of scale one that matter as much: all ten weights are determined."
    rng = np.random.default_rng(0)
    scales = np.repeat([scale, 1.0], 5)
    X = rng.normal(size=(40, 10)) * scales
    p = X @ (rng.normal(size=10) / scales) + 1e-3 * rng.normal(size=40)
    model, minima = BayesRidge().fit(X, p), evidence_minima(X, p)
    everywhere = evidence(X, p, scale**2 * np.geomspace(1e-28, 1e6, 2000))
    assert model.penalty_ == minima.penalties[0] and model.nll_ <= everywhere.nll.min() + 1e-9
    assert model.gamma_bishop_ > 9.9 and np.std(model.predict(X) - p) < 2e-3
    assert (np.abs(np.diff(minima.penalties)) > 0).all() and minima.penalties[0] > 1e-25 * scale**2


# the lasso

@pytest.mark.parametrize("name", NAMES)
def test_every_lasso_of_a_path_has_converged(name):
    X, p = hard(name)
    shuffled = np.random.default_rng(0).permutation(PENALTIES)
    weights, offsets = MAPLasso().path(X, p, shuffled)
    gaps = [relative_duality_gap(*centred(X, p), w, t) for w, t in zip(weights, shuffled)]
    assert max(gaps) <= 1e-6
    np.testing.assert_allclose(offsets, p.mean() - weights @ X.mean(axis=0))


def test_a_lasso_that_has_not_converged_says_so():
    X, p = hard("all at once")
    with pytest.warns(ConvergenceWarning, match="lasso at penalty 0.1: relative duality gap"):
        MAPLasso(0.1, tolerance=1e-25).fit(X, p)


def test_the_walk_ends_where_rounding_begins(monkeypatch):
    "Steps, not seconds: it used to go round in circles where a correlation was above the penalty by its rounding error."
    X, p = hard("nearly collinear")
    steps, solve = [], linear._solve
    monkeypatch.setattr(linear, "_solve", lambda *problem: steps.append(1) or solve(*problem))
    with pytest.warns(ConvergenceWarning):  # penalties of 1e-14 of the largest correlation
        MAPLasso().path(X, p, np.geomspace(1e-9, 1e-5, 9))
    assert len(steps) < 100


@pytest.mark.parametrize("seed", [0, 1])
def test_directions_that_are_nearly_free_do_not_stop_the_walk(seed):
    "Twenty exact relations among sixty columns, and singular values over seven decades."
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(200, 40)) @ np.triu(rng.normal(size=(40, 40))) * np.geomspace(1e3, 1e-4, 40)
    X = np.hstack([X, X[:, :20] @ rng.normal(size=(20, 20))])
    p = X @ (rng.normal(size=60) / X.std(axis=0)) + rng.normal(size=200)
    penalties = np.geomspace(1e-2, 1e5, 29)
    weights, _ = MAPLasso().path(X, p, penalties)
    assert max(relative_duality_gap(*centred(X, p), w, t) for w, t in zip(weights, penalties)) <= 1e-6


@pytest.mark.parametrize("name", ["well behaved", "fewer points than descriptors"])
def test_the_corners_are_those_of_least_angle_regression(name):
    X, p = hard(name)
    Xc, pc = centred(X, p)
    corners, _, weights = lars_path(Xc, pc, method="lasso", alpha_min=1e-3)
    ours, _ = MAPLasso().path(X, p, corners[1:-1] * 60)
    np.testing.assert_allclose(ours @ Xc.T, weights.T[1:-1] @ Xc.T, atol=1e-6)
    np.testing.assert_allclose(ours, weights.T[1:-1], rtol=1e-6, atol=1e-6)


# what lies between lasso and debias

@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("relaxation", [1.0, 0.3, 1e-3, 0.0])
def test_the_relaxed_lasso_is_a_lasso_on_its_selection(name, relaxation):
    X, p = hard(name)
    Xc, pc = centred(X, p)
    relaxed, _ = RelaxedLasso(relaxation=relaxation).path(X, p, PENALTIES)
    for w, selecting, penalty in zip(relaxed, MAPLasso().path(X, p, PENALTIES)[0], PENALTIES):
        kept = selecting != 0
        assert not w[~kept].any()
        if kept.any() and relaxation > 0:
            assert relative_duality_gap(Xc[:, kept], pc, w[kept], relaxation * penalty) <= 1e-6
        elif kept.any():  # least squares
            assert np.abs(Xc[:, kept].T @ (pc - Xc @ w)).max() <= 1e-6 * np.abs(Xc.T @ pc).max()


def test_relaxing_fits_the_training_points_better():
    X, p = hard("all at once")
    errors = [np.sum((p - RelaxedLasso(30.0, relaxation).fit(X, p).predict(X))**2) for relaxation in (1.0, 0.5, 0.1, 0.0)]
    assert np.all(np.diff(errors) < 0)


@pytest.mark.parametrize("relaxation", [-0.1, 1.1, np.nan])
def test_a_relaxation_is_a_fraction(relaxation):
    with pytest.raises(ValueError, match=f"relaxation must be between 0 and 1, got {relaxation}"):
        RelaxedLasso(relaxation=relaxation).fit(*normal())


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("relaxation", [0.5, 0.0])
def test_the_relaxed_lasso_is_an_estimator(relaxation):
    check_estimator(RelaxedLasso(relaxation=relaxation), on_skip=None)


def test_a_debias_risk_curve_selects_inside_each_trial():
    "One configuration left out: what the left-out points are has no influence on what is selected."
    X, p = hard("all at once")
    groups, cv = np.repeat([0, 1, 2], 20), LeaveOneGroupOut()
    before = risk_curve(MAPDebias(lasso_penalty=5.0), X, p, [1.0], cv, groups).weights[0] != 0
    changed = np.where(groups == 0, 100.0 - p, p)
    after = risk_curve(MAPDebias(lasso_penalty=5.0), X, changed, [1.0], cv, groups).weights[0] != 0
    np.testing.assert_array_equal(before, after)
