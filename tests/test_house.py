"""The rules of the house: what the checkout must look like, and that each check notices when it does not."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import nbformat
import pytest
import yaml
from nbdev.process import NBProcessor
from nbdev.processors import rm_export
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import build_site  # noqa: E402
import house  # noqa: E402
import readme  # noqa: E402
from check_site import check_site  # noqa: E402

NOTEBOOKS = {path.name: house.read(path) for path in sorted((ROOT / "nbs").glob("[!._]*.ipynb"))}
PICTURE = new_output("display_data", {"image/svg+xml": "<svg/>"})


def script(name, cwd):
    "Run one of nbdev's commands in a folder."
    env = {key: value for key, value in os.environ.items() if key != "IN_TEST"}
    subprocess.run([Path(sys.executable).parent / name], cwd=cwd, env=env, check=True, capture_output=True, timeout=600)


def copy_of_checkout(folder, root=ROOT):
    "Copy what nbdev reads, without data, into a folder."
    shutil.copy(root / "settings.ini", folder)
    shutil.copytree(root / "nbs", folder / "nbs", ignore=shutil.ignore_patterns(".*", "_*"))
    shutil.copytree(root / "glassml", folder / "glassml", ignore=shutil.ignore_patterns("__pycache__", "data"))
    return folder


def texts(folder, pattern):
    "The text of the files in a folder, by name."
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob(pattern)}


def differing(a, b):
    "The names under which two dictionaries differ."
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def export_differences(folder):
    "The modules in `folder` that are not what nbdev_export writes; the folder is changed."
    before = texts(folder / "glassml", "*.py")
    for path in (folder / "glassml").glob("*.py"):
        if path.name != "__init__.py":
            path.unlink()
    script("nbdev_export", folder)
    return differing(before, texts(folder / "glassml", "*.py"))


def cleaning_differences(folder):
    "The notebooks in `folder` that nbdev_clean changes; the folder is changed."
    before = texts(folder / "nbs", "*.ipynb")
    script("nbdev_clean", folder)
    return differing(before, texts(folder / "nbs", "*.ipynb"))


def small_project(folder):
    "A project of one notebook, exported and clean."
    for name in ("nbs", "glassml"):
        (folder / name).mkdir()
    shutil.copy(ROOT / "settings.ini", folder)
    cells = [new_code_cell("#| default_exp thing", id="a"), new_code_cell("#| export\ndef f(): return 1", id="b")]
    nbformat.write(new_notebook(cells=cells), folder / "nbs" / "00_thing.ipynb")
    script("nbdev_export", folder)
    script("nbdev_clean", folder)
    return folder


# --- modules and notebooks agree

def test_modules_are_what_the_notebooks_export(tmp_path):
    changed = export_differences(copy_of_checkout(tmp_path))
    assert not changed, f"not what the notebooks say: {changed}; run nbdev_export, or nbdev_update to keep an edit of a module"


def test_export_check_notices_an_edited_module(tmp_path):
    project = small_project(tmp_path)
    assert export_differences(project) == []
    module = project / "glassml" / "thing.py"
    module.write_text(module.read_text().replace("return 1", "return 2"))
    assert export_differences(project) == ["thing.py"]


def test_export_check_notices_a_module_without_a_notebook(tmp_path):
    project = small_project(tmp_path)
    (project / "glassml" / "orphan.py").write_text("x = 1\n")
    assert "orphan.py" in export_differences(project)


def test_notebooks_are_clean(tmp_path):
    changed = cleaning_differences(copy_of_checkout(tmp_path))
    assert not changed, f"not clean: {changed}; run nbdev_clean"


def test_cleanness_check_notices_a_counted_cell(tmp_path):
    project = small_project(tmp_path)
    assert cleaning_differences(project) == []
    path = project / "nbs" / "00_thing.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].execution_count = 7
    nbformat.write(notebook, path)
    assert cleaning_differences(project) == ["00_thing.ipynb"]


# --- reading order

def test_no_chapter_imports_a_later_one():
    exported = house.modules(NOTEBOOKS.items())
    for notebook, module in exported.items():
        assert re.fullmatch(rf"\w\d_{module}\.ipynb", notebook), f"{notebook} exports {module}: the names must agree"
    order = list(exported.values())
    sources = {module: house.code(NOTEBOOKS[notebook]) for notebook, module in exported.items()}
    appendices = [module for notebook, module in exported.items() if notebook.startswith("A")]
    assert not (complaints := house.import_complaints(order, sources, appendices)), "\n".join(complaints)


@pytest.mark.parametrize("line", ["from glassml.b import f", "from .b import f", "from . import b", "from glassml import b",
                                  "import glassml.b", "def f():\n    from glassml.b import g"])
def test_import_check_notices_every_way_to_import(line):
    assert house.import_complaints(["a", "b"], {"a": line, "b": ""}) == ["a imports b, which comes later"]
    assert house.import_complaints(["b", "a"], {"a": line, "b": "import numpy"}) == []
    assert house.import_complaints(["a", "b"], {"a": line, "b": ""}, appendices=["b"]) == ["a imports b, which comes later"]
    assert house.import_complaints(["a", "b"], {"a": line, "b": ""}, appendices=["a", "b"]) == []


def test_chapters_come_before_appendices():
    pairs = [(name, new_notebook(cells=[new_code_cell(f"#| default_exp {name[3:-6]}")]))
             for name in ("A0_tool.ipynb", "10_late.ipynb", "02_early.ipynb")]
    assert list(house.modules(pairs).values()) == ["early", "late", "tool"]


# --- cells

@pytest.mark.parametrize("name", NOTEBOOKS)
def test_cells_are_in_order(name):
    assert not (complaints := house.notebook_complaints(name, NOTEBOOKS[name])), "\n".join(complaints)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_quarto_reads_the_options_that_nbdev_leaves(name):
    for cell in NBProcessor(ROOT / "nbs" / name, procs=[rm_export], process=True).nb.cells:
        options = re.findall(r"(?m)^#\|(.*)$", cell.source) if cell.cell_type == "code" else []
        assert isinstance(yaml.safe_load("\n".join(options)) or {}, dict), f"{cell.id}: {options}"


@pytest.mark.parametrize("cell, complaint", [
    (new_code_cell("#| fig-cap: 'A map'\nplot();"), "without a picture"),
    (new_code_cell("#| fig-cap: 'A map of particles, λ = 3'\nplot();", outputs=[PICTURE]), "caption without 'N = …'"),
    (new_code_cell("1/0", outputs=[new_output("error", ename="ZeroDivisionError", evalue="division by zero")]), "ZeroDivisionError"),
    (new_code_cell("f()", outputs=[new_output("stream", text="Traceback (most recent call last):")]), "traceback"),
    (new_code_cell('#| fig-alt: "$\\lambda$"\nf();'), "not YAML"),
    (new_code_cell("#| fig-alt: a: b\nf();"), "not YAML"),
    (new_code_cell("#| fig_alt: text\nf();"), "not an option"),
    (new_code_cell("#| exprot\nf();"), "not a directive"),
    (new_code_cell("#| export\ndef risk(p):\n    return p"), "hides the code of risk"),
    (new_code_cell("x = 1\n#| export\nf();"), "below code"),
])
def test_cell_checks_notice(cell, complaint):
    assert any(complaint in c for c in house.notebook_complaints("n", new_notebook(cells=[cell])))


@pytest.mark.parametrize("caption", ["The N = 440 particles", "All 24 single configurations", "In six small configurations", "N = 24 × 440"])
def test_captions_that_count(caption):
    assert not house.uncounted(new_code_cell(f"#| fig-cap: '{caption}'\nplot();"))


def test_only_schematics_need_not_count():
    figures = {cell.id for notebook in NOTEBOOKS.values() for cell in notebook.cells if "fig-cap:" in cell.source}
    assert house.SCHEMATICS <= figures   # no exception outlives its figure
    assert not house.uncounted(new_code_cell("#| fig-cap: 'Shells'\nplot();", id="figure-shells"))


def test_cell_checks_notice_an_id_used_twice(tmp_path):
    cell = '{"cell_type": "markdown", "id": "same", "metadata": {}, "source": []}'
    (tmp_path / "n.ipynb").write_text('{"cells": [%s, %s], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}' % (cell, cell))
    assert house.notebook_complaints("n", house.read(tmp_path / "n.ipynb")) == ["n: the cell id 'same' is used 2 times"]


def test_cell_checks_are_quiet_about_a_good_cell():
    source = "#| hide\n#| fig-cap: 'Risk, λ = 3: a curve, ten configurations'\n#| fig-alt: 'A curve'\nplot();"
    cells = [new_code_cell(source, outputs=[PICTURE]), new_code_cell("#| exports\ndef risk(p): ..."),
             new_code_cell("#| export\nimport numpy"), new_code_cell("#| export\ndef plot_risk(p): ...")]
    assert house.notebook_complaints("n", new_notebook(cells=cells)) == []


# --- README and sidebar

def test_what_notebooks_keep_has_a_checksum():
    kept = [line for notebook in NOTEBOOKS.values() for cell in notebook.cells for line in cell.source.splitlines() if "joblib.Memory(" in line]
    assert kept and all("compress=True" in line for line in kept), kept


def test_what_notebooks_keep_knows_the_installed_versions():
    keys = [line for notebook in NOTEBOOKS.values() for cell in notebook.cells for line in cell.source.splitlines() if line.startswith("made_by = ")]
    assert keys and all("versions(" in line for line in keys), keys


@pytest.mark.filterwarnings("ignore:.*Exception while loading results")
def test_the_checksum_is_read(tmp_path):
    kept = joblib.Memory(tmp_path, compress=True, verbose=0).cache(count)
    kept(1000)
    file, = tmp_path.rglob("output.pkl")
    whole = file.read_bytes()
    for place in range(20, len(whole), 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
        assert kept(1000) == list(range(1000)), place


def count(n):
    "What a notebook might keep."
    return list(range(n))


def test_readme_is_made_from_the_index():
    assert not (files := list(readme.stale(ROOT))), f"{files}: not what nbs/index.ipynb says; run make readme"


def test_readme_check_notices_an_edit(tmp_path):
    (tmp_path / "nbs").mkdir()
    cells = [new_markdown_cell("# T\n[one](00_thing.ipynb), [out](https://example.org), [ref](references.html#a)"),
             new_code_cell("#| echo: false\nplot();", id="fig", outputs=[PICTURE]),
             new_code_cell("print(1)", outputs=[new_output("stream", text="1\n")])]
    nbformat.write(new_notebook(cells=cells), tmp_path / "nbs" / "index.ipynb")
    for path, data in readme.stale(tmp_path).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    text = (tmp_path / "README.md").read_text()
    assert "[one](nbs/00_thing.ipynb), [out](https://example.org), [ref](nbs/references.ipynb#a)" in text
    assert "![](nbs/images/fig.svg)" in text and "```python\nprint(1)\n```\n\n```\n1\n```" in text
    assert list(readme.stale(tmp_path)) == []
    (tmp_path / "README.md").write_text(text + "more")
    assert list(readme.stale(tmp_path)) == ["README.md"]


def test_sidebar_lists_every_notebook_in_order():
    config = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))
    assert not (complaints := house.sidebar_complaints(config, NOTEBOOKS)), "\n".join(complaints)


def test_sidebar_check_notices_a_missing_or_misplaced_page():
    config = {"website": {"sidebar": {"contents": ["index.ipynb", {"section": "S", "contents": ["00_a.ipynb", "01_b.ipynb"]}]}}}
    assert house.sidebar_complaints(config, ["00_a.ipynb", "01_b.ipynb", "index.ipynb"]) == []
    assert house.sidebar_complaints(config, ["00_a.ipynb", "index.ipynb"])
    assert house.sidebar_complaints(config, ["00_a.ipynb", "01_b.ipynb", "A0_c.ipynb", "index.ipynb"])


# --- the finished site

@pytest.mark.parametrize("body, complaint", [
    ('<a href="gone.html">x</a>', "broken link gone.html"),
    ('<a href="#nowhere">x</a>', "broken anchor #nowhere"),
    ('<a href="other.html#nowhere">x</a>', "broken anchor other.html#nowhere"),
    ('<img src="https://example.org/a.png">', "fetches https://example.org/a.png"),
    ('<script src="//example.org/a.js"></script>', "fetches //example.org/a.js"),
    ('<style>@import "https://example.org/a.css";</style>', "fetches //example.org/a.css"),
    ('<img src="a.svg">', "no alternative text for a.svg"),
    ('<svg id="map"></svg>', "no alternative text for map"),
    ("<p>" + 3_000_000 * "x" + "</p>", "3.00 MB, more than 3"),
    ("<p>see @fig-map</p>", "unknown reference"),
    ("<p>as in [@bapst2020]</p>", "citation"),
    ('<p>[<a href="other.html#here">x</a>](other.html#here)</p>', "left as text"),
    ("<pre><code>Traceback (most recent call last)</code></pre>", "a traceback"),
])
def test_site_check_notices(tmp_path, body, complaint):
    (tmp_path / "other.html").write_text('<p id="here">x</p><a href="https://example.org">x</a><a href="other.html#here">x</a>')
    assert check_site(tmp_path) == []
    (tmp_path / "page.html").write_text(body)
    assert any(complaint in c for c in check_site(tmp_path)), check_site(tmp_path)


def test_site_check_weighs_the_pictures_of_a_page(tmp_path):
    (tmp_path / "a_files").mkdir()
    (tmp_path / "a_files" / "b.svg").write_text(3_000_000 * "x")
    (tmp_path / "a.html").write_text('<img src="a_files/b.svg" alt="a map">')
    assert check_site(tmp_path) == ["a.html: 3.00 MB, more than 3"]


def test_vector_pictures_become_files():
    svg = '<svg width="72pt" height="36.0pt"></svg>'
    cell = new_code_cell("plot();", id="map", outputs=[new_output("display_data", data={"image/svg+xml": svg})])
    assert build_site.pictures(new_notebook(cells=[cell]), "glass") == {"glass_files/map.svg": svg}
    assert '<img src="glass_files/map.svg" width="96" height="48"' in cell.outputs[0].data["image/svg+xml"]


def test_site_check_reads_style_sheets(tmp_path):
    (tmp_path / "a.css").write_text("@import url(https://example.org/font.css);")
    assert check_site(tmp_path) == ["a.css: fetches @import url(https://example.org/font.css"]


@pytest.mark.parametrize("address", ["url(https://fonts.example/css2?family=Lato:ital,wght@0,400;0,700&display=swap)",
                                     '"https://fonts.example/a;b.css"', "url('https://fonts.example/a.css') screen"])
def test_remote_fonts_are_taken_out_and_nothing_else(address):
    rest = ":root{--a:1;}@import 'local.css';"
    assert build_site.without_remote_imports(f"@import {address};{rest}") == rest
