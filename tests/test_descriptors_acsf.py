"""Symmetry functions with a cutoff against DScribe, which counts each pair once as well and takes eta = 1 / xi^2."""
import numpy as np
import pytest

from glassml.descriptors import ANGULAR_PARAMETERS, SMALL, Configuration, local_angular_functions, local_radial_functions

dscribe = pytest.importorskip("dscribe.descriptors", reason="dscribe is not installed")
ase = pytest.importorskip("ase", reason="ase is not installed")

ANGULAR = np.vstack([ANGULAR_PARAMETERS * [SMALL, 1, 1], [(1.3, -1, 3), (0.8, 1, 7), (5.0, 0.5, 5)]])


def configuration(box, n=150, seed=0):
    rng = np.random.default_rng(seed)
    return Configuration(rng.uniform(0, box, (n, 3)), rng.integers(1, 4, n), box)


def theirs(made, cutoff, **functions):
    "DScribe's columns, without the bare cutoff functions (G1) that it always adds."
    atoms = ase.Atoms(numbers=made.species, positions=made.positions, cell=made.box, pbc=True)
    acsf = dscribe.ACSF(r_cut=cutoff, species=[1, 2, 3], periodic=True, **functions)
    return acsf.create(atoms)


def agree(ours, other):
    scale = np.maximum(np.abs(other).max(axis=0), 1e-12)
    np.testing.assert_allclose(ours / scale, other / scale, rtol=0, atol=1e-10)
    np.testing.assert_allclose(ours, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("box", [[6.0, 6.0, 6.0], [5.0, 6.5, 8.0]])
def test_radial_functions_are_g2_of_dscribe(box):
    made = configuration(np.array(box))
    centres, width, cutoff = np.array([0.0, 0.7, 1.2, 2.4]), np.array([1.0, 0.1, 0.3, 0.2]), 2.5
    other = theirs(made, cutoff, g2_params=np.column_stack([1 / width**2, centres]))
    other = other.reshape(len(made), 3, 5)[:, :, 1:].swapaxes(1, 2).reshape(len(made), -1)  # theirs: species first, then G1, G2
    agree(local_radial_functions(made, centres, width, cutoff), other)


@pytest.mark.parametrize("box", [[6.0, 6.0, 6.0], [5.0, 6.5, 8.0]])
@pytest.mark.parametrize("narrow, name", [(True, "g4_params"), (False, "g5_params")])
def test_angular_functions_are_g4_and_g5_of_dscribe(box, narrow, name):
    made = configuration(np.array(box), seed=1)
    xi, lam, zeta = ANGULAR.T
    other = theirs(made, 2.5, **{name: np.column_stack([1 / xi**2, zeta, lam])})[:, 3:]
    other = other.reshape(len(made), 6, -1)[:, [0, 1, 3, 2, 4, 5]]  # theirs: pairs of species first, as 11, 12, 22, 13, 23, 33
    ours = local_angular_functions(made, ANGULAR, 2.5, narrow)
    agree(ours, other.swapaxes(1, 2).reshape(len(made), -1))
