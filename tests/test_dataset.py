"""Readers: every format as it should be, damaged, and hostile; and the way through our own archive and back."""
import dataclasses
import json
import os
import pickle
import random
import struct
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from glassml import dataset
from glassml.dataset import (READERS, convert, iter_configurations, load_glass, make_dataset, read_configurations,
                             recognise, write_configurations)
from glassml.descriptors import Configuration

DATA = Path(__file__).parents[1] / "../shared/data"
N, R, T = 6, 4, 3
RNG = np.random.default_rng(0)
BOX = 5.0
START = RNG.uniform(0, BOX, (N, 3))
TYPES = np.array([0, 0, 1, 0, 1, 1])
MOVES = RNG.normal(0, 0.2, (T, R, N, 3))
DENSITY = N / BOX**3


# --- a file in each format

def xy_text(rows=N):
    lines = [f"{x} {y} {s + 1} {p} 0.5 0.25" for (x, y, _), s, p in zip(START, TYPES, RNG.uniform(0, 1, N))]
    return "\n".join([f"{N} {BOX}", *lines[:rows]]) + "\n"


def isoconfigurational(**changed):
    return dict(types=TYPES.astype(np.int8), initial_positions=START, positions=START + MOVES[-1], box=BOX,
                initial_positions_inherent=START - 0.1, temperature=np.array("0.23"), tau=np.float64(3.5)) | changed


def model(**changed):
    grows = np.sort(RNG.uniform(0, 1, (T, N)), axis=0)
    return dict(types=TYPES + 1, initial_positions=START, initial_positions_inherent=START - 0.1, md_prop=grows,
                bb_prop=grows / 2, initial_positions_cage=START + 0.1, BOTAN=RNG.normal(size=(T, N)),
                PSI6=RNG.normal(size=N).astype("f4")) | changed


def bapst(n_times=T, **changed):
    ends = [list(START + runs) for runs in MOVES[:n_times]]
    return dict(positions=np.asfortranarray(START), types=TYPES.astype("i4"), box=np.full(3, BOX),
                time=[0.0, 0.5, 1.5, 4.5], time_indices=[2, 1, 3], is_values=np.array([0.6, 0.9, 0.3]),
                trajectory_target_positions=ends, targets=list(np.linalg.norm(MOVES, axis=-1).mean(axis=1)),
                metadata={"temperature": 0.44, "fluid": "Kob Andersen"}) | changed


def xyz_text(frames=2, lattice=f'Lattice="{BOX} 0 0 0 {BOX} 0 0 0 {BOX}" ', names="AB"):
    properties = "species:S:1:pos:R:3:forces:R:3:propensity:R:1:index:I:1"
    text = ""
    for frame in range(frames):
        text += f'{N}\n{lattice}Properties={properties} energy=-1.5 Time={frame} note="a b"\n'
        for i, (place, s) in enumerate(zip((START + frame / 10).tolist(), TYPES)):
            text += " ".join(map(str, [names[s], *place, 0.1, 0.2, i / 3, i / 10, i])) + "\n"
    return text


def dump_text(frames=2, columns="id type x y z ix vx q", rows=N, bounds=f"0 {BOX}\n" * 3):
    text = ""
    for frame in range(frames):
        text += f"ITEM: TIMESTEP\n{100 * frame}\nITEM: NUMBER OF ATOMS\n{N}\n"
        text += f"ITEM: BOX BOUNDS pp pp pp\n{bounds}ITEM: ATOMS {columns}\n"
        for i in reversed(range(rows)):
            x, y, z = START[i].tolist()
            known = dict(id=i + 1, type=TYPES[i] + 1, x=x, y=y, z=z, xs=x / BOX, ys=y / BOX, zs=z / BOX, xu=x, yu=y,
                         zu=z, ix=-1, vx=i / 3, q=0.1, element="AB"[TYPES[i]])
            text += " ".join(str(known[name]) for name in columns.split()) + "\n"
    return text


def write(folder, name, changed=None, text=None):
    "Write a file in one of the formats; return its path and the density it needs."
    changed = changed or {}
    endings = {"study xy": "xy", "Bapst pickle": "pickle", "extended XYZ": "xyz", "LAMMPS dump": "dump"}
    path = folder / f"a.{endings.get(name, 'npz')}"
    if name == "study xy":
        path.write_text(text or xy_text())
    elif name == "extended XYZ":
        path.write_text(text or xyz_text())
    elif name == "LAMMPS dump":
        path.write_text(text or dump_text())
    elif name == "Bapst pickle":
        path.write_bytes(pickle.dumps(bapst(**changed), protocol=3))
    elif name == "isoconfigurational npz":
        np.savez(path, **isoconfigurational(**changed))
    elif name == "GlassBench model npz":
        np.savez(path, **model(**changed))
    else:
        write_configurations(path, full())
    return path, DENSITY if name == "GlassBench model npz" else None


def full(**changed):
    "A configuration in which every field is set."
    extra = {"T": 0.3, "recipe": {"seed": [1, 2], "x": None}, "cage": START, "names": np.array(["a", "ß"])}
    return Configuration(**dict(positions=START, species=TYPES + 1, box=BOX, propensity=np.ones(N),
                                runs=np.ones((R, N)), inherent=START - 0.1, descriptors=np.eye(N),
                                times=[1, 2, 4], displacements=MOVES,
                                series={"displacement": np.ones((T, R, N)), "bond breaking": np.zeros((T, 2, N))},
                                extra=extra, name="all") | changed)


needs_ase = pytest.mark.skipif(find_spec("ase") is None, reason="needs ASE, the extra glassml[ase]")
FORMATS = [pytest.param(name, marks=[needs_ase] if name in ("extended XYZ", "LAMMPS dump") else []) for name in READERS]


def same(a, b):
    "Assert that two configurations agree in every field, to the last bit."
    for field in dataclasses.fields(Configuration):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, dict):
            assert x.keys() == y.keys(), field.name
            for key in x:
                same_value(x[key], y[key], f"{field.name} {key}")
        else:
            same_value(x, y, field.name)


def same_value(x, y, what):
    if isinstance(x, np.ndarray):
        assert isinstance(y, np.ndarray) and (x.dtype, x.shape) == (y.dtype, y.shape), what
        assert x.tobytes() == y.tobytes(), what
    else:
        assert type(x) is type(y) and repr(x) == repr(y), what


# --- each format is recognised, read, and converted without loss

@pytest.mark.parametrize("name", FORMATS)
def test_format_is_recognised_and_a_round_trip_loses_nothing(name, tmp_path):
    path, density = write(tmp_path, name)
    assert recognise(path) == name
    read = read_configurations(path, density)
    [report] = convert(path, tmp_path / "out" if name == "study xy" else tmp_path / "out.npz", density)
    assert report == (path, name, len(read), N * len(read))
    again = read_configurations(tmp_path / ("out" if name == "study xy" else "out.npz"))
    assert len(again) == len(read)
    for a, b in zip(read, again):
        same(a, b)
        assert a.extra["format"] == name if name != "glassml npz" else "format" not in a.extra
        assert sorted(set(a.species)) == [1, 2]


@pytest.mark.parametrize("pattern, density", [
    ("Cnf1.xy", None), ("botan_ka_T0.44/*_1_tc07.npz", 1.2), ("glassbench_ka2d/*_tc35_*.npz", None),
    ("glassy_dynamics_test_large.pickle", None), ("glassy_dynamics_test_small.pickle", None)])
def test_round_trip_of_published_files(pattern, density, tmp_path):
    found = sorted(DATA.glob(pattern))
    if not found:
        pytest.skip(f"needs {DATA / pattern}, which is not part of the project")
    [read] = read_configurations(found, density)
    convert(found, tmp_path / "out.npz", density)
    [again] = read_configurations(tmp_path / "out.npz")
    same(read, again)
    assert set(read.species) == {1000: {1, 2, 3}, 1290: {1, 2, 3}, 4096: {1, 2}, 20: {1}}[len(read)]


def test_shipped_data_survive_a_round_trip(tmp_path):
    glass = load_glass("quick_T0.40")
    write_configurations(tmp_path / "glass.npz", glass)
    for a, b in zip(glass, read_configurations(tmp_path / "glass.npz"), strict=True):
        same(a, b)


def test_shipped_data_are_asked_for_by_name():
    with pytest.raises(ValueError, match="no shipped data are called 'T0.5'; there are glass_T0.30, quick_T0.40"):
        load_glass("T0.5")


def test_nothing_of_an_archive_is_left_behind(tmp_path):
    path, _ = write(tmp_path, "isoconfigurational npz")
    [c] = read_configurations(path)
    np.testing.assert_array_equal(c.positions, START)
    np.testing.assert_array_equal(c.inherent, START - 0.1)
    np.testing.assert_allclose(c.displacements[0], MOVES[-1], atol=1e-15)
    np.testing.assert_allclose(c.propensity, np.linalg.norm(MOVES[-1], axis=-1).mean(axis=0))
    assert c.extra == {"format": "isoconfigurational npz", "temperature": "0.23", "tau": 3.5}


def test_models_bring_series_and_predictions(tmp_path):
    wanted = model()
    np.savez(tmp_path / "m.npz", **wanted)
    [c] = read_configurations(tmp_path / "m.npz", DENSITY)
    np.testing.assert_array_equal(c.series["displacement"][:, 0], wanted["md_prop"])
    np.testing.assert_array_equal(c.series["bond breaking"][:, 0], wanted["bb_prop"])
    np.testing.assert_array_equal(c.propensity, wanted["md_prop"][-1])
    for key in ("BOTAN", "PSI6", "initial_positions_cage"):
        same_value(wanted[key], c.extra[key], key)


def test_bonds_that_are_left_are_turned_into_bonds_that_are_lost(tmp_path):
    lost = np.linspace(0, 0.5, T)[:, None] * np.ones(N)
    np.savez(tmp_path / "m.npz", **model(bb_prop=1 - lost))
    [c] = read_configurations(tmp_path / "m.npz", DENSITY)
    np.testing.assert_allclose(c.series["bond breaking"][:, 0], lost)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_any_protocol_come_in_order_of_time(protocol, tmp_path):
    path = tmp_path / "a.pickle"
    data = bapst()
    path.write_bytes(pickle.dumps(data, protocol=protocol))
    [c] = read_configurations(path)
    assert c.times.tolist() == [0.5, 1.5, 4.5]
    assert c.extra["is_values"].tolist() == [0.9, 0.6, 0.3] and c.extra["time_indices"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(c.displacements, MOVES[[1, 0, 2]], atol=1e-15)
    np.testing.assert_array_equal(c.series["displacement"][:, 0], np.array(data["targets"])[[1, 0, 2]])
    np.testing.assert_array_equal(c.propensity, data["targets"][2])
    assert c.runs.shape == (R, N) and c.extra["metadata"] == data["metadata"] and c.extra["time"] == data["time"]


def test_trajectories_at_some_times_only_are_kept(tmp_path):
    path, _ = write(tmp_path, "Bapst pickle", dict(n_times=1))
    [c] = read_configurations(path)
    assert c.displacements is None and c.runs is None
    assert c.extra["trajectory_times"].tolist() == [1.5]
    assert c.extra["trajectory_target_positions"].shape == (1, R, N, 3)


def test_published_targets_are_the_means_over_published_runs():
    path = DATA / "glassy_dynamics_test_large.pickle"
    if not path.exists():
        pytest.skip(f"needs {path}, which is not part of the project")
    [c] = read_configurations(path)
    ends = c.extra["trajectory_target_positions"][0]
    [first] = np.flatnonzero(c.times == c.extra["trajectory_times"][0])
    with open(path, "rb") as file:
        start = pickle.load(file)["positions"]  # a file that we know
    lengths = np.linalg.norm(ends - start, axis=-1)
    np.testing.assert_allclose(lengths.mean(axis=0), c.series["displacement"][first, 0], atol=1e-12)


@needs_ase
def test_extended_xyz_keeps_every_column(tmp_path):
    path, _ = write(tmp_path, "extended XYZ")
    first, second = read_configurations(path)
    np.testing.assert_array_equal(first.positions, START)
    assert first.species.tolist() == (TYPES + 1).tolist() and first.extra["species names"] == ["A", "B"]
    np.testing.assert_array_equal(first.propensity, np.arange(N) / 10)
    assert first.extra["forces"].shape == (N, 3) and first.extra["index"].tolist() == list(range(N))
    assert (second.extra["energy"], second.extra["Time"], second.extra["note"]) == (-1.5, 1, "a b")
    assert (first.name, second.name) == ("a.xyz, frame 0", "a.xyz, frame 1")


@needs_ase
def test_extended_xyz_that_ase_writes(tmp_path):
    import ase.io
    atoms = ase.Atoms("Ni4P2", positions=START, cell=[BOX] * 3, pbc=True)
    ase.io.write(tmp_path / "a.xyz", [atoms, atoms], format="extxyz")
    for c in read_configurations(tmp_path / "a.xyz"):
        np.testing.assert_allclose(c.positions, START, atol=1e-8)
        assert c.species.tolist() == [1, 1, 1, 1, 2, 2] and c.extra["species names"] == ["Ni", "P"]


@needs_ase
@pytest.mark.parametrize("columns", ["id type x y z ix vx q", "type x y z", "id type xs ys zs", "id type xu yu zu",
                                     "id element x y z", "id type element x y z", "id type x y z xu yu zu"])
def test_lammps_dumps_keep_every_column(columns, tmp_path):
    path, _ = write(tmp_path, "LAMMPS dump", text=dump_text(columns=columns))
    first, second = read_configurations(path)
    order = slice(None) if "id" in columns else slice(None, None, -1)
    np.testing.assert_allclose(first.positions, START[order], rtol=1e-15)
    assert first.species.tolist() == (TYPES + 1)[order].tolist()
    assert (first.extra["timestep"], second.extra["timestep"]) == (0, 100)
    if "element" in columns:
        assert first.extra["species names"] == ["A", "B"]
        assert "type" not in columns or first.extra["element"].tolist() == first.species.tolist()
    if "vx" in columns:
        np.testing.assert_array_equal(first.extra["vx"], np.arange(N) / 3)
        assert first.extra["ix"].tolist() == [-1] * N and first.extra["q"].tolist() == [0.1] * N
    if "x y z xu" in columns:
        np.testing.assert_array_equal(first.extra["zu"], START[:, 2])


@needs_ase
def test_lammps_dumps_keep_time_units_and_origin(tmp_path):
    text = dump_text(bounds=f"-1 {BOX - 1}\n" * 3).replace("ITEM: TIMESTEP", "ITEM: TIME\n0.5\nITEM: TIMESTEP")
    path, _ = write(tmp_path, "LAMMPS dump", text="ITEM: UNITS\nlj\n" + text)
    first, second = read_configurations(path)
    assert (first.extra["units"], first.extra["time"], second.extra["time"]) == ("lj", "0.5", "0.5")
    assert first.extra["origin"].tolist() == [-1, -1, -1] and first.box.tolist() == [BOX] * 3


@needs_ase
def test_flat_trajectories_are_two_dimensional(tmp_path):
    text = dump_text(columns="id type x y", bounds=f"0 {BOX}\n" * 2 + "-0.5 0.5\n")
    path, _ = write(tmp_path, "LAMMPS dump", text=text)
    for c in read_configurations(path):
        assert c.positions.shape == (N, 2) and c.box.tolist() == [BOX, BOX]


@needs_ase
def test_ase_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    path, _ = write(tmp_path, "extended XYZ")
    monkeypatch.setitem(__import__("sys").modules, "ase.io.extxyz", None)
    with pytest.raises(ImportError, match=r"pip install 'glassml\[ase\]'"):
        read_configurations(path)


# --- species, boxes, places

def test_a_mixture_labelled_from_0_is_the_one_labelled_from_1(tmp_path):
    species = []
    for labels in (TYPES, TYPES + 1):
        path, _ = write(tmp_path, "isoconfigurational npz", dict(types=labels))
        species.append(read_configurations(path)[0].species.tolist())
    assert species[0] == species[1] == (TYPES + 1).tolist()


def test_each_file_is_judged_by_its_own_labels(tmp_path):
    np.savez(tmp_path / "a.npz", **isoconfigurational(types=TYPES))
    np.savez(tmp_path / "b.npz", **isoconfigurational(types=[1, 1, 2, 2, 3, 3]))  # no 0: as it stands
    np.savez(tmp_path / "c.npz", **isoconfigurational(types=[0, 0, 1, 1, 2, 2]))
    a, b, c = read_configurations(tmp_path)
    assert a.species.tolist() == (TYPES + 1).tolist()
    assert b.species.tolist() == c.species.tolist() == [1, 1, 2, 2, 3, 3]


def test_text_files_may_count_species_from_0_and_have_any_number(tmp_path):
    for labels, expected in (([0, 1, 2, 0, 1, 2], [1, 2, 3, 1, 2, 3]), ([1, 2, 3, 4, 5, 9], [1, 2, 3, 4, 5, 9])):
        rows = [f"{x} {y} {s} 0.5\n" for (x, y, _), s in zip(START, labels)]
        path, _ = write(tmp_path, "study xy", text=f"{N} {BOX}\n{''.join(rows)}")
        assert read_configurations(path)[0].species.tolist() == expected


def test_positions_outside_the_box_are_folded(tmp_path):
    far = START + 3 * BOX
    path, _ = write(tmp_path, "isoconfigurational npz", dict(initial_positions=far, positions=far + MOVES[0]))
    [c] = read_configurations(path)
    np.testing.assert_allclose(c.positions, START, atol=1e-12)
    np.testing.assert_allclose(c.displacements[0], MOVES[0], atol=1e-12)
    assert "wrapped" not in c.extra


@pytest.mark.parametrize("name", ["isoconfigurational npz", "Bapst pickle"])
def test_wrapped_runs_are_unwrapped_where_that_is_sound(name, tmp_path):
    moves = MOVES + [0, 0, 0.3]
    ends = np.mod(START + moves, BOX)
    assert (np.abs(ends - START) > BOX / 2).any()
    given = lambda ends: (dict(positions=ends[-1]) if name.startswith("iso")
                          else dict(trajectory_target_positions=[list(e) for e in ends]))
    path, _ = write(tmp_path, name, given(ends))
    [c] = read_configurations(path)
    assert c.extra["wrapped"] is True
    np.testing.assert_allclose(c.displacements[-1], moves[-1], atol=1e-12)
    if name.startswith("iso"):  # a box that is a little too small hides nothing
        path, _ = write(tmp_path, name, given(ends) | dict(box=BOX * 0.995))
        assert read_configurations(path)[0].extra["wrapped"] is True
    path, _ = write(tmp_path, name, given(np.mod(START + moves + [2, 0, 0], BOX)))
    with pytest.raises(ValueError, match="must be unwrapped"):
        read_configurations(path)


@pytest.mark.parametrize("name", [p for p in FORMATS if p.values[0] != "GlassBench model npz"])
def test_a_density_that_differs_from_the_box_is_refused(name, tmp_path):
    path, _ = write(tmp_path, name)
    right = N / BOX**2 if name == "study xy" else DENSITY
    assert read_configurations(path, right * 1.005)[0].box[0] == BOX
    with pytest.raises(ValueError, match=f"{path.name}.*the box of the file makes it"):
        read_configurations(path, right * 1.02)


# --- folders and lists

def test_folders_are_read_in_natural_order_without_hidden_files(tmp_path):
    for name in ("run10.xy", "run2.xy", "Run1.xy"):
        (tmp_path / name).write_text(xy_text())
    (tmp_path / ".hidden").write_text("no data")
    (tmp_path / "deeper").mkdir()
    assert [c.name for c in read_configurations(tmp_path)] == ["Run1.xy", "run2.xy", "run10.xy"]
    assert len(read_configurations([tmp_path, str(tmp_path / "run2.xy")])) == 4
    (tmp_path / "README.md").write_text("about these data\n")
    with pytest.raises(ValueError, match="README.md, line 1: not a format that is known"):
        next(iter_configurations(tmp_path))


def test_lists_of_nothing_are_refused(tmp_path):
    for paths, said in (([], "no file given"), (tmp_path, "no file in this folder")):
        with pytest.raises(ValueError, match=said):
            read_configurations(paths)
    with pytest.raises(FileNotFoundError, match="absent.xy"):
        read_configurations([tmp_path / "absent.xy"])


def test_files_are_opened_when_their_turn_comes(tmp_path, monkeypatch):
    for name in "abc":
        np.savez(tmp_path / f"{name}.npz", **isoconfigurational())
    opened, load = [], dataset._load
    monkeypatch.setattr(dataset, "_load", lambda path, *needed: opened.append(path.name) or load(path, *needed))
    found = iter_configurations(tmp_path)
    next(found)
    assert opened == ["a.npz"]
    list(found)
    assert opened == ["a.npz", "b.npz", "c.npz"]


@needs_ase
def test_archives_and_trajectories_are_read_one_configuration_at_a_time(tmp_path, monkeypatch):
    write_configurations(tmp_path / "a.npz", [full()] * 5)
    read, get = [], dataset._get
    monkeypatch.setattr(dataset, "_get", lambda archive, name, *rest: read.append(name) or get(archive, name, *rest))
    next(iter_configurations(tmp_path / "a.npz"))
    assert all(name in ("glassml", "sha256") or name.startswith("0/") for name in read)
    path, _ = write(tmp_path, "extended XYZ", text=xyz_text() + "damaged\n")
    assert next(iter_configurations(path)).name == "a.xyz, frame 0"


# --- damaged files are refused by name

BAD = [
    ("isoconfigurational npz", dict(positions=START), "positions must have 3 dimensions"),
    ("isoconfigurational npz", dict(positions=(START + MOVES[0])[:, 1:]), "positions must have shape"),
    ("isoconfigurational npz", dict(positions=np.full((R, N, 3), np.nan)), "positions must be finite, got nan"),
    ("isoconfigurational npz", dict(initial_positions=START[[0, 0, 1, 2, 3, 4]]), "particle 1: same position as"),
    ("isoconfigurational npz", dict(initial_positions_inherent=START[1:]), "inherent must have shape"),
    ("isoconfigurational npz", dict(types=TYPES[1:]), "species must have shape"),
    ("isoconfigurational npz", dict(types=TYPES - 1), "species must not be negative, got -1"),
    ("isoconfigurational npz", dict(box=0.0), "box edges must be positive"),
    ("GlassBench model npz", dict(md_prop=np.ones(N)), "md_prop must have 2 dimensions"),
    ("GlassBench model npz", dict(md_prop=np.ones((T, N + 1))), "md_prop must have shape"),
    ("GlassBench model npz", dict(md_prop=-np.ones((T, N))), "propensity must hold lengths"),
    ("GlassBench model npz", dict(bb_prop=np.full((T, N), np.inf)), "bb_prop must be finite, got inf"),
    ("GlassBench model npz", dict(types=TYPES + 0.5), "species must be integers"),
    ("GlassBench model npz", dict(initial_positions=START[[0, 0, 1, 2, 3, 4]]), "particle 1: same position as"),
    ("Bapst pickle", dict(positions=START[:, :1]), "positions must be"),
    ("Bapst pickle", dict(positions=START * np.nan), "positions must be finite"),
    ("Bapst pickle", dict(positions=START[[0, 0, 1, 2, 3, 4]]), "particle 1: same position as"),
    ("Bapst pickle", dict(types=TYPES[1:]), "species must have shape"),
    ("Bapst pickle", dict(time_indices=[1, 2, 9]), "time_indices must point to"),
    ("Bapst pickle", dict(time_indices=[1, 1, 2]), "times must be positive and increase"),
    ("Bapst pickle", dict(targets=[np.ones(N)] * 2), "targets must have 3 entries of one shape"),
    ("Bapst pickle", dict(targets=[np.ones(N + 1)] * 3), "targets must have shape"),
    ("Bapst pickle", dict(is_values=1.0), "is_values must have 3 entries"),
    ("Bapst pickle", dict(trajectory_target_positions=[[START[1:]]]), "trajectory_target_positions must have shape"),
    ("Bapst pickle", dict(trajectory_target_positions="far away"), "trajectory_target_positions must"),
    ("Bapst pickle", dict(targets=[np.ones(N), np.ones(2), np.ones(N)]), "targets must have 3 entries of one shape"),
]


@pytest.mark.parametrize("name, changed, said", BAD)
def test_bad_arrays_are_refused_by_name(name, changed, said, tmp_path):
    path, density = write(tmp_path, name, changed)
    with pytest.raises(ValueError) as caught:
        read_configurations(path, density)
    assert str(caught.value).startswith(str(path)) and said in str(caught.value)


@pytest.mark.parametrize("key", ["positions", "types", "time", "time_indices"])
def test_missing_keys_of_a_pickle_are_named(key, tmp_path):
    data = bapst()
    del data[key]
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(data, protocol=4))
    with pytest.raises(ValueError, match=f"a.pickle: there is no {key}, only"):
        read_configurations(tmp_path / "a.pickle")


def test_missing_boxes_are_asked_for(tmp_path):
    for name, data in (("a.npz", model()), ("b.pickle", bapst())):
        data.pop("box", None)
        path = tmp_path / name
        np.savez(path, **data) if name.endswith("npz") else path.write_bytes(pickle.dumps(data, protocol=4))
        with pytest.raises(ValueError, match=f"{name}: the file has no box; give its density"):
            read_configurations(path)
        np.testing.assert_allclose(read_configurations(path, DENSITY)[0].box, BOX)


TEXTS = [
    ("study xy", xy_text(N - 1), "a.xy, line 1: announces 6 particles, but 5"),
    ("study xy", xy_text().replace(" 2 ", " nan "), "every number must be finite"),
    ("extended XYZ", xyz_text(lattice=""), "frame 0: the file has no box"),
    ("extended XYZ", xyz_text()[:-200], "frame 1: 6 particles are announced"),
    ("extended XYZ", xyz_text().replace(str(START[2, 1]), "nan"), "frame 0: positions must be finite"),
    ("extended XYZ", xyz_text().replace(str(START[2, 1]), "x"), "frame 0: could not convert"),
    ("extended XYZ", xyz_text(lattice=f'Lattice="{BOX} 1 0 0 {BOX} 0 0 0 {BOX}" '), "frame 0: the box must be right"),
    ("extended XYZ", xyz_text(lattice=f'Lattice="{BOX} 0 0 0 -1 0 0 0 {BOX}" '), "frame 0: box edges must be positive"),
    ("extended XYZ", xyz_text(1) + "seven\n", "frame 1: invalid literal"),
    ("extended XYZ", "3\nProperties=species:S:1\nA\nB\nC\n", "frame 0"),
    ("LAMMPS dump", dump_text(rows=N - 1, frames=1), "frame 0: 6 particles are announced, but 5 rows"),
    ("LAMMPS dump", dump_text(rows=N - 1), "a.dump"),
    ("LAMMPS dump", dump_text().replace(str(float(START[2, 1])), "nan"), "frame 0: positions must be finite"),
    ("LAMMPS dump", dump_text(columns="id type y z"), "frame 0"),
    ("LAMMPS dump", dump_text(columns="id x y z"), "frame 0"),
    ("LAMMPS dump", dump_text(columns="x y z element").replace(" A\n", "\n", 1), "frame 0: list index"),
    ("LAMMPS dump", dump_text() + "ITEM: TIMESTEP\n7\n", "frame 2: the last frame is cut off"),
    ("LAMMPS dump", "ITEM: TIMESTEP\n7\nITEM: ATOMS id type x y z\n1 1 1 1 1\n", "ITEM: NUMBER OF ATOMS"),
]


@pytest.mark.parametrize("name, text, said", [pytest.param(*row, marks=[] if row[0] == "study xy" else [needs_ase])
                                              for row in TEXTS])
def test_bad_texts_are_refused_by_name(name, text, said, tmp_path):
    path, _ = write(tmp_path, name, text=text)
    with pytest.raises(ValueError) as caught:
        read_configurations(path)
    assert str(caught.value).startswith(str(path)) and said in str(caught.value)


@needs_ase
@pytest.mark.parametrize("name", ["extended XYZ", "LAMMPS dump"])
def test_two_particles_on_one_point_are_named(name, tmp_path):
    text = xyz_text(1) if name == "extended XYZ" else dump_text(1)
    for axis in range(3):
        text = text.replace(str(float(START[4, axis])), str(float(START[1, axis])))
    path, _ = write(tmp_path, name, text=text)
    with pytest.raises(ValueError, match="frame 0, particle 4: same position as .*frame 0, particle 1"):
        read_configurations(path)


@pytest.mark.parametrize("name", ["isoconfigurational npz", "GlassBench model npz", "Bapst pickle", "glassml npz"])
def test_files_cut_anywhere_are_refused_by_name(name, tmp_path):
    path, density = write(tmp_path, name)
    whole = path.read_bytes()
    for length in [1, 2, 10, *range(30, len(whole) - 1, len(whole) // 40), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=str(path)):
            read_configurations(path, density)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 255))
def test_a_flipped_byte_is_noticed(tmp_path_factory, where, flip):
    folder = tmp_path_factory.mktemp("flip")
    path, _ = write(folder, "glassml npz")
    data = bytearray(path.read_bytes())
    data[where % len(data)] ^= flip
    path.write_bytes(data)
    try:
        [c] = read_configurations(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        same(c, full())  # a byte that means nothing, such as a date


# --- our own archive

def rewritten(path, change):
    "Change one array of an archive without telling its checksum."
    with zipfile.ZipFile(path) as archive:
        data = {name: archive.read(name) for name in archive.namelist()}
    change(data)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in data.items():
            archive.writestr(name, content)


def test_checksums_are_verified(tmp_path):
    path, _ = write(tmp_path, "glassml npz")
    rewritten(path, lambda data: data.update({"0/runs.npy": data["0/runs.npy"][:-1] + b"\x01"}))
    with pytest.raises(ValueError, match="a.npz: 0/runs is damaged, its checksum is wrong"):
        read_configurations(path)
    path, _ = write(tmp_path, "glassml npz")
    rewritten(path, lambda data: data.update({"glassml.npy": data["sha256.npy"]}))
    with pytest.raises(ValueError, match="a.npz: glassml is damaged"):
        read_configurations(path)
    path, _ = write(tmp_path, "glassml npz")
    rewritten(path, lambda data: data.pop("0/times.npy"))
    with pytest.raises(ValueError, match="a.npz: .*0/times"):
        read_configurations(path)


def test_a_later_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "VERSION", 2)
    write_configurations(tmp_path / "a.npz", full())
    monkeypatch.undo()
    with pytest.raises(ValueError, match="version 2 of the format; this package reads version 1"):
        read_configurations(tmp_path / "a.npz")


def test_the_same_configurations_give_the_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_configurations(tmp_path / name, [full(), full(name="other")])
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_an_archive_appears_when_it_is_complete(tmp_path):
    def some():
        yield full()
        raise RuntimeError("killed")

    (tmp_path / "a.npz").write_text("what was there")
    with pytest.raises(RuntimeError, match="killed"):
        write_configurations(tmp_path / "a.npz", some())
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
    assert (tmp_path / "a.npz").read_text() == "what was there"
    with pytest.raises(ValueError, match="no configuration to write"):
        write_configurations(tmp_path / "b.npz", [])


def test_single_precision_rounds_everything_but_boxes_and_times(tmp_path):
    write_configurations(tmp_path / "a.npz", full(box=np.pi, times=[0.1, 0.2, 0.3]), dtype=np.float32)
    with np.load(tmp_path / "a.npz") as archive:
        kinds = {name: archive[name].dtype for name in archive.files}
    assert {name for name, kind in kinds.items() if kind == np.float64} == {"0/box", "0/times"}
    [c] = read_configurations(tmp_path / "a.npz")
    assert c.box[0] == np.pi
    np.testing.assert_allclose(c.displacements, MOVES, rtol=1e-6)


@pytest.mark.parametrize("value", [object(), {1: 2}, (1, 2), {"a": np.ones(2)}, np.array([None]), {1, 2}, b"bytes", 1j])
def test_what_cannot_be_written_is_named(value, tmp_path):
    with pytest.raises(ValueError, match="extra.*odd.*cannot be written"):
        write_configurations(tmp_path / "a.npz", full(extra={"odd": value}))
    assert not list(tmp_path.iterdir())


def test_convert_refuses_to_write_over_what_it_reads(tmp_path):
    path, _ = write(tmp_path, "study xy")
    with pytest.raises(ValueError, match="is to be written, and read too"):
        convert(tmp_path, path)


KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                      lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3),
                      max_leaves=6)
ARRAYS = hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))


def floats(shape, low=-1e6):
    return hnp.arrays(float, shape, elements=st.floats(low, 1e6))


@st.composite
def configurations(draw):
    "Configurations in which any field may be there or not."
    n, d, r = draw(st.integers(1, 4)), draw(st.integers(2, 3)), draw(st.integers(1, 3))
    times = draw(st.none() | st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=3, unique=True).map(sorted))
    t = draw(st.integers(1, 3)) if times is None else len(times)
    maybe = lambda shape, low=-1e6: draw(st.none() | floats(shape, low))
    species = draw(hnp.arrays(int, n, elements=st.integers(1, 99)))
    return Configuration(draw(floats((n, d))), species, draw(floats(d, 1e-3)), propensity=maybe(n, 0),
                         runs=maybe((r, n), 0), inherent=maybe((n, d)), times=times,
                         descriptors=maybe((n, r)), displacements=maybe((t, r, n, d)), name=draw(st.text(max_size=8)),
                         series=draw(st.dictionaries(KEYS, floats((t, r, n)), max_size=2)),
                         extra=draw(st.dictionaries(KEYS, VALUES | ARRAYS, max_size=3)))


@settings(max_examples=100, deadline=None)
@given(st.lists(configurations(), min_size=1, max_size=3))
def test_whatever_is_written_is_read_back(tmp_path_factory, many):
    path = tmp_path_factory.mktemp("fuzz") / "a.npz"
    write_configurations(path, iter(many))
    assert recognise(path) == "glassml npz"
    for a, b in zip(many, read_configurations(path), strict=True):
        same(a, b)


# --- pickles that are no data

class Calls:
    "Pickles as the call of a function."

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def raw(module, name, arguments=b")", build=b""):
    "A protocol-2 pickle that calls a global by name."
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + arguments + b"R" + build + b"."


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def stack_global(module, name, rest=b")R."):
    return b"\x80\x04" + text(module) + text(name) + b"\x93" + rest


def doubled(value, kind=list, times=60):
    "A value twice in a container, that twice in another, and so on."
    for _ in range(times):
        value = kind([value, value])
    return value


MARKER = "touched-by-a-pickle"
HOSTILE = {
    **{f"os.system, protocol {p}": (pickle.dumps(Calls(os.system, f"touch {MARKER}"), p), ".system") for p in range(6)},
    **{f"eval within data, protocol {p}": (pickle.dumps(bapst(metadata=Calls(eval, f"open('{MARKER}', 'w')")), p), "")
       for p in range(6)},
    "exec": (pickle.dumps(Calls(exec, f"open('{MARKER}', 'w')")), "builtins.exec"),
    "open": (pickle.dumps(Calls(open, MARKER, "w")), "io.open"),
    "getattr": (pickle.dumps(Calls(getattr, "", "join")), "builtins.getattr"),
    "mkdir": (pickle.dumps(Calls(os.mkdir, MARKER)), ".mkdir"),
    "numpy.load": (raw("numpy", "load"), "numpy.load"),
    "numpy.save": (pickle.dumps(Calls(np.save, MARKER, [1])), "numpy.save"),
    "numpy.fromfile": (raw("numpy", "fromfile"), "numpy.fromfile"),
    "numpy.core.multiarray.fromfile": (raw("numpy.core.multiarray", "fromfile"), "numpy.core.multiarray.fromfile"),
    "numpy.f2py": (raw("numpy.f2py", "compile"), "numpy.f2py.compile"),
    "numpy.f2py.diagnose": (raw("numpy.f2py.diagnose", "run_command"), "numpy.f2py.diagnose.run_command"),
    "runstring": (raw("numpy.testing._private.utils", "runstring"), "runstring"),
    "numpy's os": (stack_global("numpy", "os.system"), "numpy.os.system"),
    "a dotted name": (stack_global("numpy", "ndarray.__class__.__base__"), "numpy.ndarray.__class__"),
    "a dotted core": (stack_global("numpy._core.multiarray", "os.system"), "numpy._core.multiarray.os.system"),
    "stack global": (stack_global("posix", "system"), "posix.system"),
    "inst": (b"(S'touch " + MARKER.encode() + b"'\nios\nsystem\n.", "os.system"),
    "obj": (b"\x80\x02(cos\nsystem\n" + text("x") + b"o.", "os.system"),
    "newobj": (b"\x80\x02csubprocess\nPopen\n)\x81.", "subprocess.Popen"),
    "a global alone": (b"\x80\x02cos\nsystem\n.", "os.system"),
    "copyreg": (raw("copyreg", "_reconstructor"), "copyreg._reconstructor"),
    "codecs without a text": (raw("_codecs", "encode"), "cannot be read"),
    "codecs with another code": (raw("_codecs", "encode", text("x") + text("zlib") + b"\x86"), "encoded by 'zlib'"),
    "a decoder": (raw("_codecs", "decode", text("x") + text("latin1") + b"\x86"), "_codecs.decode"),
    "bytes with a state": (raw("_codecs", "encode", text("x") + text("latin1") + b"\x86", b"}b"), "with a state"),
    "build on bytes": (b"\x80\x02c_codecs\nencode\n}" + text("fill") + b"Nsb.", "cannot be read"),
    "an extension": (b"\x80\x02\x82\x01.", "cannot be read"),
    "a persistent id": (b"\x80\x02" + text("x") + b"Q.", "cannot be read"),
    "a persistent id, protocol 0": (b"Px\n.", "cannot be read"),
    "build on a class": (b"\x80\x02cnumpy\nndarray\n}" + text("fill") + b"Nsb.", "cannot be read"),
    "build on a class by slots": (b"\x80\x02cnumpy\nndarray\nN}" + text("fill") + b"Ns\x86b.", "cannot be read"),
    "build on a type": (b"\x80\x02cnumpy\ndtype\nN}" + text("__init__") + b"Ns\x86b.", "cannot be read"),
    "objects": (pickle.dumps({"positions": np.array([None], object)}, protocol=4), "refused: an array of type 'O8'"),
    "a field of objects": (pickle.dumps({"x": np.zeros(2, [("a", "O"), ("b", "i4")])}, 4), "array of type 'V12'"),
    "numbers with fields": (pickle.dumps({"x": np.zeros(2, [("a", "f4"), ("b", "i4")])}, 4), "array of type 'V8'"),
    "dates": (pickle.dumps({"x": np.zeros(2, "M8[s]")}, protocol=4), "refused: an array of type 'M8'"),
    "text with commas": (raw("numpy", "dtype", text("f8,O") + b"\x85"), "refused: an array of type 'f8,O'"),
    "a dictionary as type": (raw("numpy", "dtype", b"}" + text("names") + b"]s\x85"), "refused: an array of type"),
    "fields by state": (raw("numpy", "dtype", text("f8") + b"\x85",
                            b"(K\x03" + text("<") + b"N]}J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"),
                        "refused: an array of a compound type"),
    "no dictionary": (pickle.dumps([1, 2]), "must hold a dictionary, got list"),
    "a loop": (b"\x80\x02]q\x00h\x00a.", "refused: unfolded"),
    "a list twice in a list, and so on": (pickle.dumps(doubled([]), 2), "refused: unfolded"),
    "a tuple twice in a tuple, and so on": (pickle.dumps({"x": doubled((), tuple)}, 4), "refused: unfolded"),
    "a dictionary twice in a dictionary": (pickle.dumps(doubled({}, lambda pair: dict(enumerate(pair))), 4), "unfolded"),
    "an array twice in a list, and so on": (pickle.dumps({"x": doubled(np.zeros(9))}, 4), "refused: unfolded"),
    "one array in many places": (pickle.dumps({"x": [np.zeros(999)] * 99}, 4), "refused: unfolded"),
    "nothing": (b"\x80\x04.", "cannot be read"),
    "a long that lies": (b"\x80\x02\x8b\xff\xff\xff\x7f.", "cannot be read"),
    "a memo that lies": (b"\x80\x02]r\xff\xff\xff\x7f.", "refused: place 2147483647 of the memo"),
    "a frame that lies": (b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"].", "cannot be read"),
    "a bytearray that lies": (b"\x80\x05\x96" + struct.pack("<Q", 2**34) + b".", "cannot be read"),
    "bytes that lie": (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".", "cannot be read"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_and_not_run(name, tmp_path, monkeypatch):
    content, said = HOSTILE[name]
    monkeypatch.chdir(tmp_path)
    stand_ins = {c: dict(vars(c)) for c in (dataset._Array, dataset._Type, dataset._Scalar, dataset._Buffer, dataset._Bytes)}
    path = tmp_path / "bad.pickle"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_configurations(path)
    assert str(caught.value).startswith(f"{path}: ") and said in str(caught.value), caught.value
    assert [p.name for p in tmp_path.iterdir()] == ["bad.pickle"]
    assert all(dict(vars(c)) == before for c, before in stand_ins.items())


def test_an_array_larger_than_its_bytes_is_refused(tmp_path):
    good = pickle.dumps(np.zeros(3), protocol=2 + 1)
    bad = good.replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85", 1)
    assert bad != good
    (tmp_path / "a.pickle").write_bytes(bad)
    with pytest.raises(ValueError, match="a.pickle"):
        read_configurations(tmp_path / "a.pickle")


def test_noise_in_a_pickle_raises_nothing_else(tmp_path):
    good = pickle.dumps(bapst(n_times=1), protocol=4)
    path = tmp_path / "a.pickle"
    noise = random.Random(0)
    for _ in range(500):
        bad = bytearray(good)
        for _ in range(noise.randint(1, 4)):
            bad[noise.randrange(2, len(bad))] = noise.randrange(256)
        path.write_bytes(bad)
        try:
            read_configurations(path)
        except ValueError as error:
            assert str(path) in str(error)


def test_numpy_2_and_numpy_1_names_are_both_read(tmp_path):
    new = pickle.dumps(bapst(), protocol=3)
    assert b"numpy._core.multiarray" in new
    old = new.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    found = []
    for content in (new, old):
        (tmp_path / "a.pickle").write_bytes(content)
        found += read_configurations(tmp_path / "a.pickle")
    same(*found)


def test_what_is_met_twice_is_no_harm_as_such(tmp_path):
    shared = np.arange(3.0)
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(bapst(is_values=shared, metadata={"more": [shared, shared]}), 4))
    [c] = read_configurations(tmp_path / "a.pickle")
    assert c.extra["is_values"].tolist() == [1, 0, 2] and c.extra["metadata"]["more"].tolist() == [[0, 1, 2]] * 2


def test_the_path_of_a_scalar(tmp_path):
    data = bapst(metadata={"temperature": np.float64(0.44), "seed": np.int64(7), "note": np.str_("x")})
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(data, protocol=4))
    [c] = read_configurations(tmp_path / "a.pickle")
    assert json.dumps(c.extra["metadata"]) == '{"temperature": 0.44, "seed": 7, "note": "x"}'


# --- data sets

def test_make_dataset_wants_configurations():
    for given, said in (("a.xy", "'a.xy'"), (Path("a.xy"), "a.xy"), ([full(), "b"], "'b'")):
        with pytest.raises(ValueError, match=f"expected Configuration, got .*{said}.*; use read_configurations"):
            make_dataset(given)


def test_descriptors_from_files_and_computed_ones_do_not_mix():
    with pytest.raises(ValueError, match="first brings descriptors and second does not"):
        make_dataset([full(name="first"), full(name="second", descriptors=None)])
