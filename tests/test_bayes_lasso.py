"""Bayes-Lasso against simulation and against another sampler; its diagnostics against known values."""
from itertools import islice

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.exceptions import ConvergenceWarning

from glassml.linear import (BayesLasso, BayesRidge, MAPLasso, _chain, _draw_variances, _factor, _reduced, _stretch,
                            bulk_ess, predictive_interval, split_rhat, tail_ess)


def collinear(n, M, rng):
    "n centred points with M collinear columns, three decades of units."
    X = rng.normal(size=(n, M // 2)) @ rng.normal(size=(M // 2, M)) + 0.1 * rng.normal(size=(n, M))
    X *= np.geomspace(0.03, 30, M)
    return X - X.mean(axis=0)


@pytest.mark.parametrize("n, M, rate", [(20, 4, None), (7, 10, None), (7, 10, 5.0)])
def test_truth_has_uniform_ranks_among_the_draws(n, M, rate):
    """Simulation-based calibration: parameters drawn from their prior are exchangeable with draws from the posterior.

    The densities of sigma and of the offset before the data are those of an invariance, under which this holds for
    whatever sigma and offset the data have.
    """
    rng = np.random.default_rng(0)
    X = collinear(n, M, rng)
    largest = _reduced(X, X[:, 0]).largest_rate
    ranks = []
    for _ in range(150):
        true_rate = rate or rng.exponential(largest)
        w = rng.laplace(size=M) / true_rate
        y = X @ w + rng.normal(size=n) + 3
        data = _reduced(X, y - y.mean())
        draws = np.array(list(islice(_chain(data, rate, rng), 50, 250, 10)))
        draws[:, :M] /= data.lengths
        size = np.abs(draws[:, :M]).sum(axis=1)
        ranks.append([np.mean(d < t) for d, t in ((draws[:, 0], w[0]), (draws[:, M - 1], w[-1]), (draws[:, M], 1.0),
                                                  (draws[:, M + 1], true_rate), (size, np.abs(w).sum()))])
    jitter = rng.uniform(0, 1 / 21, size=np.shape(ranks))
    uniform = np.array(ranks) * 20 / 21 + jitter
    for k in range(5):
        if rate is None or k != 3:
            assert kstest(uniform[:, k], "uniform").pvalue > 1e-3, k


def test_variances_follow_their_distribution_however_small_the_weight():
    rng = np.random.default_rng(1)
    for size in (0.0, 1e-200, 1e-9, 0.3, 40.0):
        rates = np.full(20_000, 2.0)
        drawn = _draw_variances(np.full(20_000, size), rates, rng)
        assert (drawn > 0).all() and np.isfinite(drawn).all()
        # 1 / tau^2 is inverse Gaussian with mean rate / size and shape rate^2, so tau^2 has mean size / rate + 1 / rate^2
        assert drawn.mean() == pytest.approx(size / 2 + 1 / 4, rel=0.05)
        assert drawn.var() == pytest.approx(size / 8 + 2 / 16, rel=0.15)


def test_evidence_of_the_factor_is_that_of_bayes_ridge():
    rng = np.random.default_rng(2)
    X, y = collinear(30, 5, rng), rng.normal(size=30)
    y -= y.mean()
    data = _reduced(X, y)
    logs = [_factor(data, data.lengths**2 / lt)[-1] for lt in (0.1, 10.0)]
    ridge = [BayesRidge(lt).fit(X, y).nll_ for lt in (0.1, 10.0)]
    assert logs[1] - logs[0] == pytest.approx(-30 * (ridge[1] - ridge[0]), rel=1e-8)


def test_rate_and_variances_move_together_by_the_evidence():
    "The step alone, the variances in units of the prior held: the density of ln rate by quadrature."
    rng = np.random.default_rng(11)
    X = collinear(25, 4, rng)
    y = X @ [3.0, 0, 0, 0.1] + rng.normal(size=25)
    data, unit = _reduced(X, y - y.mean()), np.array([0.1, 2.0, 1.0, 4.0])
    variances = lambda rate: unit * (data.lengths / rate)**2
    rate, drawn = data.largest_rate / 10, []
    factor = _factor(data, variances(rate))
    for _ in range(20_000):
        rate, factor = _stretch(data, rate, variances(rate), factor, rng)
        drawn.append(np.log(rate))
    grid = np.log(data.largest_rate) + np.linspace(-12, 3, 600)
    log_density = np.array([_factor(data, variances(np.exp(g)))[-1] - np.exp(g) / data.largest_rate + g for g in grid])
    density = np.exp(log_density - log_density.max())
    mean = np.average(grid, weights=density)
    std = np.sqrt(np.average((grid - mean)**2, weights=density))
    assert np.mean(drawn) == pytest.approx(mean, abs=0.1 * std) and np.std(drawn) == pytest.approx(std, rel=0.1)


def test_mode_at_given_rate_and_noise_is_the_lasso():
    rng = np.random.default_rng(3)
    X = collinear(80, 6, rng)
    y = X @ (rng.normal(size=6) / X.std(axis=0)) + rng.normal(size=80)
    model = BayesLasso(rate=30.0).fit(X, y)
    sigma = model.beta_**-0.5

    def energy(w):
        return np.sum((y - y.mean() - X @ w)**2) / 2 / sigma**2 + 30.0 * np.abs(w).sum() / sigma

    best = MAPLasso(30.0 * sigma).fit(X, y).coef_
    assert energy(best) <= min(energy(w) for w in model.samples_) + 1e-9
    assert all(energy(best) <= energy(best + 1e-3 * rng.normal(size=6) * best) for _ in range(100))


def test_diagnostics_against_arviz():
    "What arviz-stats 0.8 says of the same draws. It adds one more term to the sum of correlations, after Stan."
    rng = np.random.default_rng(4)
    draws = np.cumsum(rng.standard_t(3, size=(4, 251, 2)), axis=1) * [0.02, 0.0] + rng.normal(size=(4, 251, 2)) * [0.3, 1]
    assert split_rhat(draws) == pytest.approx([1.33016721, 1.00512305], abs=1e-7)
    assert bulk_ess(draws) == pytest.approx([9.710, 1018.7], rel=0.03)
    assert tail_ess(draws) == pytest.approx([12.78, 906.3], rel=0.03)


def test_same_seed_same_draws_other_seed_same_posterior():
    rng = np.random.default_rng(5)
    X = collinear(40, 5, rng)
    y = X[:, 4] / 10 + rng.normal(size=40)
    one, two, other = BayesLasso().fit(X, y), BayesLasso().fit(X, y), BayesLasso(random_state=1).fit(X, y)
    assert (one.samples_ == two.samples_).all() and (one.samples_[0] != other.samples_[0]).all()
    std = np.sqrt(np.diag(one.covariance_))
    assert (np.abs(one.coef_ - other.coef_) < 0.25 * std).all()


def test_offset_and_empty_columns():
    rng = np.random.default_rng(6)
    X, w = rng.normal(size=(60, 3)) + 100, np.array([2.0, 0.0, -1.0])
    y = X @ w + 7 + 0.01 * rng.normal(size=60)
    padded = np.insert(X, 1, 5.0, axis=1)
    model = BayesLasso().fit(padded, y)
    assert model.coef_ == pytest.approx([2, 0, 0, -1], abs=0.02) and model.coef_[1] == 0
    assert model.intercept_ == pytest.approx(7, abs=2)
    assert (model.covariance_[1] == 0).all()
    low, high = predictive_interval(model, padded, 0.9)
    assert ((low < y) & (y < high)).mean() == pytest.approx(0.9, abs=0.1)
    assert (high - low).mean() == pytest.approx(2 * 1.645 * 0.01, rel=0.2)


def test_a_chain_that_is_too_short_says_so():
    rng = np.random.default_rng(7)
    X = collinear(30, 8, rng)
    with pytest.warns(ConvergenceWarning, match="after 12 draws R-hat is"):
        BayesLasso(max_draws=12).fit(X, X[:, 0] + rng.normal(size=30))


@pytest.mark.parametrize("seed", [0, 2])
def test_two_answers_are_not_passed_over(seed):
    "Few large columns and many small ones: two maxima of the rate, and chains that cannot cross are reported."
    rng = np.random.default_rng(seed)
    scales = np.repeat([1e3, 1.0], [5, 20])
    X = rng.normal(size=(60, 25)) * scales
    y = X @ (rng.normal(size=25) / scales / np.repeat([1.0, 3.0], [5, 20])) + 0.3 * rng.normal(size=60)
    with pytest.warns(ConvergenceWarning, match="after 1500 draws R-hat is"):
        model = BayesLasso(max_draws=1500).fit(X, y)
    assert model.rhat_ > 1.1 and model.ess_ < 100
    means = np.log(model.rate_samples_).reshape(4, -1).mean(axis=1)
    assert np.ptp(means) > np.log(100)  # not a matter of patience


def test_same_posterior_as_nuts():
    "A small case with collinear columns of different units: the No-U-Turn sampler of numpyro on the same model."
    pytest.importorskip("numpyro", reason="needs numpyro: pip install glassml[test]")
    import jax
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    rng = np.random.default_rng(10)
    X = rng.normal(size=(60, 4)) * [1, 1, 3, 0.5]
    X[:, 1] = X[:, 0] + 0.1 * rng.normal(size=60)
    y = X @ [1.0, 1.0, 0.0, 2.0] + 0.5 * rng.normal(size=60) + 2
    largest = np.sqrt(60) * np.linalg.norm(X - X.mean(axis=0), axis=0).max()

    def known():
        rate = numpyro.sample("rate", dist.Exponential(1 / largest))
        log_sigma = numpyro.sample("log_sigma", dist.ImproperUniform(dist.constraints.real, (), ()))
        offset = numpyro.sample("offset", dist.ImproperUniform(dist.constraints.real, (), ()))
        sigma = jax.numpy.exp(log_sigma)
        unit = numpyro.sample("unit", dist.Laplace(0, 1).expand([4]).to_event(1))
        w = numpyro.deterministic("w", unit * sigma / rate)
        numpyro.sample("y", dist.Normal(offset + X @ w, sigma), obs=y)

    with jax.enable_x64(True):
        nuts = MCMC(NUTS(known, dense_mass=True, target_accept_prob=0.95), num_warmup=1000, num_samples=3000, num_chains=2,
                    chain_method="sequential", progress_bar=False)
        nuts.run(jax.random.PRNGKey(0))
        theirs = {k: np.asarray(v, dtype=float) for k, v in nuts.get_samples(group_by_chain=True).items()}
    model = BayesLasso().fit(X, y)
    ours = np.column_stack([model.samples_, np.log(model.sigma_), np.log(model.rate_samples_)])
    nuts_draws = np.concatenate([theirs["w"], theirs["log_sigma"][..., None], np.log(theirs["rate"])[..., None]], axis=2)
    assert split_rhat(nuts_draws).max() < 1.02
    flat = nuts_draws.reshape(-1, 6)
    std = flat.std(axis=0)
    error = std * np.sqrt(1 / bulk_ess(nuts_draws) + 1 / model.ess_)  # ess_ is the smallest of ours
    assert (np.abs(flat.mean(axis=0) - ours.mean(axis=0)) < 4 * error).all()
    assert ours.std(axis=0) == pytest.approx(std, rel=0.15)
    assert flat[:, 0].std() > 3 * (flat[:, 0] + flat[:, 1]).std()  # the twins: known together, not one by one
