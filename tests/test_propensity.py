"""Propensity as a statistic: properties, data of known reliability, and published runs where they are at hand."""
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from glassml.descriptors import Configuration
from glassml.propensity import (ceiling_by_runs, displacement_lengths, noise_ceiling, plot_propensity_map, propensity,
                                reliability, spearman_brown, standard_error, two_clusters)

BOTAN = Path(__file__).parents[1] / "../shared/data/botan_ka_T0.44"


def made_up(n, runs, signal, noise, seed=0):
    "Lengths in runs that scatter about true propensities."
    rng = np.random.default_rng(seed)
    return 3 + signal * rng.standard_normal(n) + noise * rng.standard_normal((runs, n))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 3]), st.floats(1, 50))
def test_wrapped_and_unwrapped_agree(seed, dimension, box):
    rng = np.random.default_rng(seed)
    initial = rng.uniform(0, box, (7, dimension))
    runs = initial + rng.uniform(-0.49 * box, 0.49 * box, (3, 7, dimension))
    lengths = displacement_lengths(initial, runs)
    assert lengths.shape == (3, 7)
    np.testing.assert_allclose(displacement_lengths(initial, np.mod(runs, box), box), lengths, atol=1e-9 * box)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.001, 0.999), st.floats(0.1, 50), st.floats(0.1, 50))
def test_spearman_brown_composes(rho, a, b):
    assert spearman_brown(spearman_brown(rho, a), b) == pytest.approx(spearman_brown(rho, a * b))
    assert spearman_brown(rho, 1) == pytest.approx(rho)


@pytest.mark.parametrize("runs", [2, 5, 16, 33])
@pytest.mark.parametrize("noise", [0.5, 2.0, 6.0])
def test_known_reliability(runs, noise):
    expected = 1 / (1 + noise**2 / runs)
    lengths = made_up(20_000, runs, 1, noise)
    assert reliability(lengths, n_splits=20) == pytest.approx(expected, abs=0.03)
    assert reliability(5 + 3 * lengths, n_splits=20) == pytest.approx(reliability(lengths, n_splits=20))  # no unit matters


def test_limits():
    assert noise_ceiling(made_up(500, 4, 1, 0)) == pytest.approx((1, 0), abs=1e-9)
    assert reliability(made_up(20_000, 4, 0, 1)) == pytest.approx(0, abs=0.03)
    assert 0 <= noise_ceiling(made_up(50, 4, 0, 1))[0] <= 1  # a negative estimate is a ceiling of 0


def test_standard_error_is_the_scatter_of_the_mean():
    means = np.array([propensity(made_up(2000, 8, 0, 1, seed)) for seed in range(50)])
    expected = np.sqrt((standard_error(made_up(2000, 8, 0, 1))**2).mean())
    assert means.std() == pytest.approx(expected, rel=0.02)


def test_groups_give_the_honest_error():
    "Particles that copy each other in tens: an error that takes them as independent is too small by about sqrt(10)."
    deviations = {"groups": [], "particles": []}
    for seed in range(100):
        lengths = np.repeat(made_up(40, 8, 1, 1.5, seed), 10, axis=1)
        for name, groups in (("groups", np.repeat(np.arange(40), 10)), ("particles", None)):
            ceiling, error = noise_ceiling(lengths, groups, n_splits=10)
            deviations[name].append((ceiling - np.sqrt(1 / (1 + 1.5**2 / 8))) / error)
    assert 0.75 < np.std(deviations["groups"]) < 1.3
    assert np.std(deviations["particles"]) > 2


def test_fewer_runs_follow_spearman_brown():
    for found in ceiling_by_runs(made_up(20_000, 32, 1, 3), (2, 8, 32), n_splits=20):
        assert abs(found.pooled - np.sqrt(1 / (1 + 9 / found.n_runs))) < 4 * found.pooled_error < 0.08


@pytest.mark.parametrize("bad, message", [
    (np.ones(5), "2 dimensions"), (np.ones((1, 5)), "at least 2 runs"), (np.ones((4, 5)), "must differ"),
    (np.full((4, 5), np.inf), "finite")])
def test_bad_lengths(bad, message):
    with pytest.raises(ValueError, match=message):
        reliability(bad)


def test_map_and_clusters(tmp_path):
    rng = np.random.default_rng(0)
    configuration = Configuration(rng.uniform(0, 8, (150, 2)), rng.integers(1, 4, 150), 8, propensity=rng.gamma(2, 0.2, 150))
    ax = plot_propensity_map(configuration, two_clusters(configuration), limits=(0, 1))
    ax.figure.savefig(tmp_path / "map.svg")
    drawn = sum(len(collection.get_offsets()) for collection in ax.collections)
    assert drawn > 150 and ax.get_aspect() == 1 and ax.get_xlim() == (0, 8)
    assert set(two_clusters(configuration)) == {0, 1}


@pytest.mark.skipif(not BOTAN.is_dir(), reason=f"no published runs in {BOTAN}")
def test_published_runs():
    "3D Kob-Andersen at T = 0.44: about 0.92 per configuration and 0.94 pooled (type A, 32 runs)."
    lengths = []
    for path in sorted(BOTAN.glob("*.npz")):
        with np.load(path) as stored:
            large = stored["types"] == 0
            lengths.append(displacement_lengths(stored["initial_positions"][large], stored["positions"][:, large]))
    assert len(lengths) == 10 and lengths[0].shape == (32, 3277)
    each = [noise_ceiling(one, n_splits=20)[0] for one in lengths]
    groups = np.repeat(np.arange(10), [one.shape[1] for one in lengths])
    pooled, error = noise_ceiling(np.concatenate(lengths, axis=1), groups, n_splits=20)
    print(f"per configuration {np.mean(each):.4f}, pooled {pooled:.4f} ± {error:.4f}")
    assert np.mean(each) == pytest.approx(0.92, abs=0.015)
    assert pooled == pytest.approx(0.94, abs=0.015)
