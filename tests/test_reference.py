"""The API reference: every public name is on it, with a row for each of its parameters."""
import importlib
import inspect
import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import house  # noqa: E402

PAGE = ROOT / "nbs" / "api.ipynb"
CELLS = {cell.id: cell for cell in house.read(PAGE).cells}
MODULES = list(house.modules((path.name, house.read(path)) for path in sorted(ROOT.glob("nbs/*.ipynb"))).values())


def entries(text):
    "The entries of the page by name, such as linear.MAPRidge.fit."
    parts = re.split(r"(?m)^#{3,4} .* \{#([\w.]+)\}$", text)
    return dict(zip(parts[1::2], parts[2::2]))


def complaints(name, thing, page):
    "The parameters of a function, class or method for which the page has no row."
    if name not in page:
        return [f"{name} is not on the page"]
    rows = re.findall(r"(?m)^\| (?:\*attribute\* )?(``.*?) \|", page[name])
    named = {one.lstrip("*") for row in rows for one in re.findall(r"`` (\S+) ``", row)}
    wanted = [one for one in inspect.signature(thing).parameters if one != "self"]
    return [f"{name}: the docstring says nothing of {one}" for one in wanted if one not in named]


def test_the_page_is_what_the_docstrings_say():
    here, names = Path.cwd(), {}
    os.chdir(PAGE.parent)
    try:
        for cell in ("imports", "pieces", "reference"):
            exec(CELLS[cell].source.replace("\nMarkdown(", "\npage = ("), names)
    finally:
        os.chdir(here)
    shown = CELLS["reference"].outputs[0].data["text/markdown"]
    assert shown == names["page"], "run tools/run_chapters.py --in-place api"


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_there_with_its_parameters(module):
    text = CELLS["reference"].outputs[0].data["text/markdown"]
    page, source, found = entries(text), importlib.import_module(f"glassml.{module}"), []
    for name in source.__all__:
        thing = getattr(source, name)
        if not callable(thing):
            found += [f"{name} is not on the page"] * (f"| `` {name} `` |" not in text)
            continue
        found += complaints(f"{module}.{name}", thing, page)
        for method in filter(inspect.isfunction, vars(thing).values() if inspect.isclass(thing) else ()):
            if not method.__name__.startswith("_"):
                found += complaints(f"{module}.{name}.{method.__name__}", method, page)
    assert not found, "\n".join(found)


def test_a_forgotten_parameter_is_noticed():
    def halve(x, y): ...
    page = entries("### halve {#m.halve}\n\n| parameter |\n|---|\n| `` x `` | float | |\n")
    assert complaints("m.halve", halve, page) == ["m.halve: the docstring says nothing of y"]
    assert complaints("m.gone", halve, page) == ["m.gone is not on the page"]
