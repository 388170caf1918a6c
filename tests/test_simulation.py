"""Making data: the exchange moves, files that survive an interruption, and the engine where it is installed."""
from dataclasses import asdict, replace
import importlib.resources
import json

import numpy as np
import pytest

from glassml import simulation
from glassml.simulation import (Recipe, energy_per_particle, equilibrate, gather, interaction_of, isoconfigurational_run,
                                neighbour_list, pair_energy, resume, save_whole, simulate, start_engine, swap_sweep,
                                thermostat)

WARM = Recipe(counts=(44, 20, 36), box=9.88, cooling=((0.5, 20), (0.4, 20)), times=(1, 10), n_configurations=2, n_runs=4)


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
            energy += pair_energy(np.hypot(*d), recipe.sigma[a][b], recipe.epsilon[a][b], recipe.cut_inner, recipe.cut)
    return energy / len(positions)


def test_energy_is_the_sum_over_pairs():
    positions, species = liquid(WARM)
    moved = positions + WARM.box * np.random.default_rng(1).integers(-2, 3, positions.shape)  # unwrapped
    expected = brute_force_energy(WARM, positions, species)
    for place in (positions, moved):
        assert energy_per_particle(WARM, place, species) == pytest.approx(expected, rel=1e-12)


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
    recipe = replace(WARM, counts=(50, 0, 50))
    positions, species = liquid(recipe)
    kinds = species - 1
    assert swap_sweep(kinds, neighbour_list(positions, recipe.box, recipe.cut), interaction_of(recipe), 1e9, 5000, 0) == 0
    assert (kinds == species - 1).all()


def test_two_states_are_visited_as_boltzmann_says():
    "One particle of species 2 among 1s, two places: the ratio of visits is exp(-difference / T)."
    recipe = Recipe(counts=(2, 1, 0), box=6.0)
    positions = np.array([[1.0, 1.0], [1.75, 1.0], [3.0, 1.3]])
    states = [np.array(s) for s in ([2, 1, 1], [1, 2, 1], [1, 1, 2])]
    weights = np.exp([-3 * energy_per_particle(recipe, positions, s) / 0.4 for s in states])
    kinds, neighbours, counts = states[0] - 1, neighbour_list(positions, recipe.box, recipe.cut), np.zeros(3)
    for seed in range(20_000):
        swap_sweep(kinds, neighbours, interaction_of(recipe), 0.4, 20, seed)
        counts[np.argmax(kinds)] += 1
    expected = weights / weights.sum()
    assert expected.max() > 2 * expected.min()  # else there is nothing to see
    np.testing.assert_allclose(counts / counts.sum(), expected, atol=4 * np.sqrt(0.25 / 20_000))


def test_save_whole_leaves_no_half_file(tmp_path, monkeypatch):
    path = tmp_path / "work.npz"

    def killed(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(simulation.np, "savez_compressed", killed)
        with pytest.raises(KeyboardInterrupt):
            save_whole(path, answer=np.arange(3))
    assert not path.exists()
    assert resume(path, lambda: dict(answer=np.arange(3)))["answer"].tolist() == [0, 1, 2]  # and the next try succeeds
    assert [f.name for f in tmp_path.iterdir()] == ["work.npz"]


def test_resume_keeps_an_existing_file_when_its_successor_fails(tmp_path, monkeypatch):
    path = tmp_path / "work.npz"
    save_whole(path, answer=np.arange(3))
    monkeypatch.setattr(simulation.os, "replace", lambda *a: pytest.fail("a finished file was made again"))
    assert resume(path, lambda: pytest.fail("finished work was computed again"))["answer"].tolist() == [0, 1, 2]


def test_simulate_continues_and_gather_takes_complete_configurations(tmp_path, monkeypatch):
    "With made-up physics: an interrupted job loses the piece in flight and computes nothing twice."
    done = []

    def chain(recipe, c):
        done.append(c)
        return dict(positions=np.full((100, 2), 9.87999999), species=np.ones(100, int), inherent=np.zeros((100, 2)),
                    energies=np.zeros(10), inherent_energy=-1.0, acceptance=0.1)

    def run(recipe, positions, species, seed):
        if len(done) == 8:
            raise KeyboardInterrupt
        done.append(seed)
        return np.full((2, 100, 2), seed, dtype=np.float32)

    monkeypatch.setattr(simulation, "equilibrate", chain)
    monkeypatch.setattr(simulation, "isoconfigurational_run", run)
    with pytest.raises(ValueError, match="no configuration"):
        gather(WARM, tmp_path, tmp_path / "data.npz")
    with pytest.raises(KeyboardInterrupt):
        simulate(WARM, tmp_path, progress=False)
    assert gather(WARM, tmp_path, tmp_path / "data.npz") == [0]
    done.append("interrupted")
    simulate(WARM, tmp_path, progress=False)
    assert len(done) == 1 + 2 + 2 * 4 and len(set(done)) == len(done)  # two chains, eight runs, each once
    assert gather(WARM, tmp_path, tmp_path / "data.npz") == [0, 1]
    with np.load(tmp_path / "data.npz") as stored:
        assert (stored["positions"] < stored["box"]).all()
        assert stored["runs"].shape == (2, 4, 100) and stored["propensity_halves"].shape == (2, 2, 2, 100)
        np.testing.assert_allclose(stored["propensity_halves"][:, -1, 0], stored["runs"][:, ::2].mean(axis=1), rtol=1e-6)
        assert json.loads(str(stored["recipe"]))["seed"] == WARM.seed
    with pytest.raises(ValueError, match="was made with seed"):
        simulate(replace(WARM, seed=1), tmp_path, progress=False)


def test_program_simulates_then_gathers(tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(simulation, "simulate", lambda recipe, folder, n_jobs: calls.append((recipe, folder, n_jobs)))
    monkeypatch.setattr(simulation, "gather", lambda recipe, folder, path: calls.append((recipe, folder, path)) or [0, 1])
    simulation.main([str(tmp_path), "out.npz", "--jobs", "2"])
    simulation.main([])
    assert calls[:2] == [(Recipe(), str(tmp_path), 2), (Recipe(), str(tmp_path), "out.npz")]
    assert calls[2:] == [(Recipe(), "_build/glass", -1),
                         (Recipe(), "_build/glass", str(importlib.resources.files("glassml") / "data" / "glass_T0.30.npz"))]
    assert "out.npz: 2 configurations" in capsys.readouterr().out


def test_gathered_file_is_the_same_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, "_glass_file", lambda recipe, c, folder: dict(
        positions=np.ones((3, 2)), inherent=np.ones((3, 2)), species=np.array([1, 2, 3]), energies=np.zeros(10),
        inherent_energy=0.0, acceptance=0.0))
    recipe = replace(WARM, n_configurations=1, n_runs=2)
    for r in range(2):
        save_whole(tmp_path / f"00_run{r:02d}.npz", displacements=np.ones((2, 3, 2)))
    for name in ("a.npz", "b.npz"):
        gather(recipe, tmp_path, tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_missing_engine_is_said_plainly(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lammps", None)
    with pytest.raises(ImportError, match=r"pip install 'glassml\[md\]'"):
        start_engine(WARM, *liquid(WARM))


def test_shipped_file():
    path = importlib.resources.files("glassml") / "data" / "glass_T0.30.npz"
    assert path.stat().st_size < 3_000_000
    with np.load(path) as stored:
        made = json.loads(str(stored["recipe"]))
        c, n = stored["species"].shape
        assert made["n_runs"] >= 16 and c >= 6 and n == sum(made["counts"])
        assert len(made["configurations"]) == c and "lammps" in made["versions"]
        for key in stored:
            assert key == "recipe" or np.isfinite(stored[key]).all(), key
        for key in ("positions", "inherent"):
            assert stored[key].dtype == np.float32 and (stored[key] >= 0).all() and (stored[key] < stored["box"]).all()
        recipe = Recipe()
        assert {k: made[k] for k in asdict(recipe)} == json.loads(json.dumps(asdict(recipe)))
        for k in range(c):  # the energies say that positions, species and interaction belong together
            inherent = energy_per_particle(recipe, stored["inherent"][k].astype(float), stored["species"][k])
            assert inherent == pytest.approx(stored["inherent_energy"][k], abs=1e-5)
            thermal = energy_per_particle(recipe, stored["positions"][k].astype(float), stored["species"][k])
            assert thermal == pytest.approx(stored["energies"].mean(), abs=0.06)  # five standard deviations of N = 1000


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
        engine.close()
        assert energy_per_particle(WARM, glass["positions"], glass["species"]) == pytest.approx(energy, rel=1e-12)
        assert energy_per_particle(WARM, glass["inherent"], glass["species"]) == pytest.approx(
            glass["inherent_energy"], rel=1e-10)
        assert -2.0 < glass["energies"].mean() < -1.65  # -1.825 in the bulk; 100 particles fluctuate by 0.02
        runs = [isoconfigurational_run(WARM, glass["positions"], glass["species"], seed) for seed in (1, 2)]
        np.testing.assert_allclose(np.mean(runs, axis=2), 0, atol=1e-6)
        assert (np.linalg.norm(runs[0], axis=-1).mean(axis=1) > 0.1).all()
        assert not np.array_equal(runs[0], runs[1])

    def test_thermostat_keeps_the_temperature(self):
        engine = start_engine(WARM, *liquid(WARM))
        engine.command("minimize 0 1e-4 1000 10000")
        thermostat(engine, WARM, 0.4, seed=1)
        engine.command("run 2000")
        samples = []
        for _ in range(400):
            engine.command("run 50")
            samples.append(engine.get_thermo("temp"))
        engine.close()
        blocks = np.reshape(samples, (10, -1)).mean(axis=1)
        assert abs(blocks.mean() - 0.4) < 4 * blocks.std(ddof=1) / np.sqrt(10)
        assert np.std(samples) == pytest.approx(0.4 / np.sqrt(99), rel=0.2)  # canonical: T sqrt(2 / 2(N - 1))

    def test_one_seed_one_result(self):
        short = replace(WARM, cooling=((0.5, 5), (0.4, 5)))
        first, again, other = equilibrate(short, 0), equilibrate(short, 0), equilibrate(short, 1)
        assert all(np.array_equal(first[k], again[k]) for k in first)
        assert not np.array_equal(first["positions"], other["positions"])
