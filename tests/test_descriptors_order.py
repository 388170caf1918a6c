"""Bond-orientational order and power spectra against scipy, sympy and freud, and the symmetries they must have."""
from itertools import product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

from glassml.descriptors import (BondOrder, Configuration, PowerSpectrum, _order_rows, _wigner_3j, density_coefficients, harmonics,
                                 minimum_image)

ALIKE = dict(shells=None, cutoff=1.4, taper=0, floor=0)


def liquid(dimension, n=400, seed=0):
    "Particles near a square or cubic lattice, so that none are too close, at positions that float32 holds exactly."
    rng = np.random.default_rng(seed)
    m = round(n ** (1 / dimension))
    sites = np.array(list(product(range(m), repeat=dimension))) + 0.5
    positions = (sites + rng.uniform(-0.25, 0.25, sites.shape)).astype(np.float32)
    return Configuration(positions, rng.integers(1, 3, len(positions)), float(m))


def weighted_vectors(configuration, i, R, width, cutoff, taper):
    "Vectors to all other particles within the cutoff and their weights in a shell, in plain numpy."
    vectors = minimum_image(np.delete(configuration.positions, i, axis=0) - configuration.positions[i], configuration.box)
    r = np.linalg.norm(vectors, axis=1)
    vectors, r = vectors[r < cutoff], r[r < cutoff]
    ramp = np.clip((r - cutoff + taper) / taper, 0, 1) if taper else np.zeros(len(r))
    return vectors, (1 + np.cos(np.pi * ramp)) / 2 * (1 if R is None else np.exp(-((r - R) ** 2) / (2 * width**2)))


def scipy_order(configuration, i, l, R=None, width=1.0, cutoff=1.4, taper=0.0, floor=0.0):
    "q_l and w_l of particle i with the complex harmonics of scipy and the 3j symbols of sympy."
    wigner_3j = pytest.importorskip("sympy.physics.wigner").wigner_3j
    v, weight = weighted_vectors(configuration, i, R, width, cutoff, taper)
    polar, azimuth = np.arctan2(np.hypot(v[:, 0], v[:, 1]), v[:, 2]), np.arctan2(v[:, 1], v[:, 0])
    z = np.array([(weight * sph_harm_y(l, m, polar, azimuth)).sum() for m in range(-l, l + 1)])
    z *= np.sqrt(4 * np.pi / (2 * l + 1)) / (weight.sum() + floor)
    q2 = (np.abs(z) ** 2).sum()
    w = sum(float(wigner_3j(l, l, l, a, b, -a - b)) * z[l + a] * z[l + b] * z[l - a - b]
            for a in range(-l, l + 1) for b in range(-l, l + 1) if abs(a + b) <= l)
    return np.sqrt(q2), (w / (q2 + floor**2) ** 1.5).real


@pytest.mark.parametrize("l", range(1, 13))
def test_harmonics_are_those_of_scipy(l):
    v = np.random.default_rng(l).normal(size=(50, 3))
    polar, azimuth = np.arctan2(np.hypot(v[:, 0], v[:, 1]), v[:, 2]), np.arctan2(v[:, 1], v[:, 0])
    ours = harmonics(v, l)[_order_rows(l, 3)]
    for m in range(l + 1):
        theirs = np.sqrt(4 * np.pi / (2 * l + 1)) * (-1) ** m * sph_harm_y(l, m, polar, azimuth)
        scale = np.sqrt(2) if m else 1
        np.testing.assert_allclose(ours[l + m], scale * theirs.real, atol=1e-12)
        if m:
            np.testing.assert_allclose(ours[l - m], scale * theirs.imag, atol=1e-12)


@pytest.mark.parametrize("l", [1, 2, 3, 4, 6, 10, 12])
def test_3j_symbols_are_those_of_sympy(l):
    wigner = pytest.importorskip("sympy.physics.wigner")
    for a, b in product(range(-l, l + 1), repeat=2):
        if abs(a + b) <= l:
            assert abs(_wigner_3j(l, a, b) - float(wigner.wigner_3j(l, l, l, a, b, -a - b))) < 1e-13


def test_bond_order_is_that_of_scipy_and_sympy():
    configuration = liquid(3, 125)
    sharp = BondOrder(orders=[1, 4, 6], **ALIKE)
    smooth = BondOrder(orders=[1, 4, 6], shells=[1.1], width=0.2, cutoff=2.0, taper=0.4)
    for i in (0, 17, 63):
        for family, arguments in [(sharp, {}), (smooth, dict(R=1.1, width=0.2, cutoff=2.0, taper=0.4, floor=1e-3))]:
            expected = [scipy_order(configuration, i, l, **arguments) for l in (1, 4, 6)]
            np.testing.assert_allclose(family.columns(configuration)[i],
                                       [q for q, _ in expected] + [w for _, w in expected[1:]], rtol=1e-10, atol=1e-10)


def test_psi_is_the_mean_of_exponentials():
    configuration = liquid(2, 100)
    family = BondOrder(shells=[0.9, 1.3], width=0.15, cutoff=2.5, taper=0.3, floor=0)
    X = family.columns(configuration).reshape(len(configuration), len(family.orders), 2)
    for i, (n, R) in product((0, 50), enumerate(family.shells)):
        v, weight = weighted_vectors(configuration, i, R, 0.15, 2.5, 0.3)
        mean = [abs(np.average(np.exp(1j * m * np.arctan2(v[:, 1], v[:, 0])), weights=weight)) for m in family.orders]
        np.testing.assert_allclose(X[i, :, n], mean, rtol=1e-10, atol=1e-12)


# freud works in single precision, its own sums over harmonics included: 1.3e-5 at worst here

def freud_neighbours(configuration, cutoff):
    "A box, positions and the neighbour list of freud."
    freud = pytest.importorskip("freud", reason="freud is not installed: pip install freud-analysis")
    d = configuration.positions.shape[1]
    box = freud.box.Box(*configuration.box, is2D=d == 2)
    positions = np.zeros((len(configuration), 3), dtype=np.float32)
    positions[:, :d] = configuration.positions - configuration.box / 2
    query = freud.locality.AABBQuery(box, positions).query(positions, dict(r_max=cutoff, exclude_ii=True))
    return freud, (box, positions), query.toNeighborList()


def test_steinhardt_order_is_that_of_freud():
    configuration = liquid(3)
    freud, system, neighbours = freud_neighbours(configuration, 1.4)
    family = BondOrder(orders=range(2, 11), **ALIKE)
    ours = dict(zip(family.names([1, 2], 3), family.columns(configuration).T))
    for l in family.orders:
        q = ours[f"bond q{l} r<1.4"]
        np.testing.assert_allclose(q, freud.order.Steinhardt(l=l).compute(system, neighbors=neighbours).particle_order, atol=2e-5)
        if l % 2 == 0:  # the rounding of single precision grows as 1 / q when w is divided by q³
            w = freud.order.Steinhardt(l=l, wl=True, wl_normalize=True).compute(system, neighbors=neighbours).particle_order
            np.testing.assert_allclose(q * ours[f"bond w{l} r<1.4"], q * w, atol=2e-5)


def test_hexatic_order_is_that_of_freud():
    configuration = liquid(2)
    freud, system, neighbours = freud_neighbours(configuration, 1.4)
    family = BondOrder(**ALIKE)
    for m, psi in zip(family.orders, family.columns(configuration).T):
        theirs = freud.order.Hexatic(k=m).compute(system, neighbors=neighbours).particle_order
        np.testing.assert_allclose(psi, np.abs(theirs), atol=2e-5)


# symmetries

FAMILIES = [BondOrder(cutoff=2.5), BondOrder(by_species=True, cutoff=2.5), BondOrder(shells=None, cutoff=1.6, taper=0.3),
            PowerSpectrum(cutoff=2.5)]


def close(a, b):
    "Alike to 1e-9 of the largest value."
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dimension", [2, 3])
def test_turns_mirrors_and_labels_change_nothing(family, dimension):
    rng = np.random.default_rng(3)
    droplet = liquid(dimension, 125).positions
    species = rng.integers(1, 3, len(droplet))
    before = family.columns(Configuration(droplet, species, 50.0))
    turn = np.eye(dimension)
    turn[:2, :2] = [[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]]
    if dimension == 3:
        turn = Rotation.random(random_state=1).as_matrix()
    mirror = np.diag([-1.0] + [1.0] * (dimension - 1))
    order = rng.permutation(len(droplet))
    close(family.columns(Configuration(droplet @ turn.T + 20, species, 50.0)), before)
    close(family.columns(Configuration(droplet @ mirror, species, 50.0)), before)
    close(family.columns(Configuration(droplet[order], species[order], 50.0)), before[order])
    swapped = family.columns(Configuration(droplet, 3 - species, 50.0), labels=[2, 1])
    close(swapped, before)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dimension", [2, 3])
def test_a_neighbour_fades_out(family, dimension):
    box = np.full(dimension, 12.0)
    rest = np.ones(dimension)
    for company in ([], [[1.0] + [0.0] * (dimension - 1)]):
        at = [family.columns(Configuration(np.vstack([rest, *(rest + c for c in company), rest + np.eye(dimension)[1] * r]),
                                           [1] * (2 + len(company)), box))[0] for r in (family.cutoff - 1e-6, family.cutoff + 1e-6)]
        assert np.abs(at[0] - at[1]).max() < 1e-6


def test_coefficients_of_order_zero_count_neighbours():
    configuration = liquid(3)
    count = np.zeros((len(configuration), 2))
    for rows, c in density_coefficients(configuration, None, 1.0, 0, cutoff=1.4, taper=0):
        count[rows] = c[:, :, 0, 0]
    r = np.linalg.norm(minimum_image(configuration.positions - configuration.positions[:, None], configuration.box), axis=2)
    near = (r < 1.4) & ~np.eye(len(r), dtype=bool)
    expected = np.column_stack([near[:, configuration.species == s].sum(axis=1) for s in (1, 2)])
    np.testing.assert_allclose(count, expected, rtol=1e-14)
