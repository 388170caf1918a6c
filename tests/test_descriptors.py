"""Descriptors against the original study's files, a plain triple sum, and the symmetries they must have."""
from itertools import combinations, combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassml import descriptors
from glassml.descriptors import (ANGULAR_PARAMETERS, SMALL, Configuration, angular_functions, minimum_image,
                                 radial_functions, symmetry_function_names, symmetry_functions, wrap)

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


# The original study's files

def study_file(name):
    "Configuration and descriptors in a file of the study, straight from its rows."
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the study's file {name} is not in {DATA}")
    edge = float(path.open().readline().split()[1])
    rows = np.loadtxt(path, skiprows=1)
    return Configuration(rows[:, :2], rows[:, 2].astype(int), edge), rows[:, 4:]


@pytest.fixture(scope="module", params=["Cnf1.xy", "Cnf2.xy"])
def study(request):
    configuration, columns = study_file(request.param)
    return configuration, columns, symmetry_functions(configuration, original_defects=True)


def half_a_box_apart(configuration, rounding=2e-4):
    "Particles with a partner half a box away within the rounding of the file: which image is nearest cannot be known."
    x = configuration.positions
    gap = np.abs(np.abs(minimum_image(x[:, None] - x, configuration.box)) - configuration.box / 2)
    return (gap < rounding).any(axis=(1, 2))


def test_radial_columns_of_the_study(study):
    _, theirs, ours = study
    error = (ours - theirs)[:, :81]
    spread = theirs[:, :81].std(axis=0)
    filled = spread > 1e-4
    assert np.abs(error).max() < 0.006
    assert (np.sqrt((error**2).mean(axis=0))[filled] / spread[filled]).max() < 0.005


def test_widest_angular_columns_of_the_study(study):
    configuration, theirs, ours = study
    same = [6 * q + pair for q in range(4) for pair in (0, 3, 5)]
    error = ours[:, 81:][:, same] / theirs[:, 81:][:, same] - 1
    certain = ~half_a_box_apart(configuration)
    assert certain.mean() > 0.9
    assert np.sqrt((error[certain] ** 2).mean()) < 2e-6
    assert np.abs(error[certain]).max() < 1e-5
    assert np.abs(error).max() < 1e-4


def test_all_angular_columns_of_the_study(study):
    _, theirs, ours = study
    same = [81 + 6 * q + pair for q in range(22) for pair in (0, 3, 5)]
    error, spread = (ours - theirs)[:, same], theirs[:, same].std(axis=0)
    assert (np.sqrt((error**2).mean(axis=0)) / spread).max() < 1.3e-3  # measured 1.15e-3, what rounded positions allow
    assert (np.abs(error).max(axis=0) / spread).max() < 0.03


def test_mixed_columns_of_the_study_are_empty(study):
    _, theirs, ours = study
    mixed = [81 + 6 * q + pair for q in range(22) for pair in (1, 2, 4)]
    assert not theirs[:, mixed].any() and not ours[:, mixed].any()


def test_without_the_sign_defect_the_file_is_not_reproduced(study):
    configuration, theirs, _ = study
    ours = angular_functions(configuration, ANGULAR_PARAMETERS[4:8] * [SMALL, 1, 1])
    spread = theirs[:, 105].std()
    assert np.sqrt(((ours[:, 0] - theirs[:, 105]) ** 2).mean()) > 0.2 * spread


# The equation, term by term

def liquid(n, dimension, seed, box=4.0, n_species=3):
    "Random particles, at least one of each species."
    rng = np.random.default_rng(seed)
    species = rng.permutation(np.arange(n) % n_species) + 1
    return Configuration(rng.uniform(0, box, (n, dimension)), species, box)


def plain_functions(configuration, i, centres, width, parameters):
    "Both families for one particle, each term written out."
    x, s, box = configuration.positions, configuration.species, configuration.box
    others = [j for j in range(len(x)) if j != i]
    vector = {j: minimum_image(x[j] - x[i], box) for j in others}
    labels = np.unique(s)
    radial = [sum(np.exp(-((np.linalg.norm(vector[j]) - R) / width) ** 2) for j in others if s[j] == label)
              for R in centres for label in labels]
    angular = []
    for xi, lam, zeta in parameters:
        for pair in combinations_with_replacement(labels, 2):
            total = 0.0
            for j, k in combinations(others, 2):
                if tuple(sorted((s[j], s[k]))) == pair:
                    u, v, w = vector[j], vector[k], minimum_image(x[k] - x[j], box)
                    cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
                    total += np.exp(-(u @ u + v @ v + w @ w) / xi**2) * (1 + lam * cosine) ** zeta
            angular.append(total)
    return radial, angular


@pytest.mark.parametrize("dimension", [2, 3])
def test_against_the_plain_sum(dimension):
    configuration = liquid(14, dimension, seed=dimension)
    centres, width = [0.5, 1.0, 1.8], 0.2
    parameters = [(3.0, -1, 1), (0.9, 1, 4), (3.0, 1, 2), (1.5, 1, 16), (1.5, -1, 3)]  # one range twice, not in a row
    radial = radial_functions(configuration, centres, width)
    angular = angular_functions(configuration, parameters)
    for i in range(len(configuration)):
        plain_radial, plain_angular = plain_functions(configuration, i, centres, width, parameters)
        np.testing.assert_allclose(radial[i], plain_radial, rtol=1e-10, atol=1e-300)
        np.testing.assert_allclose(angular[i], plain_angular, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dimension", [2, 3])
def test_matrix_products_agree_with_the_loop(dimension, monkeypatch):
    configuration = liquid(300, dimension, seed=5, box=10.0)
    parameters = [(5.0, -1, 1), (5.0, 1, 2), (1.5, -1, 2)]
    products = angular_functions(configuration, parameters, original_defects=True)

    def by_loop(E_i, E, units, first, lam, zeta):
        return [descriptors._near_sums(E_i[n], E, units[:, n], first, lam, zeta) for n in range(len(E_i))]

    monkeypatch.setattr(descriptors, "_angular_products", by_loop)
    loop = angular_functions(configuration, parameters, original_defects=True)
    np.testing.assert_allclose(products, loop, rtol=1e-10, atol=1e-13)


def test_batches_do_not_show(monkeypatch):
    configuration = liquid(50, 2, seed=6)
    whole = symmetry_functions(configuration)
    monkeypatch.setattr(descriptors, "_BATCH", 7)
    np.testing.assert_allclose(symmetry_functions(configuration), whole, rtol=1e-10, atol=1e-13)


# Symmetries

WIDTH, CENTRES = 0.15, [0.6, 1.1]
PARAMETERS = [(2.0, -1, 1), (2.0, 1, 2), (1.0, 1, 4)]


def described(positions, species, box, **options):
    configuration = Configuration(positions, species, box)
    radial = radial_functions(configuration, CENTRES, WIDTH)
    return np.hstack([radial, angular_functions(configuration, PARAMETERS, **options)])


def same(one, other):
    np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


liquids = st.builds(liquid, n=st.integers(4, 20), dimension=st.sampled_from([2, 3]), seed=st.integers(0, 10**6))
quick = settings(max_examples=25, deadline=None, derandomize=True)


@quick
@given(liquids, st.randoms(use_true_random=False))
def test_numbering_does_not_matter(configuration, random):
    order = random.sample(range(len(configuration)), len(configuration))
    x, s, box = configuration.positions, configuration.species, configuration.box
    same(described(x[order], s[order], box), described(x, s, box)[order])


@quick
@given(liquids, st.floats(-20, 20), st.integers(-3, 3))
def test_place_and_image_do_not_matter(configuration, shift, image):
    x, s, box = configuration.positions, configuration.species, configuration.box
    images = x + shift + image * box * (np.arange(len(x)) % 2)[:, None]
    same(described(images, s, box), described(x, s, box))


@quick
@given(liquids)
def test_quarter_turn_and_mirror_do_not_matter(configuration):
    x, s, box = configuration.positions, configuration.species, configuration.box
    turned, mirrored = x.copy(), x.copy()
    turned[:, 0], turned[:, 1] = -x[:, 1], x[:, 0]
    mirrored[:, 0] *= -1
    same(described(turned, s, box), described(x, s, box))
    same(described(mirrored, s, box), described(x, s, box))


@quick
@given(liquids)
def test_relabelling_species_permutes_columns(configuration):
    x, s, box = configuration.positions, configuration.species, configuration.box
    new = np.array([0, 3, 1, 2])[s]  # 1 -> 3, 2 -> 1, 3 -> 2
    radial = [3 * c + k for c in range(len(CENTRES)) for k in (1, 2, 0)]
    angular = [3 * len(CENTRES) + 6 * q + k for q in range(len(PARAMETERS)) for k in (3, 4, 1, 5, 2, 0)]
    same(described(x, new, box), described(x, s, box)[:, radial + angular])


def test_the_defective_columns_depend_on_the_numbering():
    configuration = liquid(40, 2, seed=9, box=5.0)
    x, s, box = configuration.positions, configuration.species, configuration.box
    order = np.random.default_rng(0).permutation(40)
    for defects, alike in [(False, True), (True, False)]:
        one = described(x, s, box, original_defects=defects)[order, len(CENTRES) * 3:]
        other = described(x[order], s[order], box, original_defects=defects)[:, len(CENTRES) * 3:]
        assert np.allclose(one, other, rtol=1e-7) == alike


# Limits and odd input

def test_rectangular_box_is_not_a_square():
    x = np.array([[0.1, 0.5], [2.9, 0.5], [0.1, 5.5]])
    distances = [0.2, 1.0]  # through the short and the long boundary
    G = radial_functions(Configuration(x, [1, 1, 1], [3.0, 6.0]), distances, 0.01)
    np.testing.assert_allclose(G[0], [1, 1], atol=1e-12)


def test_one_particle_sees_nothing():
    alone = Configuration([[1.0, 1.0]], [1], 3.0)
    assert not symmetry_functions(alone).any()


@pytest.mark.parametrize("position", [-1e-17, -5e-324, 4.0, np.nextafter(4.0, 0), 1e17])
def test_wrapped_positions_are_inside(position):
    assert 0 <= wrap(np.array([position]), np.array([4.0]))[0] < 4


def test_names_are_distinct_and_as_many_as_columns():
    for n_species in (1, 2, 3):
        names = symmetry_function_names(range(1, n_species + 1))
        configuration = liquid(6, 2, seed=1, n_species=n_species)
        assert len(set(names)) == len(names) == symmetry_functions(configuration).shape[1]
    assert names[0] == "radial R=0.50a species 1" and names[81] == "angular xi=14.633a lambda=-1 zeta=1 species 11"
    assert names[212] == "angular xi=0.695a lambda=1 zeta=16 species 33"
