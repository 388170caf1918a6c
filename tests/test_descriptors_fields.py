"""Energies, inherent structures, Voronoi cells and averages: against plain numpy, and the symmetries they must have."""
import copy
import pickle
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone

from glassml.dataset import read_configurations
from glassml.descriptors import (Averaged, Configuration, Inherent, InherentDistance, PhysicalFields, coarse_grained,
                                 inherent_structure, interaction_table, minimum_image, pair_energy, potential_energy, voronoi)

SIGMA, EPSILON = [[1.0, 0.8], [0.8, 0.88]], [[1.0, 1.5], [1.5, 0.5]]
LAW = interaction_table(SIGMA, EPSILON, 2.5)
LANCON = interaction_table([[0.618034, 0.809017, 1.0], [0.809017, 0.896802, 1.087785], [1.0, 1.087785, 1.175571]],
                           [[0.5, 0.75, 1.0], [0.75, 0.5, 0.75], [1.0, 0.75, 0.5]], 2.5, "smooth", 2.0)


def liquid(dimension, seed=0, edges=(6, 7, 6)):
    "A jittered lattice of two species in a box with different edges."
    rng = np.random.default_rng(seed)
    edges = np.array(edges[:dimension])
    grid = np.stack(np.meshgrid(*map(np.arange, edges), indexing="ij"), axis=-1).reshape(-1, dimension)
    return Configuration(grid + rng.uniform(-0.15, 0.15, grid.shape), rng.integers(1, 3, len(grid)), edges)


def distances(configuration):
    "All distances of nearest images."
    x = configuration.positions
    return np.linalg.norm(minimum_image(x[:, None] - x, configuration.box), axis=2)


def families(cutoff=2.9):
    "One of every kind, on an interaction of two species."
    fields = PhysicalFields(LAW, (0.5, 1.5), cutoff)
    return [fields, Averaged(fields, (1.0, 2.0), cutoff, 2), Averaged(fields, (1.0,), cutoff, per_species=False),
            InherentDistance(), Inherent(fields)]


# Energies and inherent structures

@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("tail", ["shifted", "polynomial", "smooth"])
def test_energy_is_half_the_sum_over_pairs(dimension, tail):
    state, law = liquid(dimension), interaction_table(SIGMA, EPSILON, 2.5, tail, 2.0)
    R, kinds = distances(state), state.species - 1
    expected = [sum(pair_energy(R[i, j], *law[:, kinds[i], kinds[j]]) for j in range(len(state)) if j != i) / 2
                for i in range(len(state))]
    np.testing.assert_allclose(potential_energy(state, law), expected, rtol=1e-11)


@pytest.mark.parametrize("folder, number", [("glass_T0.30", "08"), ("quick_T0.40", "00"), ("quick_T0.40", "02")])
def test_inherent_structure_is_the_one_that_ships(folder, number):
    [state] = read_configurations(files("glassml") / "data" / folder / f"{number}.npz")
    rest = inherent_structure(state, LANCON)
    apart = np.linalg.norm(minimum_image(rest.inherent - state.inherent, state.box), axis=1)
    assert apart.max() < 1e-3
    energy = potential_energy(Configuration(rest.inherent, state.species, state.box), LANCON).mean()
    assert abs(energy - state.extra["inherent_energy"]) < 1e-6
    assert (rest.positions == state.positions).all() and (rest.runs == state.runs).all()  # the rest travels along


def test_inherent_structure_scales_with_the_units():
    state = liquid(2)
    larger = Configuration(state.positions * 1e3, state.species, state.box * 1e3)
    law = interaction_table(np.multiply(SIGMA, 1e3), np.multiply(EPSILON, 1e-2), 2.5)
    ours = inherent_structure(state, LAW).inherent
    np.testing.assert_allclose(inherent_structure(larger, law, tolerance=1e-11).inherent / 1e3, ours, atol=1e-6)


def test_inherent_structure_of_overlapping_particles():
    rng = np.random.default_rng(5)
    state = Configuration(rng.uniform(0, 6, (40, 2)), rng.integers(1, 3, 40), 6)
    rest = inherent_structure(state, LAW)
    assert potential_energy(Configuration(rest.inherent, state.species, state.box), LAW).mean() < 0


def test_a_species_that_is_not_there():
    state = liquid(2)
    only = Configuration(state.positions, np.full(len(state), 5), state.box, inherent=state.positions)
    table = LAW[:, ::-1, ::-1]
    np.testing.assert_allclose(potential_energy(only, table, [3, 5]), potential_energy(only, LAW[:, :1, :1]))
    np.testing.assert_array_equal(inherent_structure(only, table, [3, 5]).inherent, inherent_structure(only, LAW[:, :1, :1]).inherent)
    for family in families():
        found, names = family.columns(only, [3, 5]), family.names([3, 5], 2)
        assert found.shape == (len(only), len(names)) and np.isfinite(found).all()
        assert (found[:, ["density" in name and "species 3" in name for name in names]] == 0).all()
    with pytest.raises(ValueError, match=r"interaction must have shape \(6, 1, 1\) for 1 species"):
        families()[0].columns(only)


# Voronoi cells

@settings(deadline=None, max_examples=30)
@given(st.integers(2, 3), st.integers(1, 30), st.integers(0, 10**6), st.floats(0.3, 4))
def test_cells_fill_the_box_and_do_not_notice_where_it_begins(dimension, n, seed, stretch):
    rng = np.random.default_rng(seed)
    box = np.array([1, stretch, 1.3])[:dimension]
    state = Configuration(rng.uniform(0, 1, (n, dimension)) * box, np.ones(n), box)
    cells = voronoi(state)
    np.testing.assert_allclose(cells.size.sum(), box.prod(), rtol=1e-9)
    moved = Configuration(state.positions + rng.normal(size=dimension), state.species, box)
    mirrored = Configuration(state.positions[:, ::-1] * -1, state.species, box[::-1])
    for other in (moved, mirrored):
        np.testing.assert_allclose(voronoi(other), cells, rtol=1e-8)


# Averages

def weights(state, L, cutoff):
    "The full matrix of weights, with 1 on the diagonal."
    R = distances(state)
    return np.where(R < cutoff, np.exp(-R / L) * (1 - (R / cutoff)**6)**2, 0)


@pytest.mark.parametrize("dimension", [2, 3])
def test_fields_against_a_full_matrix(dimension):
    state = liquid(dimension)
    family, labels = PhysicalFields(LAW, (0.5, 1.5), 2.9), [1, 2]
    found = dict(zip(family.names(labels, dimension), family.columns(state).T))
    energy, cells = potential_energy(state, LAW), voronoi(state)
    size, boundary = ("area", "perimeter") if dimension == 2 else ("volume", "surface")
    own = {"energy": energy, size: cells.size, boundary: cells.boundary}
    for what, values in own.items():
        np.testing.assert_array_equal(found[f"field {what} L=0"], values)
    for L in (0.5, 1.5):
        for group, members in {"species 1": state.species == 1, "species 2": state.species == 2, "all": state.species > 0}.items():
            W = weights(state, L, 2.9) * members
            for what, values in own.items():
                np.testing.assert_allclose(found[f"field {what} L={L:g} rc=2.9 {group}"], W @ values / W.sum(axis=1), rtol=1e-10)
            mean = W @ energy / W.sum(axis=1)
            variance = (W * (energy - mean[:, None])**2).sum(axis=1) / W.sum(axis=1)
            np.testing.assert_allclose(found[f"field variance L={L:g} rc=2.9 {group}"], variance, rtol=1e-9)
            np.testing.assert_allclose(found[f"field density L={L:g} rc=2.9 {group}"], W.sum(axis=1) - members, atol=1e-12)


def test_generations_per_species_against_a_full_matrix():
    state = liquid(3)
    x = InherentDistance().columns(replace(state, inherent=np.roll(state.positions, 1, axis=0)))
    found = Averaged(InherentDistance(), (1.0, 2.0), 2.9, 2).columns(replace(state, inherent=np.roll(state.positions, 1, axis=0)))
    expected = {}
    for column, L in enumerate((1.0, 2.0)):
        for s in (1, 2):
            W = weights(state, L, 2.9) * (state.species == s)
            W /= W.sum(axis=1, keepdims=True)
            expected[2 * column + s - 1], expected[4 + 2 * column + s - 1] = W @ x, W @ W @ x
    np.testing.assert_allclose(found, np.hstack([expected[c] for c in range(8)]), rtol=1e-10)


def test_average_of_a_constant_is_the_constant():
    state = liquid(2)
    np.testing.assert_allclose(coarse_grained(state, np.full((len(state), 1), -3.0), [0.1, 1, 100], 2.9), -3.0)


# Families

@pytest.mark.parametrize("dimension", [2, 3])
def test_a_name_for_every_column(dimension):
    state = replace(liquid(dimension), inherent=liquid(dimension, seed=1).positions)
    for family in families():
        names = family.names([1, 2], dimension)
        assert family.columns(state).shape == (len(state), len(names)) and len(set(names)) == len(names)
    first = [family.names([1, 2], 2)[0].split()[0] for family in families()]
    assert first == ["field", "averaged", "averaged", "rest", "field"]


@pytest.mark.parametrize("dimension", [2, 3])
@settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 10**6))
def test_symmetries(dimension, seed):
    rng = np.random.default_rng(seed)
    state = replace(liquid(dimension, seed), inherent=liquid(dimension, seed + 1).positions)
    order, axes, shift = rng.permutation(len(state)), rng.permutation(dimension), rng.uniform(-20, 20, dimension)
    images = rng.integers(-2, 3, state.positions.shape) * state.box
    change = lambda x: (-(x + images + shift))[order][:, axes]
    changed = Configuration(change(state.positions), state.species[order], state.box[axes], inherent=change(state.inherent))
    swapped = replace(state, species=3 - state.species)
    for family in families():
        before = family.columns(state)
        np.testing.assert_allclose(family.columns(changed), before[order], rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(family.columns(swapped, [2, 1]), before, rtol=1e-10, atol=1e-12)


def test_no_jump_at_the_cutoff():
    "A particle that crosses the cutoff of another one, far beyond the interaction."
    def columns(r, family):
        state = Configuration([[1, 1], [1 + r, 1], [1, 9]], [1, 2, 1], 20)
        return family.columns(replace(state, inherent=state.positions), [1, 2])
    for family in families(cutoff=5.0):
        np.testing.assert_allclose(columns(5 - 1e-9, family), columns(5 + 1e-9, family), rtol=1e-7, atol=1e-7)


def test_families_are_copied_and_sent():
    class Holder(BaseEstimator):
        def __init__(self, family=None):
            self.family = family

    state = replace(liquid(2), inherent=liquid(2, seed=1).positions)
    for family in families():
        for other in (clone(Holder(family)).family, copy.deepcopy(family), pickle.loads(pickle.dumps(family))):
            np.testing.assert_array_equal(other.columns(state), family.columns(state))


@pytest.mark.parametrize("function", [voronoi, lambda c: potential_energy(c, LAW[:, :1, :1]), lambda c: inherent_structure(c, LAW[:, :1, :1])])
def test_coincidence_is_refused(function):
    with pytest.raises(ValueError, match="two particles are at the same position"):
        function(Configuration([[1, 1], [7, 1], [1, 1]], [1, 1, 1], 6))
