"""Build the site in _docs/ from the notebooks that run_chapters.py left in _build/nbs.

nbdev adds the documentation of the exported functions to the notebooks, smalldocs turns them into pages. What smalldocs
does differently from Quarto is set right here: page names without chapter numbers, pictures in files of their own, KaTeX
and fonts from the site itself.
"""
import json
import os
import re
import shutil
import sys
from itertools import pairwise
from pathlib import Path

os.environ["PYTHONWARNINGS"] = "ignore:Found cells containing imports"  # the hidden set-up cell is meant to hold both

import nbformat  # noqa: E402
import smalldocs.layout  # noqa: E402
from nbdev.serve import proc_nbs  # noqa: E402
from smalldocs.config import load  # noqa: E402
from smalldocs.site import Site  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from check_site import check_site  # noqa: E402
from house import front_matter, notebook_complaints, read  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
KATEX = "site_libs/katex"


def process():
    "Let nbdev write the notebooks, with documentation, to _build/_proc; return that folder."
    for path in [*ROOT.glob("nbs/*.css"), *ROOT.glob("nbs/*.svg")]:
        shutil.copy(path, BUILD / "nbs")
    shutil.copy(ROOT / "_quarto.yml", BUILD / "nbs")
    shutil.copy(ROOT / "settings.ini", BUILD)
    os.chdir(BUILD)
    try:
        return proc_nbs(force=True, n_workers=2)
    except Exception as error:  # nbdev raises nothing narrower
        sys.exit(f"{error.__cause__ or ''}\nnbdev could not document a notebook. {error}")


def rename_pages(folder):
    "Give each notebook the name that nbdev's links expect: 01_propensity.ipynb becomes propensity.ipynb."
    names = {}
    for path in sorted(folder.glob("*.ipynb")):
        new = Path(front_matter(path).get("output-file", path.name)).with_suffix(".ipynb").name
        names[path.name] = new
        path.rename(folder / new)
    pattern = re.compile(r"(?<![\w/])(" + "|".join(map(re.escape, names)) + r")(?!\w)")
    config = folder / "_quarto.yml"
    config.write_text(pattern.sub(lambda m: names[m[1]], config.read_text(encoding="utf-8")), encoding="utf-8")
    link = re.compile(r"(\]\()" + pattern.pattern)
    for path in folder.glob("*.ipynb"):
        notebook = read(path)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = link.sub(lambda m: m[1] + names[m[2]], cell.source)
        nbformat.write(notebook, path)


def show_sources(folder):
    "Show the source of an `#| exports` cell unfolded under its function's name, in place of a table and the source again."
    fold = '#| code-fold: show\n#| code-summary: "Exported source"\n'
    for path in folder.glob("*.ipynb"):
        notebook = read(path)
        for documentation, source in pairwise(notebook.cells):
            if source.cell_type == "code" and source.source.startswith(fold):
                source.source = source.source.removeprefix(fold)
                for output in documentation.get("outputs", []):
                    heading = re.search(r"(?m)^#+ .*$", output.get("data", {}).get("text/markdown", ""))
                    if heading:
                        output.data["text/markdown"] = heading[0]
        nbformat.write(notebook, path)


def pictures(notebook, page):
    "Take vector pictures out of a notebook, and put images in their places: the name and the text of each picture's file."
    files = {}
    for cell in notebook.cells:
        for n, output in enumerate(cell.get("outputs", [])):
            svg = output.get("data", {}).get("image/svg+xml")
            if svg:
                name = f"{page}_files/{cell.id}{f'-{n}' if n else ''}.svg"
                width, height = (round(float(points) * 4 / 3) for points in re.findall(r'(?:width|height)="([\d.]+)pt"', svg)[:2])
                wide = " wide" * (width > 700)  # on a phone, to be scrolled rather than shrunk
                output.data["image/svg+xml"] = f'<img src="{name}" width="{width}" height="{height}" loading="lazy" class="img-fluid{wide}">'
                files[name] = svg
    return files


def pictures_to_files(folder):
    "Make files of all vector pictures, as Quarto does: pages are short then, and images have a place for the alternative text."
    files = {}
    for path in folder.glob("*.ipynb"):
        notebook = read(path)
        files |= pictures(notebook, path.stem)
        nbformat.write(notebook, path)
    return files


def drop_missing(folder):
    "Take notebooks that do not exist out of the sidebar, and say so."
    config = folder / "_quarto.yml"
    lines = config.read_text(encoding="utf-8").splitlines()
    entry = re.compile(r"\s*- (\S+\.ipynb)\s*$")
    missing = [m[1] for line in lines if (m := entry.match(line)) and not (folder / m[1]).exists()]
    config.write_text("\n".join(line for line in lines if not any(line.endswith(" " + name) for name in missing)) + "\n")
    for name in missing:
        print(f"  the sidebar names {name}, which does not exist")


def without_remote_imports(css):
    "A style sheet without the fonts that it would fetch from the web; the reader's machine has its own."
    return re.sub(r"""@import\s*(?:url\(\s*["']?https?:[^)]*\)|["']https?:[^"']*["'])[^;]*;""", "", css)


def render(folder, files):
    "Turn the processed notebooks into pages, with some files more; return the folder of the site."
    smalldocs.layout.KATEX = KATEX
    site = Site(load(folder), quiet=True)
    site.out = BUILD / "site"
    site.build()
    shutil.copytree(ROOT / "tools" / "katex", site.out / KATEX, dirs_exist_ok=True)
    for name, text in files.items():
        (site.out / name).parent.mkdir(exist_ok=True)
        (site.out / name).write_text(text, encoding="utf-8")
    katex = site.out / KATEX / "katex.min.css"
    katex.write_text(re.sub(r",url\([^)]*\.(?:woff|ttf)\) format\(\"\w+\"\)", "", katex.read_text()))
    for theme in (site.out / "site_libs" / "themes").glob("*.css"):
        theme.write_text(without_remote_imports(theme.read_text(encoding="utf-8")), encoding="utf-8")
    known = re.compile(r"output-file is not read|project\.preview|: broken link")  # set right above, or found by check_site
    return site.out, [warning for warning in site.warnings if not known.search(warning)]


def main():
    notebooks = {path.name: read(path) for path in sorted((BUILD / "nbs").glob("*.ipynb"))}
    if not notebooks:
        sys.exit("there is nothing in _build/nbs: run tools/run_chapters.py first")
    problems = [c for name, notebook in notebooks.items() for c in notebook_complaints(name, notebook)]
    folder = process()
    rename_pages(folder)
    show_sources(folder)
    drop_missing(folder)
    site, warnings = render(folder, pictures_to_files(folder))
    problems += warnings + check_site(site)
    if problems:
        sys.exit("the site is not right:\n  " + "\n  ".join(dict.fromkeys(problems)))
    docs = ROOT / "_docs"
    shutil.rmtree(docs, ignore_errors=True)
    shutil.copytree(site, docs)
    pages = len(json.loads((docs / "search.json").read_text(encoding="utf-8"))) and len(list(docs.glob("*.html")))
    print(f"{pages} pages: {docs / 'index.html'}")


if __name__ == "__main__":
    main()
