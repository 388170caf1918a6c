"""The network as a scikit-learn estimator, and the original study's numbers."""
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import ShuffleSplit
from sklearn.utils.estimator_checks import parametrize_with_checks

from glassml.dataset import make_dataset, read_configurations
from glassml.mlp_capacity import ARCHITECTURES, MLP, train

STUDY = Path(__file__).resolve().parents[2] / "shared" / "data" / "Cnf2.xy"


@parametrize_with_checks([MLP(max_epochs=200, random_state=0), MLP((5, 5), max_epochs=100, standardise=True)])
def test_estimator(estimator, check):
    check(estimator)


@pytest.mark.skipif(not STUDY.exists(), reason=f"{STUDY} is not here")
@pytest.mark.parametrize("name, risk, pearson", [("M-2-1", 0.239, 0.660), ("M-5-5-1", 0.236, 0.663),
                                                 ("M-10-10-1", 0.241, 0.663), ("M-2-10-10-1", 0.244, 0.652)])
def test_study(name, risk, pearson):
    """Mean validation error over five random 80/20 splits is not worse than the original study's by more than 0.01."""
    data = make_dataset(read_configurations(STUDY))
    X, p = data.X, data.p
    assert X.shape == (440, 96)
    splits = list(ShuffleSplit(5, test_size=0.2, random_state=0).split(X))
    training = train(X, p, splits, ARCHITECTURES[name])
    C = [np.corrcoef(φ[v], p[v])[0, 1] for φ, (_, v) in zip(training.predict(X), splits)]
    print(f"{name}: {training.best_error.mean():.3f} ({np.mean(C):.3f}), the study {risk} ({pearson})")
    assert training.best_error.mean() < risk + 0.01
    assert np.mean(C) > pearson - 0.03
