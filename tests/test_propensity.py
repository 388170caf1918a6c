"""Propensity as a statistic: properties, data of known reliability, and published runs where they are at hand."""
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from glassml.descriptors import Configuration, minimum_image
from glassml.propensity import (at, broken_bonds, ceiling_by_runs, correlation_length, displacement_lengths, jackknife_error,
                                noise_ceiling, noise_ceilings, plot_propensity_map, plot_relaxation, propensity, relaxation_time,
                                reliability, self_scattering, spatial_correlation, spearman_brown, species_radii,
                                squared_displacements, standard_error, structure_factor, two_clusters, unwrap)

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
@given(st.integers(0, 10**6), st.sampled_from([2, 3]), st.floats(1, 50))
def test_unwrap_undoes_wrapping(seed, dimension, scale):
    "Whatever the box, and however far the walk as a whole; what it gives are images of what it was given."
    rng = np.random.default_rng(seed)
    box = scale * rng.uniform(1, 2, dimension)
    walk = np.cumsum(rng.uniform(-0.49, 0.49, (40, 3, 7, dimension)) * box, axis=0) + rng.uniform(0, 1, dimension) * box
    wrapped = np.mod(walk, box)
    np.testing.assert_allclose(unwrap(wrapped, box) - wrapped[0], walk - walk[0], atol=1e-9 * scale)
    images = (unwrap(wrapped, box) - wrapped) / box
    np.testing.assert_allclose(images, np.round(images), atol=1e-9)
    np.testing.assert_allclose(unwrap(walk[:2], box), walk[:2], atol=1e-9 * scale)  # nothing to undo


def test_squared_displacements():
    rng = np.random.default_rng(0)
    initial, runs = rng.uniform(0, 5, (6, 3)), rng.uniform(0, 5, (4, 6, 3))
    np.testing.assert_allclose(squared_displacements(initial, runs, 5), (minimum_image(runs - initial, 5.0)**2).sum(axis=-1))


def moved_liquid(seed, dimension=2, n=60, box=8.0):
    "Random points of two species, and where they are after two runs."
    rng = np.random.default_rng(seed)
    initial = rng.uniform(0, box, (n, dimension))
    return rng, initial, initial + rng.normal(scale=0.4, size=(2, n, dimension)), rng.integers(1, 3, n), box


CUT = np.array([[1.2, 1.0], [1.0, 0.8]])


@pytest.mark.parametrize("dimension", [2, 3])
def test_broken_bonds_pair_by_pair(dimension):
    "Against the definition, written as loops."
    _, initial, runs, species, box = moved_liquid(1, dimension)
    expected = np.zeros((2, 60))
    for r in range(2):
        for i in range(60):
            cuts = CUT[species[i] - 1, species - 1]
            near = np.linalg.norm(minimum_image(initial - initial[i], box), axis=1) < cuts
            near[i] = False
            gone = np.linalg.norm(minimum_image(runs[r] - runs[r, i], box), axis=1) > 1.25 * cuts
            expected[r, i] = (near & gone).sum() / max(near.sum(), 1)
    found = broken_bonds(initial, runs, box, CUT, species=species)
    np.testing.assert_allclose(found, expected)
    assert 0 < found.mean() < 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_broken_bonds_invariance(seed):
    "Neither the order of particles, nor where the origin is, nor which periodic image is stored, nor a common motion matters."
    rng, initial, runs, species, box = moved_liquid(seed)
    found = broken_bonds(initial, runs, box, CUT, species=species)
    order, shift = rng.permutation(60), rng.uniform(-20, 20, 2)
    images = box * rng.integers(-2, 3, runs.shape)
    np.testing.assert_array_equal(broken_bonds(initial[order], runs[:, order], box, CUT, species=species[order]), found[:, order])
    np.testing.assert_allclose(broken_bonds(initial + shift, runs + shift, box, CUT, species=species), found)
    np.testing.assert_allclose(broken_bonds(initial, runs + images, box, CUT, species=species), found)
    np.testing.assert_allclose(broken_bonds(initial, runs + shift, box, CUT, species=species), found)
    assert (broken_bonds(initial, initial[None], box, CUT, species=species) == 0).all()
    assert (broken_bonds(initial, runs, box, CUT, factor=1.1, species=species) >= found).all()


def test_at_from_displacements_and_from_series():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 4, 5, 2))
    bonds = rng.uniform(0, 1, (3, 2, 5))
    full = Configuration(rng.uniform(0, 9, (5, 2)), np.ones(5), 9, times=[1, 10, 100], displacements=vectors,
                         series={"bond breaking": bonds})
    np.testing.assert_allclose(at(full, time=10).runs, np.linalg.norm(vectors[1], axis=-1))
    np.testing.assert_allclose(at(full, "squared displacement").propensity, (vectors[2]**2).sum(axis=-1).mean(axis=0))
    np.testing.assert_allclose(at(full, "bond breaking", 1.0).propensity, bonds[0].mean(axis=0))
    np.testing.assert_allclose(at(at(full, "bond breaking", 1)).propensity, at(full).propensity)  # nothing is lost
    for arguments in (("bond",), ("displacement", 11), ("displacement", 0)):
        with pytest.raises(ValueError, match="only"):
            at(full, *arguments)


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


@pytest.mark.parametrize("between", [0.0, 0.7, 2.0])
def test_pooled_and_one_by_one(between):
    "Groups whose means differ: more signal pooled, the same one by one; both errors mean what they say."
    deviations = []
    for seed in range(60):
        offsets = between * np.random.default_rng(10_000 + seed).standard_normal(30)
        found = noise_ceilings(made_up(3000, 8, 1, 2, seed) + np.repeat(offsets, 100), np.repeat(np.arange(30), 100), n_splits=8)
        pooled = 1 / (1 + 4 / 8 / (1 + np.var(offsets)))
        deviations.append([(found.pooled - np.sqrt(pooled)) / found.pooled_error,
                           (found.one_by_one - np.sqrt(1 / (1 + 4 / 8))) / found.one_by_one_error])
        assert len(found.each) == 30 and found.one_by_one == pytest.approx(found.each.mean())
    assert (np.abs(np.mean(deviations, axis=0)) < 0.6).all()
    assert np.std(deviations, axis=0)[1] < 1.3 and np.std(deviations, axis=0)[0] < 1.3


def test_one_group_has_an_error():
    lengths = made_up(300, 8, 1, 2)
    for groups in (None, np.full(300, 7)):
        found = noise_ceilings(lengths, groups, n_splits=10)
        assert found.error_from == "random groups of particles" and found.one_by_one == found.pooled
        assert 0 < found.pooled_error < 0.1 and found.one_by_one_error == found.pooled_error
        assert noise_ceiling(lengths, groups, n_splits=10) == (found.pooled, found.pooled_error)
    two = noise_ceilings(lengths, np.arange(300) % 2, n_splits=10)
    assert two.error_from == "groups" and np.isfinite([two.pooled_error, two.one_by_one_error]).all()


def test_names_and_order_of_groups_do_not_matter():
    lengths, groups = made_up(300, 8, 1, 2), np.repeat([0, 1, 2], 100)
    order = np.random.default_rng(0).permutation(300)
    a = noise_ceilings(lengths, groups, n_splits=10)
    b = noise_ceilings(lengths[:, order], np.array(["x", "y", "z"])[groups[order]], n_splits=10)
    np.testing.assert_allclose([b.pooled, b.pooled_error, *b.each], [a.pooled, a.pooled_error, *a.each], rtol=1e-9)


def test_jackknife_of_a_mean_is_the_standard_error():
    x = np.random.default_rng(0).normal(size=12)
    without = [np.delete(x, g).mean() for g in range(12)]
    assert jackknife_error(without) == pytest.approx(x.std(ddof=1) / np.sqrt(12))


def test_fewer_runs_follow_spearman_brown():
    for found in ceiling_by_runs(made_up(20_000, 32, 1, 3), (2, 8, 32), n_splits=20):
        assert abs(found.pooled - np.sqrt(1 / (1 + 9 / found.n_runs))) < 4 * found.pooled_error < 0.08


@pytest.mark.parametrize("bad, message", [
    (np.ones(5), "2 dimensions"), (np.ones((1, 5)), "at least 2 runs"), (np.ones((4, 5)), "must differ"),
    (np.full((4, 5), np.inf), "finite")])
def test_bad_lengths(bad, message):
    with pytest.raises(ValueError, match=message):
        reliability(bad)


@pytest.mark.parametrize("dimension", [2, 3])
def test_scattering_of_gaussian_displacements(dimension):
    "exp(-k²⟨r²⟩/2d), and at small k one minus its first term."
    lengths = np.linalg.norm(np.random.default_rng(0).normal(scale=0.3, size=(3, 20, 4000, dimension)), axis=-1)
    square = (lengths**2).mean(axis=(1, 2))
    for k in (1.0, 3.0, 6.0):
        found = self_scattering(lengths, k, dimension)
        assert found.shape == (3,)
        np.testing.assert_allclose(found, np.exp(-k**2 * square / (2 * dimension)), atol=0.01)
    np.testing.assert_allclose((1 - self_scattering(lengths, 0.01, dimension)) / 0.01**2, square / (2 * dimension), rtol=1e-3)
    assert (self_scattering(lengths, 0.0, dimension) == 1).all()


@settings(max_examples=30, deadline=None)
@given(st.floats(1.5, 900), st.floats(0.3, 1.5))
def test_relaxation_time_of_stretched_exponentials(tau, beta):
    times = np.geomspace(1, 1000, 400)
    assert relaxation_time(times, np.exp(-(times / tau)**beta)) == pytest.approx(tau, rel=2e-3)


def test_relaxation_time_that_is_not_there():
    times = np.array([1.0, 10.0, 100.0])
    assert np.isnan(relaxation_time(times, np.exp(-times / 1000)))  # later
    assert np.isnan(relaxation_time(times, np.exp(-times / 0.1)))   # earlier
    assert relaxation_time(times, [0.9, 0.2, 0.5], level=0.55) == pytest.approx(10**0.5)  # the first crossing
    for bad in ([1.0, np.nan, 0.0], [1.0, 0.0]):
        with pytest.raises(ValueError):
            relaxation_time(times, bad)


def test_structure_factor_sees_a_wave():
    "Particles in stripes: a peak at the wave number of the stripes."
    rng = np.random.default_rng(0)
    x = (np.repeat(np.arange(12), 50) + rng.normal(scale=0.05, size=600)) * 1.25
    stripes = Configuration(np.column_stack([x, rng.uniform(0, 15, 600)]), np.ones(600), 15)
    edges = np.arange(0.9, 7.0, 0.2)
    S = structure_factor(stripes, edges)
    assert edges[np.argmax(S)] <= 2 * np.pi / 1.25 < edges[np.argmax(S) + 1]


@pytest.mark.parametrize("length", [1.5, 3.0])
def test_known_correlation_length(length):
    rng = np.random.default_rng(0)
    box, edges = np.full(2, 30.0), np.arange(0, 15.5, 0.5)
    points = rng.uniform(0, 30, (800, 2))
    r = np.linalg.norm(minimum_image(points[:, None] - points, box), axis=-1)
    root = np.linalg.cholesky(0.8 * np.exp(-r / length) + 0.2 * np.eye(800))
    curves = np.array([spatial_correlation(points, root @ rng.standard_normal(800), box, edges)[0] for _ in range(40)])
    pairs = np.histogram(r[np.triu_indices(800, 1)], edges)[0]
    fits = [correlation_length(edges, np.delete(curves, g, axis=0).mean(axis=0), pairs)[0] for g in range(40)]
    found, amplitude, offset = correlation_length(edges, curves.mean(axis=0), pairs)
    assert abs(found - length) < 3 * jackknife_error(fits) < length / 2
    assert offset > 0 and amplitude == pytest.approx(0.8, abs=0.1)


def test_a_field_that_is_constant_has_no_correlation():
    with pytest.raises(ValueError, match="values must differ"):
        spatial_correlation(np.random.default_rng(0).uniform(0, 5, (9, 2)), np.ones(9), np.full(2, 5.0), np.arange(4))


def test_a_fit_beyond_the_first_neighbours_does_not_look_at_them():
    edges, pairs = np.arange(0.5, 15.5, 0.5), np.arange(1, 30) * 100
    curve = 1.2 * np.exp(-(edges[1:] + edges[:-1]) / 2 / 2.7) - 0.06
    for first in (0.0, 1.0, 5.0):
        curve[:2] = first
        assert correlation_length(edges, curve, pairs, beyond=1.5) == pytest.approx((2.7, 1.2, 0.06), abs=1e-4)


@pytest.mark.parametrize("box", [0, -1, np.nan, [5, 0], [5, 5, 5], [[5, 5]]])
def test_boxes_that_are_none(box):
    points = np.random.default_rng(0).uniform(0, 5, (9, 2))
    for call in (lambda: displacement_lengths(points, points[None], box), lambda: unwrap(points[None], box),
                 lambda: spatial_correlation(points, points[:, 0], box, np.arange(4)),
                 lambda: broken_bonds(points, points[None], box, 1.0)):
        with pytest.raises(ValueError, match="box"):
            call()


@pytest.mark.parametrize("arguments, said", [
    (dict(n_runs=0), "from 2 to 4, got 0"), (dict(n_runs=5), "from 2 to 4, got 5"), (dict(n_splits=0), "got 0"),
    (dict(n_splits=-1), "got -1"), (dict(groups=[0, 1]), r"each of 50 particles, got shape \(2,\)"),
    (dict(groups=np.zeros((50, 1))), r"got shape \(50, 1\)"), (dict(groups=[]), r"got shape \(0,\)")])
def test_arguments_of_ceilings(arguments, said):
    for function in (noise_ceiling, noise_ceilings):
        with pytest.raises(ValueError, match=said):
            function(made_up(50, 4, 1, 1), **arguments)


@pytest.mark.filterwarnings("error")
def test_radii_of_lone_particles():
    rng = np.random.default_rng(0)
    positions = rng.uniform(0, 5, (12, 2))
    radii = species_radii(Configuration(positions, [3] + [1] * 11, 5))
    nearest = np.sort(np.linalg.norm(minimum_image(positions - positions[0], 5.0), axis=1))[1]
    assert radii[0] == pytest.approx(nearest / 2) and np.isfinite(radii).all()
    assert species_radii(Configuration([[1.0, 2.0]], [1], [3, 4])) == pytest.approx(1.5)


def test_relaxation_is_drawn_for_each_configuration_and_their_mean():
    curves = np.array([[1.0, 0.5, 0.1], [1.0, 0.7, 0.3]])
    ax = plot_relaxation([1, 10, 100], curves, tau=20.0)
    drawn = [line.get_ydata() for line in ax.lines]
    np.testing.assert_allclose(drawn[0], curves.mean(axis=0))
    np.testing.assert_allclose(drawn[1:3], curves)
    assert any(np.allclose(line.get_xdata(), 20.0) for line in ax.lines)
    plt.close(ax.figure)


def test_a_band_takes_the_place_of_thin_lines():
    curves = np.array([[1.0, 0.5, 0.1], [1.0, 0.7, 0.3]])
    ax = plot_relaxation([1, 10, 100], curves, band=True)
    assert len(ax.lines) == 1
    low, high = (f(ax.collections[0].get_paths()[0].vertices[:, 1]) for f in (np.min, np.max))
    assert low == pytest.approx(0.1) and high == pytest.approx(1.0)  # 0.2 ± 0.1 at the end; no scatter at the start
    plt.close(ax.figure)


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
    groups = np.repeat(np.arange(10), [one.shape[1] for one in lengths])
    found = ceiling_by_runs(np.concatenate(lengths, axis=1), (8, 16, 32), groups, n_splits=20)
    for ceilings in found:
        print(f"R = {ceilings.n_runs}: {ceilings}")
    assert found[-1].one_by_one == pytest.approx(0.92, abs=0.015)
    assert found[-1].pooled == pytest.approx(0.94, abs=0.015) and found[-1].pooled > found[-1].one_by_one
    for fewer in found[:2]:  # the formula of Spearman and Brown, from all runs down to fewer
        expected = np.sqrt(spearman_brown(found[-1].each**2, fewer.n_runs / 32))
        np.testing.assert_allclose(fewer.each, expected, atol=0.04)
        assert fewer.one_by_one == pytest.approx(expected.mean(), abs=0.01)
