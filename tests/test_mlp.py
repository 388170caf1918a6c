"""The network as a scikit-learn estimator, against a plain loop in torch, and against captum."""
import numpy as np
import pytest
import torch
from sklearn.model_selection import LeaveOneGroupOut, ShuffleSplit
from sklearn.utils.estimator_checks import parametrize_with_checks

from glassml.mlp_capacity import (ARCHITECTURES, MLP, capacity, captum_attributions, importances, integrated_gradients,
                                  sample_predictions, squared, train, train_all, treatment_predictions)


@parametrize_with_checks([MLP(max_epochs=200, random_state=0), MLP((5, 5), max_epochs=100, standardise=True),
                          MLP((), max_epochs=200, loss="pearson", scaled_start=True)])
def test_estimator(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def toy():
    """Descriptors on scales that differ by orders of magnitude, as in the study; three random splits."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 8)) * np.geomspace(0.1, 100, 8)
    p = X[:, 3] / 2 + X[:, 0] * X[:, 1] + 0.1 * rng.normal(size=150)
    return X, p, list(ShuffleSplit(3, test_size=0.2, random_state=0).split(X))


def plain_loop(X, p, training, validation, started, seed, epochs):
    """One network by torch.nn and torch.optim alone, from given first parameters and with the batches of a given seed."""
    layers = []
    for W, b in started:
        linear = torch.nn.Linear(*W.shape, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W.T)), linear.bias.copy_(torch.from_numpy(b[0]))
        layers += [linear, torch.nn.LeakyReLU(0.1)]
    network = torch.nn.Sequential(*layers[:-1])
    optimiser, dealer = torch.optim.Adam(network.parameters(), lr=5e-3), torch.Generator().manual_seed(2**32 + seed)
    X, p = torch.from_numpy(X), torch.from_numpy(p)[:, None]
    errors = []
    for _ in range(epochs):
        for batch in torch.from_numpy(training)[torch.randperm(len(training), generator=dealer)].tensor_split(10):
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(network(X[batch]), p[batch]).backward()
            optimiser.step()
        errors.append(torch.nn.functional.mse_loss(network(X[validation]), p[validation]).item())
    return errors


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_side_by_side_is_alone(toy, name):
    """One of twelve networks that are trained at once, and the same one by a plain loop in torch."""
    X, p, splits = toy
    together = train_all(X, p, splits, ARCHITECTURES, 40, random_state=5)[name]
    shapes = [(i, o) for i, o in zip((8, *ARCHITECTURES[name]), (*ARCHITECTURES[name], 1))]
    generator = torch.Generator().manual_seed(6)
    started = [tuple(2 * torch.rand(shape, generator=generator, dtype=torch.float64).numpy() - 1 for shape in ((i, o), (1, o)))
               for i, o in shapes]
    np.testing.assert_allclose(together.validation_error[1], plain_loop(X, p, *splits[1], started, 6, 40), rtol=1e-8)


def test_members_stop_alone(toy):
    """Members leave the stack at different times; those that stay do not notice."""
    X, p, splits = toy
    together = train_all(X, p, splits, {"a": (2,), "b": (5, 5)}, 300, 0.1, n_seeds=2, standardise=True)
    lengths = {name: np.isfinite(t.validation_error).sum(axis=1) for name, t in together.items()}
    assert len(set(np.concatenate(list(lengths.values())))) > 3
    for name, hidden in {"a": (2,), "b": (5, 5)}.items():
        alone = train(X, p, splits[2:], hidden, 300, patience=0.1, standardise=True, random_state=5)  # the last of six members
        n = lengths[name][5]
        assert n == np.isfinite(alone.validation_error).sum()
        np.testing.assert_allclose(together[name].validation_error[5, :n], alone.validation_error[0, :n], rtol=1e-6)
        np.testing.assert_allclose(together[name].predict(X)[5], alone.predict(X)[0], rtol=1e-5, atol=1e-6)


def test_precision_and_device(toy):
    X, p, splits = toy
    double, single = (train(X, p, splits, (20,), 30, standardise=True, scaled_start=True, device="cpu", dtype=dtype)
                      for dtype in ("float64", "float32"))
    assert double.weights[0].dtype == np.float64 and single.weights[0].dtype == np.float32
    np.testing.assert_allclose(double.predict(X), single.predict(X), atol=2e-3 * p.std())
    with pytest.raises(ValueError, match="'abacus'"):
        train(X, p, splits, (2,), device="abacus")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")
def test_gpu(toy):
    X, p, splits = toy
    for t in train_all(X, p, splits, ARCHITECTURES, 20, standardise=True).items():
        there = train_all(X, p, splits, ARCHITECTURES, 20, standardise=True, device="cuda")[t[0]]
        np.testing.assert_allclose(t[1].predict(X), there.predict(X), rtol=1e-6, atol=1e-8)


def test_own_loss(toy):
    """A loss may be any function; the square by another name goes the way of automatic differentiation."""
    X, p, splits = toy
    ours, theirs = (train(X, p, splits, (5, 5), 20, standardise=True, loss=loss) for loss in ("squared", lambda *a: squared(*a)))
    np.testing.assert_allclose(ours.validation_error, theirs.validation_error, rtol=1e-9)


def test_gradients_are_complete(toy):
    """What the descriptors are given adds up to the difference of the predictions, better with more steps."""
    X, p, splits = toy
    network = train(X, p, splits, (5, 5), 30, standardise=True)
    missing = [np.abs(integrated_gradients(network, X, X[0], n).sum(2) - network.predict(X) + network.predict(X[:1])).mean()
               for n in (10, 1000)]
    assert missing[1] < missing[0] / 20 and missing[1] < 1e-3 * p.std()
    assert set(importances(network, X, p, n_repeats=1, n_steps=2)) == {"|w|", "|w| σ", "shuffled", "integrated"}


def test_captum(toy, monkeypatch):
    X, p, splits = toy
    network = train(X, p, splits, (5, 5), 30, standardise=True)
    with monkeypatch.context() as m:
        m.setitem(__import__("sys").modules, "captum", None)
        with pytest.raises(ImportError, match="glassml\\[explain\\]"):
            captum_attributions(network, X)
    pytest.importorskip("captum", reason="captum is not installed")
    options = dict(baselines=torch.from_numpy(X.mean(0))[None], n_steps=40, method="riemann_middle")
    for s in range(3):
        theirs = captum_attributions(network, X, member=s, attribute=options)
        np.testing.assert_allclose(theirs, integrated_gradients(network, X, n_steps=40)[s], rtol=1e-6, atol=1e-8)
    assert captum_attributions(network, X, "FeatureAblation").shape == X.shape


@pytest.fixture(scope="module")
def six():
    """Six configurations, two versions of their propensities: in the second, those of the first configuration are others."""
    rng = np.random.default_rng(2)
    X, groups = rng.normal(size=(240, 5)), np.repeat(np.arange(6), 40)
    p = X[:, 0] + X[:, 1] * X[:, 2] + 0.5 * rng.normal(size=240)
    return X, p, np.where(groups == 0, 9 - p, p), groups


@pytest.mark.parametrize("options", [{}, dict(loss="pearson"), dict(n_learn=2, n_seeds=1)])
def test_capacity_does_not_leak(six, options):
    """What a configuration is like has no say in what is predicted for it, and a say in what is predicted for the others."""
    X, p, other, groups = six
    one, two = (capacity(X, q, groups, (5,), max_epochs=5, **options) for q in (p, other))
    assert (one.predictions[:, groups == 0] == two.predictions[:, groups == 0]).all()
    assert (one.noise[:, groups == 0] == two.noise[:, groups == 0]).all() and (one.best_epoch[:, 0] == two.best_epoch[:, 0]).all()
    assert (one.predictions[:, groups != 0] != two.predictions[:, groups != 0]).any()


def test_predictions_do_not_leak(six):
    """The same of the networks and the linear treatments of the study: epochs and penalties are chosen inside."""
    X, p, other, groups = six
    splits = list(LeaveOneGroupOut().split(X, groups=groups))[:2]
    for predict in (lambda q: sample_predictions(X, q, splits, {"5": (5,)}, groups, max_epochs=5),
                    lambda q: treatment_predictions(X, q, splits, [0.1, 1.0, 100.0], [0.1, 1.0, 100.0], LeaveOneGroupOut(), groups)):
        (seen, honest), (seen_too, honest_too) = predict(p), predict(other)
        for name in honest:
            assert (honest[name][0][groups == 0] == honest_too[name][0][groups == 0]).all(), name
            assert (seen[name] != seen_too[name]).any() and (honest[name][1] != honest_too[name][1]).any(), name
