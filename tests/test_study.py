"""The numbers of the original study, from its own files in ../shared/data."""
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import ShuffleSplit

from glassml.dataset import make_dataset, read_configurations
from glassml.linear import (STUDY_LASSO_PENALTIES, BayesRidge, MAPLasso, evidence, evidence_minima, relative_duality_gap,
                            risk_curve)
from glassml.original_study import STUDY_RISKS, map_protocol

DATA = Path(__file__).parents[1] / "../shared/data"


@pytest.fixture(scope="module", params=["Cnf1", "Cnf2"])
def both(request):
    return study_data(request.param)


@pytest.fixture(scope="module")
def cnf2():
    return study_data("Cnf2")


def study_data(name):
    path = DATA / f"{name}.xy"
    if not path.exists():
        pytest.skip(f"needs {path}, which is not part of the project")
    return make_dataset(read_configurations(path))


def test_cleaning_leaves_440_points_and_96_columns(both):
    assert both.X.shape == (440, 96)


def test_evidence_of_cnf2(cnf2):
    model = BayesRidge().fit(cnf2.X, cnf2.p)
    assert model.penalty_ == pytest.approx(285.9, rel=1e-3)
    assert model.nll_ == pytest.approx(0.797596, abs=1e-6)
    assert model.beta_ == pytest.approx(4.39, abs=0.005)
    assert model.gamma_ == pytest.approx(17.7, abs=0.05)


def test_evidence_of_cnf2_on_the_grid_of_the_study(cnf2):
    found = evidence(cnf2.X, cnf2.p, np.logspace(-2, 8, 21))
    best = found.nll.argmin()
    assert found.penalties[best] == pytest.approx(316.2, rel=1e-3)
    assert found.nll[best] == pytest.approx(0.797644, abs=1e-6)
    assert found.beta[best] == pytest.approx(4.374, abs=1e-3)
    assert found.gamma[best] == pytest.approx(18.2, abs=0.05)


def test_evidence_of_cnf1_is_lowest_at_a_large_penalty_beyond_a_shoulder():
    cnf1 = study_data("Cnf1")
    minima = evidence_minima(cnf1.X, cnf1.p)
    assert minima.penalties[0] == pytest.approx(1.12e6, rel=0.02) and minima.nll[0] == pytest.approx(0.8016, abs=1e-3)
    shoulder = evidence(cnf1.X, cnf1.p, [1e3, 1e5]).nll
    assert abs(np.ptp(shoulder)) < 0.01 and shoulder.min() > minima.nll[0]  # level over two decades, and not the lowest


@pytest.fixture(scope="module")
def curves(cnf2):
    return map_protocol(cnf2.X, cnf2.p)


@pytest.mark.parametrize("name", STUDY_RISKS)
def test_risk_minima_lie_within_the_split_to_split_error(curves, name):
    _, theirs, scatter, nll = STUDY_RISKS[name]
    curve = curves[name]
    risks = curve.risks[:, curve.best]
    assert risks.mean() == pytest.approx(theirs, abs=scatter)
    assert risks.std() == pytest.approx(scatter, rel=0.5)
    assert curve.nlls[:, curve.best].mean() == pytest.approx(nll, abs=curve.nlls[:, curve.best].std())


def test_every_lasso_solution_has_converged(cnf2, curves):
    splits = ShuffleSplit(15, test_size=0.1, random_state=0).split(cnf2.X)
    for weights, (train, _) in zip(curves["map_lasso"].weights, splits, strict=True):
        X, p = cnf2.X[train] - cnf2.X[train].mean(axis=0), cnf2.p[train] - cnf2.p[train].mean()
        assert max(relative_duality_gap(X, p, w, t) for w, t in zip(weights, STUDY_LASSO_PENALTIES)) <= 1e-6


def test_the_lasso_keeps_as_many_columns_as_the_study_says(curves):
    lasso = curves["map_lasso"]
    per_trial = (lasso.weights[:, lasso.best] != 0).sum(axis=1)
    assert lasso.penalty == 10
    assert 15 <= per_trial.min() and per_trial.max() <= 20
    assert abs(lasso.selected_in_any_trial.sum() - 23) <= 3


def test_a_selection_that_has_seen_the_validation_points_looks_better(cnf2):
    differences = []
    for seed in range(4):
        curves = map_protocol(cnf2.X, cnf2.p, seed)
        inside, union = (curves[k].risks[:, curves[k].best].mean() for k in ("map_debias", "map_debias_union"))
        differences.append(inside - union)
    assert min(differences) > 0


def test_the_lasso_minimum_lies_below_the_grid_of_the_study(cnf2):
    curve = risk_curve(MAPLasso(), cnf2.X, cnf2.p, np.geomspace(0.5, 100, 40), ShuffleSplit(15, test_size=0.1, random_state=0))
    assert 1 < curve.penalty < 10
