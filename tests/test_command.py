"""The command `glassml`, as a user runs it."""
import json
import os
import re
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

from glassml import report
from glassml.dataset import read_configurations, write_configurations
from glassml.descriptors import Configuration, symmetry_function_names, symmetry_functions
from glassml.mlp_capacity import ARCHITECTURES
from glassml.report import main

PROGRAM = "import sys; from glassml.report import main; sys.exit(main())"
LINEAR = ["map_ridge", "map_lasso", "map_debias", "bayes_ridge", "bayes_lasso"]


def glassml(*arguments, cwd):
    "Run the command; its exit code, output and messages."
    done = subprocess.run([sys.executable, "-c", PROGRAM, *map(str, arguments)],
                          cwd=cwd, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def test_runs_in_three_dimensions_become_a_study(tmp_path):
    rng = np.random.default_rng(0)
    sites = np.stack(np.meshgrid(*3 * [np.arange(6.0)]), -1).reshape(-1, 3) + rng.normal(0, 0.12, (216, 3))
    softness = 0.1 + 0.1 * rng.random((1, 216, 1))
    np.savez(tmp_path / "runs.npz", types=rng.permutation(np.arange(216) % 5 // 4), initial_positions=sites,
             positions=sites + softness * rng.normal(size=(8, 216, 3)))
    code, out, err = glassml("study", "runs.npz", "--density", 1.0, "--species", 2, "--unit", 1.0, "--epochs", 30, "--out", "here",
                             "--json", cwd=tmp_path)
    assert code == 0, err
    found = json.loads(out)
    assert found == json.loads((tmp_path / "here/results.json").read_text())
    assert found["n_points"] == 43 and found["n_features"] > 20
    assert set(found["treatments"]) == set(LINEAR)
    for treatment in found["treatments"].values():
        assert set(treatment) == {"penalty", "risk_mean", "risk_std", "nll", "n_selected"}
    assert set(found["bayes_ridge"]) == {"penalty", "nll", "beta", "gamma", "gamma_bishop"}
    assert set(found["mlp"]) == set(ARCHITECTURES)
    for network in found["mlp"].values():
        assert set(network) == {"risk_mean", "risk_std", "pearson_mean", "pearson_std"}
    for sample in ("in_sample", "out_of_sample"):
        assert set(found["pearson"][sample]) == {*LINEAR, *ARCHITECTURES}
        assert all(set(value) == {"mean", "std"} for value in found["pearson"][sample].values())
    assert 0 < found["noise_ceiling"] < 1
    for suffix, count in ((".svg", 8), (".png", 8), (".md", 2), (".json", 1)):
        assert len(list((tmp_path / "here").glob(f"*{suffix}"))) == count


@pytest.mark.parametrize("text, message", [
    ("2 10\n1 1 1 .5\n", "bad.xy, line 1: announces 2 particles"),
    ("1 10\n1 1 1 x\n", "bad.xy, line 2: 'x' is not a number"),
    ("1 -10\n1 1 1 .5\n", "bad.xy, line 1: the box edge must be positive, got -10"),
    ("2 10\n1 1 1 .5\n1 1 1 .5\n", "bad.xy, line 3: same position as bad.xy, line 2"),
    ("1 10\n1 1 1.5 .5\n", "bad.xy, line 2: a species is a whole number, 0 or more, got 1.5"),
    ("1 10\n1 1 1 .5\n", "no descriptor varies"),
])
def test_a_bad_file_is_named_in_one_line(tmp_path, text, message):
    (tmp_path / "bad.xy").write_text(text)
    code, out, err = glassml("study", "bad.xy", cwd=tmp_path)
    assert code == 2 and out == ""
    assert message in err.splitlines()[-1]
    assert not (tmp_path / "glassml-study").exists()


def test_a_file_that_is_not_there(tmp_path):
    code, _, err = glassml("study", "absent.xy", cwd=tmp_path)
    assert code == 2 and err == "glassml: absent.xy: no such file\n"


COMMANDS = ["study", "report", "predict", "descriptors", "simulate", "convert"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_and_every_command_speaks_json(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    said = capsys.readouterr().out
    assert f"example: glassml {command}" in said and "--json" in said


def test_what_is_no_number_is_null(monkeypatch, capsys):
    monkeypatch.setattr(report, "_convert_command", lambda options: report._say(options, dict(a=np.nan, b=[np.inf, np.float32(0.5)]), ""))
    assert main(["convert", "a", "b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == dict(a=None, b=[None, 0.5])


QUICK = str(files("glassml") / "data" / "quick_T0.40" / "00.npz")
READS = {"study": ["study", "FILE"], "report": ["report", "FILE"], "predict": ["predict", "--train", "FILE", "--test", QUICK],
         "test": ["predict", "--train", QUICK, "--test", "FILE"], "descriptors": ["descriptors", "FILE", "--family", "radial", "--out", "o.npz"],
         "convert": ["convert", "FILE", "o.npz"], "simulate": ["simulate", "FILE", "--out", "o"]}


@pytest.fixture
def place(tmp_path, monkeypatch):
    "A folder with what is no data."
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "garbage").write_bytes(np.random.default_rng(0).bytes(999))
    (tmp_path / "taken").write_text("")
    return tmp_path


@pytest.mark.parametrize("file", ["absent", "empty", "garbage", "taken"])
@pytest.mark.parametrize("command", READS)
def test_what_is_no_data_is_named(command, file, place, capsys):
    before = sorted(place.iterdir())
    assert main([file if word == "FILE" else word for word in READS[command]]) == 2
    out, err = capsys.readouterr()
    assert err.splitlines()[-1].startswith(f"glassml: {file}") and "Traceback" not in err and not out
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize("words, said", [
    (["study", QUICK, "--species", "9"], "no particle of species 9, only 1, 2, 3"),
    (["study", QUICK, "--epochs", "0"], "--epochs must be at least 1, got 0"), (["study", QUICK, "--seed", "-1"], "--seed must be from 0 to 4294967295"),
    (["study", QUICK, "--seed", "4294967296"], "--seed must be from 0"), (["study", QUICK, "--unit", "nan"], "unit must be positive"),
    (["study", QUICK, "--density", "nan"], "density"), (["study", QUICK, "--out", "taken"], "taken is a file"),
    (["report", QUICK, QUICK, QUICK], "each configuration must be given once"), (["report", QUICK, "--out", "taken/r"], "taken, which is a file"),
    (["predict", "--train", QUICK, "--test", QUICK, "--out", "empty"], "empty must name a file"),
    (["predict", "--train", QUICK, "--test", QUICK, "--out", "/dev/full"], "/dev/full must name a file"),
    (["predict", "--train", QUICK, "--test", "other.npz", "--warm", "2", "--out", "o.npz"], "warm must be a number of runs, or 0, and needs a potential"),
    (["predict", "--train", QUICK, "--test", "other.npz", "--potential", "lancon", "--warm", "-2", "--out", "o.npz"], "got -2"),
    (["descriptors", QUICK, "--family", "field", "--potential", "ka", "--out", "o.npz"], "the potential is not that of quick_T0.40/00: its closest"),
    (["descriptors", QUICK, "--family", "field", "--potential", "ka-3d", "--out", "o.npz"], "is for 3 dimensions"),
    (["descriptors", QUICK, "--family", "field", "--potential", "two.toml", "--out", "o.npz"], "has 2 species, the configurations have 3: 1, 2, 3"),
    (["descriptors", QUICK, "--family", "radial", "--average", "-1", "--out", "o.npz"], "must be positive"),
    (["descriptors", QUICK, "--family", "radial", "--cutoff", "nan", "--out", "o.npz"], "cutoff"),
    (["convert", QUICK, "nowhere/o.npz"], "nowhere/o.npz must name a file in a folder that exists"), (["convert", QUICK, QUICK], "is to be written, and read too"),
    (["convert", QUICK, "o.txt"], "o.txt must end in .npz"), (["descriptors", QUICK, "--family", "radial", "--out", "o"], "o must end in .npz"),
    (["predict", "--train", QUICK, "--test", QUICK, "--out", "o.npy"], "o.npy must end in .npz"),
    (["simulate", "quick", "--out", "taken"], "taken is a file"), (["simulate", "quick", "--out", "o", "--jobs", "-2"], "--jobs must be positive")])
def test_mistakes_are_told_in_one_line(words, said, place, capsys):
    recipe = (files("glassml") / "recipes" / "quick.toml").read_text()
    for name, value in dict(counts="[1, 1]", density="0.001", sigma="[[1.0, 0.8], [0.8, 0.6]]", epsilon="[[1.0, 1.0], [1.0, 1.0]]").items():
        recipe = re.sub(f"(?m)^{name} = .*", f"{name} = {value}", recipe)
    (place / "two.toml").write_text(recipe)
    (place / "other.npz").write_bytes((files("glassml") / "data" / "quick_T0.40" / "01.npz").read_bytes())
    before = sorted(place.iterdir())
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert said in err.splitlines()[-1] and not out and "Traceback" not in err
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize("words", [[], ["butter"], ["study"], ["descriptors", QUICK], ["predict", "--train", QUICK], ["report", QUICK, "--time", "x"],
                                   ["convert", QUICK], ["study", QUICK, "--epochs", "1.5"]])
def test_wrong_words_end_with_2(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["convert", "--help"], ["convert", QUICK, "o.npz"], ["convert", *10 * [QUICK], "o.npz", "--json"]])
def test_what_nobody_reads_is_no_error(words, tmp_path):
    "As with `| head -1`, when head has gone: the pipe is closed before the first word."
    ours, theirs = os.pipe()
    os.close(ours)
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], cwd=tmp_path, env=buffered, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    assert done.returncode == 141 and re.fullmatch(r"(files: .*|\n)*", done.stderr), done.stderr


def test_what_cannot_be_said_is_an_error(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", PROGRAM, "convert", QUICK, "o.npz"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr.splitlines()[-1] == "glassml: [Errno 28] No space left on device"


def test_more_processes_than_cores_are_not_started(monkeypatch):
    monkeypatch.setattr(report, "cpu_count", lambda: 3)
    assert [report._processes(jobs) for jobs in (-1, 1, 3, 10**30)] == [-1, 1, 3, 3]


def test_a_folder_is_needed_for_the_results(tmp_path):
    (tmp_path / "taken").write_text("")
    code, _, err = glassml("study", "absent.xy", "--out", "taken", cwd=tmp_path)
    assert code == 2 and "--out taken is a file" in err


def test_convert_keeps_what_it_read(tmp_path):
    (tmp_path / "a.xy").write_text("2 10\n1 1 1 .5\n2 2 3 .25\n")
    code, out, err = glassml("convert", "a.xy", "a.npz", cwd=tmp_path)
    assert code == 0 and "a.xy: study xy, configurations: 1, particles: 2" in out, err
    [c] = read_configurations(tmp_path / "a.npz")
    assert c.positions.tolist() == [[1, 1], [2, 2]] and c.species.tolist() == [1, 3] and c.propensity.tolist() == [0.5, 0.25]
    code, out, err = glassml("convert", "a.npz", "absent.xy", "b.npz", cwd=tmp_path)
    assert code == 2 and "absent.xy: no such file" in err and not (tmp_path / "b.npz").exists()


@pytest.mark.parametrize("arguments, message", [
    (["butter"], "butter: no such file, and no recipe of that name; there are ka-2d"),
    (["mine.toml"], "mine.toml: density must be positive, got -1"),
    (["quick", "--jobs", "0"], "--jobs must be positive, or -1 for all cores, got 0"),
])
def test_simulate_says_what_is_wrong(tmp_path, arguments, message):
    quick = (files("glassml") / "recipes" / "quick.toml").read_text()
    (tmp_path / "mine.toml").write_text(re.sub("density = .*", "density = -1", quick))
    code, out, err = glassml("simulate", *arguments, "--out", "here", cwd=tmp_path)
    assert code == 2 and message in err and not (tmp_path / "here").exists()


def test_descriptors_of_files(tmp_path):
    quick = files("glassml") / "data" / "quick_T0.40"
    code, out, err = glassml("descriptors", quick / "00.npz", quick / "01.npz", "--family", "original", "--out", "X.npz", cwd=tmp_path)
    assert code == 0, err
    assert "500 particles, 213 columns, written to X.npz" in out
    with np.load(tmp_path / "X.npz") as found:
        configurations = [read_configurations(quick / name)[0] for name in ("00.npz", "01.npz")]
        np.testing.assert_array_equal(found["X"], np.vstack([symmetry_functions(c) for c in configurations]))
        assert found["names"].tolist() == symmetry_function_names() and found["sources"].tolist() == ["quick_T0.40/00", "quick_T0.40/01"]
        np.testing.assert_array_equal(found["species"], np.concatenate([c.species for c in configurations]))
        assert np.bincount(found["configuration"]).tolist() == [250, 250]


def test_descriptors_at_rest_and_averaged(tmp_path):
    c = read_configurations(files("glassml") / "data" / "quick_T0.40" / "00.npz")[0]
    write_configurations(tmp_path / "one.npz", Configuration(c.positions, c.species, c.box))
    arguments = ["descriptors", "one.npz", "--family", "radial", "field", "rest", "--inherent", "--out", "X.npz"]
    code, out, err = glassml(*arguments, cwd=tmp_path)
    assert code == 2 and "inherent_structure" in err and not (tmp_path / "X.npz").exists()
    code, out, err = glassml(*arguments, "--potential", "lancon-2d", "--average", 0.5, 1, "--single", cwd=tmp_path)
    assert code == 0, err
    with np.load(tmp_path / "X.npz") as found:
        assert found["X"].dtype == np.float32 and found["X"].shape == (250, len(found["names"])) and np.isfinite(found["X"]).all()
        kinds = {name.split()[0] for name in found["names"].tolist()}
        assert kinds == {"radial", "field", "rest", "averaged"} and "field inherent energy L=0" in found["names"]
    for wrong, said in [(["butter"], "'butter'"), (["radial", "radial"], "two columns are called 'radial R=0.5"),
                        (["radial", "--cutoff", "9"], "at most half the shortest box edge"), (["original", "--unit", "-1"], "unit must be positive"),
                        (["radial", "--jobs", "0"], "--jobs must be positive")]:
        code, out, err = glassml("descriptors", "one.npz", "--out", "Y.npz", "--family", *wrong, cwd=tmp_path)
        assert code == 2 and said in err and not (tmp_path / "Y.npz").exists()
    code, out, err = glassml("descriptors", "one.npz", "--family", "radial", "--out", "nowhere/Y.npz", cwd=tmp_path)
    assert code == 2 and "must name a file in a folder that exists" in err


ACCURACY = {"pooled", "per_configuration", "mean", "ceiling_pooled", "ceiling_per_configuration", "error", "mean_error"}


def test_a_report_is_one_page(tmp_path):
    quick = [files("glassml") / "data" / "quick_T0.40" / f"0{k}.npz" for k in range(4)]
    code, said, err = glassml("report", *quick, "--potential", "lancon", "--species", 0, "--jobs", 1, "--json", "--out", "a", cwd=tmp_path)
    assert code == 0, err
    a = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert set(a) == {"report.html", "report.json", "map.svg", "accuracy.svg", "correlation.svg", "reliability.svg",
                      "learning.svg", "relevance.svg"}
    found = json.loads(said, parse_constant=pytest.fail)
    assert found == json.loads(a["report.json"]) and found["particles"] == 440 and found["files"] == [str(file) for file in quick]
    assert all(set(scores) == ACCURACY for model in found["accuracy"].values() for scores in model.values())
    assert set(found["relevance"]["alone"]) >= {"energy", "density"} and found["learning_curve"]["sizes"] == [1, 2]
    page = a["report.html"].decode()
    assert all(word in page for word in ("Methods, for your paper", "Please cite", "doi:10.1103", "numpy", "seed 0", "noise of the runs"))
    assert not re.search(r"""(src|href)=["'](?!data:)|@import|url\(""", page) and page.count("<img") == page.count(' alt="') == 6
    assert f"{found['accuracy']['best recipe']['left_out']['mean']:.3f} ±" in page


def test_a_report_needs_configurations_with_propensity(tmp_path):
    quick = files("glassml") / "data" / "quick_T0.40"
    code, _, err = glassml("report", quick / "00.npz", "--out", "r", cwd=tmp_path)
    assert code == 2 and "needs at least 3, got 1" in err and not (tmp_path / "r").exists()
    for k in range(3):
        write_configurations(tmp_path / f"{k}.npz", [Configuration(np.random.default_rng(k).random((50, 2)) * 7, np.ones(50, int), 7.0)])
    code, _, err = glassml("report", "0.npz", "1.npz", "2.npz", cwd=tmp_path)
    assert code == 2 and "propensity" in err, err
