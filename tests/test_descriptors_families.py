"""What every family of descriptors must do, tried on random configurations."""
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import parallel_config
from sklearn.base import clone

from glassml.descriptors import (FAMILIES, AngularFunctions, Averaged, BondOrder, Configuration, Descriptors, Inherent,
                                 InherentDistance, PhysicalFields, PowerSpectrum, RadialFunctions, neighbourhoods)

CUTOFF = 3.0
EXAMPLE = {"__name__": "example"}  # the family that CONTRIBUTING.md shows how to write
exec(re.search(r"```python\n(.*?)```", (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(), re.S)[1], EXAMPLE)
LAW = np.array([[[1.0, 0.8], [0.8, 0.88]], [[1.0, 1.5], [1.5, 0.5]], [[2.5, 2.0], [2.0, 2.2]], [[2.5, 2.0], [2.0, 2.2]],
                np.zeros((2, 2)), np.zeros((2, 2))])  # Kob and Andersen
ALL = FAMILIES | dict(field=PhysicalFields(LAW, (0.5, 1.0), CUTOFF), geometry=PhysicalFields(None, (1.0,), CUTOFF),
                      example=EXAMPLE["Coordination"](CUTOFF), averaged=Averaged(FAMILIES["radial"], (0.5, 1.0), CUTOFF),
                      inherent=Inherent(FAMILIES["bond"]), sharp=AngularFunctions(narrow=False))
WITHIN_CUTOFF = [name for name in ALL if name not in ("original", "rest")]
few = settings(max_examples=8, deadline=None)


def liquid(seed, dimension):
    "Two species on a jittered lattice, twice the cutoff wide and a little more."
    rng = np.random.default_rng(seed)
    side = 7
    sites = np.stack(np.meshgrid(*dimension * [np.arange(side) + 0.5]), -1).reshape(-1, dimension)
    positions = sites + rng.uniform(-0.2, 0.2, sites.shape)
    inherent = sites + rng.uniform(-0.1, 0.1, sites.shape)
    return Configuration(positions, rng.integers(1, 3, len(sites)), float(side), inherent=inherent)


def changed(c, positions=None, species=None, box=None, inherent=None):
    return Configuration(c.positions if positions is None else positions, c.species if species is None else species,
                         c.box if box is None else box, inherent=c.inherent if inherent is None else inherent)


def same(X, Y, tolerance=1e-9):
    "Equal in units of each column's size."
    np.testing.assert_allclose(X, Y, rtol=0, atol=tolerance * max(1, np.abs(Y).max()))
    scale = np.abs(Y).max(axis=0)
    assert (np.abs(X - Y).max(axis=0) <= tolerance * np.maximum(scale, 1e-9 * scale.max())).all()


def with_species_exchanged(name):
    "What a column is called when 1 and 2 have changed places."
    name = re.sub(r"species (\d+)", lambda found: "species " + found[1].translate({49: "2", 50: "1"}), name)
    name = re.sub(r"power R=(\S+),(\S+) (.*) species 21", r"power R=\2,\1 \3 species 12", name)  # each with its own shell
    return re.sub("species 21", "species 12", name)


families = pytest.mark.parametrize("name", ALL)
seeds, dimensions = st.integers(0, 10**6), st.sampled_from([2, 3])


@families
@few
@given(seed=seeds, dimension=dimensions)
def test_names_are_unique_and_columns_finite(name, seed, dimension):
    c = liquid(seed, dimension)
    X, names = ALL[name].columns(c), ALL[name].names([1, 2], dimension)
    assert X.shape == (len(c), len(names)) and len(set(names)) == len(names) and np.isfinite(X).all()
    assert len({label.split()[0] for label in names}) == (2 if name == "original" else 1)


@families
@few
@given(seed=seeds, dimension=dimensions)
def test_order_of_particles_does_not_matter(name, seed, dimension):
    c, order = liquid(seed, dimension), np.random.default_rng(seed + 1).permutation(7**dimension)
    same(ALL[name].columns(changed(c, c.positions[order], c.species[order], inherent=c.inherent[order])),
         ALL[name].columns(c)[order])


@families
@few
@given(seed=seeds, dimension=dimensions, whole=st.integers(-3, 3), part=st.floats(-7, 7))
def test_translation_and_choice_of_image_do_not_matter(name, seed, dimension, whole, part):
    c = liquid(seed, dimension)
    images = c.box * np.random.default_rng(seed).integers(-whole if whole < 0 else 0, abs(whole) + 1, c.positions.shape)
    same(ALL[name].columns(changed(c, c.positions + part + images, inherent=c.inherent + part)), ALL[name].columns(c))


@families
@few
@given(seed=seeds, dimension=dimensions)
def test_turning_and_mirroring_the_box_do_not_matter(name, seed, dimension):
    c, rng = liquid(seed, dimension), np.random.default_rng(seed)
    turn = rng.permutation(np.eye(dimension)) * rng.choice([-1, 1], dimension)  # any symmetry of the square or the cube
    same(ALL[name].columns(changed(c, c.positions @ turn, inherent=c.inherent @ turn)), ALL[name].columns(c))


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("field", "geometry")])  # cells at the rim reach into the void
@few
@given(seed=seeds, dimension=dimensions)
def test_a_droplet_may_be_turned_by_any_angle(name, seed, dimension):
    c, rng = liquid(seed, dimension), np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    turned = changed(c, c.positions @ turn, box=40.0, inherent=c.inherent @ turn)
    same(ALL[name].columns(turned), ALL[name].columns(changed(c, box=40.0)), 1e-8)


@families
@few
@given(seed=seeds, dimension=dimensions)
def test_relabelling_species_permutes_columns(name, seed, dimension):
    c, family = liquid(seed, dimension), ALL[name]
    names = family.names([1, 2], dimension)
    columns = dict(zip(names, family.columns(c).T))
    exchanged = replace(family, interaction=LAW[:, ::-1, ::-1]) if name == "field" else family
    other = exchanged.columns(changed(c, species=3 - c.species))
    same(other, np.column_stack([columns[with_species_exchanged(label)] for label in names]))
    same(family.columns(changed(c, species=np.array([0, 4, 9])[c.species])), family.columns(c))


@families
@pytest.mark.parametrize("dimension", [2, 3])
def test_a_species_that_is_missing_keeps_its_columns(name, dimension):
    c = liquid(0, dimension)
    one = changed(c, species=np.ones(len(c)))
    assert ALL[name].columns(one, [1, 2]).shape == ALL[name].columns(c, [1, 2]).shape


@pytest.mark.parametrize("name", WITHIN_CUTOFF)
@few
@given(seed=seeds, dimension=dimensions)
def test_nothing_jumps_when_a_neighbour_crosses_the_cutoff(name, seed, dimension):
    c = liquid(seed, dimension)
    away = c.positions[1:] - c.positions[0]
    away -= c.box * np.round(away / c.box)
    distance = np.linalg.norm(away, axis=1)
    nearest = np.argmin(np.abs(distance - CUTOFF))
    for step in (-1e-7, 1e-7):
        moved = c.positions.copy()
        moved[1 + nearest] = c.positions[0] + away[nearest] * (CUTOFF + step) / distance[nearest]
        X = ALL[name].columns(changed(c, moved, inherent=moved))
        if step < 0:
            before = X
    assert (np.abs(X - before).max(axis=0) <= 1e-4 * np.maximum(np.abs(before).max(axis=0), 1e-3)).all()


@pytest.mark.parametrize("name", WITHIN_CUTOFF)
@few
@given(seed=seeds, dimension=dimensions)
def test_a_system_beside_its_copy_has_the_same_descriptors_twice(name, seed, dimension):
    c = liquid(seed, dimension)
    beside = c.box * np.eye(dimension)[0]
    two = changed(c, np.vstack([c.positions, c.positions + beside]), np.tile(c.species, 2), c.box + beside,
                  np.vstack([c.inherent, c.inherent + beside]))
    same(ALL[name].columns(two), np.tile(ALL[name].columns(c), (2, 1)))


@pytest.mark.parametrize("name", WITHIN_CUTOFF)
@pytest.mark.parametrize("dimension", [2, 3])
def test_a_tiny_box_is_refused(name, dimension):
    c = liquid(0, dimension)
    with pytest.raises(ValueError, match="at most half the shortest box edge"):
        ALL[name].columns(changed(c, c.positions / 2, box=c.box / 2, inherent=c.inherent / 2))


def test_the_plane_is_not_space_with_a_flat_direction():
    """Two neighbours at a right angle: their second harmonics cancel in the plane; in space P_2(cos 90°) is -1/2."""
    flat = Configuration([[4, 4], [5, 4], [4, 5]], [1, 1, 1], 8.0)
    deep = Configuration([[4, 4, 4], [5, 4, 4], [4, 5, 4]], [1, 1, 1], 8.0)
    order, power = BondOrder([2], None, taper=0, floor=0), PowerSpectrum([2], [1.0])
    np.testing.assert_allclose(order.columns(flat)[0], [0], atol=1e-15)
    np.testing.assert_allclose(order.columns(deep)[0, 0], np.sqrt((2 - 1) / 4))
    np.testing.assert_allclose(power.columns(flat)[0], [0], atol=1e-15)
    np.testing.assert_allclose(power.columns(deep)[0], [2 - 1])


@few
@given(seed=seeds, dimension=dimensions, n=st.integers(1, 4))
def test_one_configuration_or_many(seed, dimension, n):
    many = [liquid(seed + k, dimension) for k in range(n)]
    describe = Descriptors([FAMILIES["radial"], FAMILIES["bond"]]).fit(many)
    X = describe.transform(many)
    assert X.shape == (sum(map(len, many)), len(describe.get_feature_names_out()))
    np.testing.assert_array_equal(X, np.concatenate([describe.transform(c) for c in many]))
    single = clone(describe).set_params(dtype=np.float32).fit_transform(many)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, X.astype(np.float32))


def test_mistakes_are_named():
    flat, deep = liquid(0, 2), liquid(0, 3)
    with pytest.raises(ValueError, match="families must be"):
        Descriptors([]).fit(flat)
    with pytest.raises(ValueError, match="one dimension"):
        Descriptors([FAMILIES["radial"]]).fit([flat, deep])
    describe = Descriptors([FAMILIES["radial"]]).fit(flat)
    with pytest.raises(ValueError, match="fitted in 2 dimensions"):
        describe.transform(deep)
    with pytest.raises(ValueError, match="species 7 is not among the labels 1, 2"):
        describe.transform(changed(flat, species=np.full(len(flat), 7)))
    with pytest.raises(ValueError, match="expected configurations, got ndarray"):
        describe.transform([flat.positions])
    with pytest.raises(ValueError, match="inherent"):
        Inherent(FAMILIES["radial"]).columns(Configuration(flat.positions, flat.species, flat.box))
    with pytest.raises(ValueError, match="cutoff must be positive"):
        next(neighbourhoods(flat, 0))


@pytest.mark.parametrize("make, said", [
    (lambda: RadialFunctions(cutoff=-1), "cutoff must be positive"), (lambda: RadialFunctions([]), "centres must not be empty"),
    (lambda: AngularFunctions(cutoff=np.inf), "cutoff must be positive"), (lambda: PhysicalFields(lengths=(-1,)), "lengths must be positive"),
    (lambda: PhysicalFields(lengths=1.0), "lengths must have 1 dim"), (lambda: Averaged("radial"), "must be a Family, got str"),
    (lambda: Averaged(RadialFunctions(), generations=0), "generations must be a positive integer"),
    (lambda: Inherent(InherentDistance()), "looks at positions alone"),
    (lambda: Descriptors(RadialFunctions()).fit(liquid(0, 2)), "families must be a sequence"),
    (lambda: Descriptors([RadialFunctions(), RadialFunctions()]).fit(liquid(0, 2)), "two columns are called 'radial R=")])
def test_parameters_that_cannot_be_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_families_that_differ_in_the_cutoff_have_other_names():
    describe = Descriptors([family for cutoff in (2.0, 3.0) for family in (
        RadialFunctions(cutoff=cutoff), AngularFunctions(cutoff=cutoff), BondOrder(cutoff=cutoff), PowerSpectrum(cutoff=cutoff),
        Averaged(RadialFunctions(), cutoff=cutoff))]).fit(liquid(0, 2))
    names = describe.get_feature_names_out()
    assert len(set(names)) == len(names)


def test_two_processes_and_two_dask_workers_give_the_same_bytes():
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    many = [liquid(seed, 3) for seed in range(4)]
    describe = Descriptors([FAMILIES["radial"], FAMILIES["power"]]).fit(many)
    alone = describe.transform(many).tobytes()
    assert clone(describe).set_params(n_jobs=2).fit(many).transform(many).tobytes() == alone
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, \
            distributed.Client(cluster), parallel_config(backend="dask"):
        assert len(cluster.workers) == 2
        assert describe.transform(many).tobytes() == alone
