"""The explorer's controls, without a browser."""
import matplotlib
import pytest

matplotlib.use("Agg")

from glassml.dataset import load_glass
from glassml.explorer import explore, view_particle


def test_the_controls_follow_each_other():
    glass = load_glass()
    which, particle, _ = explore(glass[:2]).children
    assert particle.max == len(glass[0]) - 1
    particle.value = 7
    which.value = 1
    assert particle.value == 7


def test_a_particle_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="between 0 and 999, got 1000"):
        view_particle(load_glass()[0], 1000)
