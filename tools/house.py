"""The rules of the house that a program can check. Each function returns its complaints, an empty list when all is well."""
import ast
import re
from collections import Counter

import yaml
from nbformat.v4 import reads

DIRECTIVES = {"default_exp", "export", "exports", "exporti", "exec_doc", "hide", "hide_line", "filter_stream", "slow"}
OPTIONS = {"eval", "echo", "output", "include", "warning", "error", "label", "code-fold", "code-summary", "code-overflow",
           "fig-cap", "fig-alt", "fig-align", "fig-width", "fig-height", "tbl-cap", "column", "layout-ncol", "layout-nrow"}
# Figures of no data.
SCHEMATICS = {"figure-shells", "figure-angular", "figure-weights", "figure-local-angular", "figure-reconstruct", "show-pair-energies"}
COUNT = r"\bN = \d|\b(\d+|two|three|four|five|six|seven|eight|nine|ten)( \w+){0,2} (particles|configurations)\b"


def read(path):
    "A notebook as it stands; nbformat.read would mend it."
    return reads(path.read_text(encoding="utf-8"))


def options(source):
    "The `#|` lines at the top of a cell: a list of nbdev's directives, and the text of the `key: value` options."
    directives, lines = [], []
    for line in source.splitlines():
        if not line.startswith("#|"):
            break
        text = line[2:].strip()
        (lines if re.match(r"[\w-]+\s*:(\s|$)", text) or line.startswith("#|  ") else directives).append(text)
    return directives, "\n".join(lines)


def front_matter(path):
    "The YAML front matter of a notebook, or an empty dict."
    cells = read(path).cells
    match = re.match(r"---\n(.*?)\n---", cells[0].source, re.S) if cells and cells[0].cell_type == "raw" else None
    return yaml.safe_load(match[1]) if match else {}


def has_picture(cell):
    "Whether a code cell has an output that shows a picture."
    data = [output.get("data", {}) for output in cell.outputs]
    return any(mime.startswith("image/") for d in data for mime in d) or any(
        re.search(r"<(img|svg|canvas|video)\b", d.get("text/html", "")) for d in data)


def bad_options(source):
    "What is wrong with the `#|` lines of a cell."
    directives, text = options(source)
    found = [f"'#| {d}' is not a directive" for d in directives if d.split()[:1] and d.split()[0] not in DIRECTIVES]
    try:
        parsed = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        return [*found, f"the options are not YAML: {' '.join(str(error).split())}"]
    found += [f"'#| {key}:' is not an option" for key in parsed if key not in OPTIONS]
    found += [f"'#| {key}:' is not text" for key in ("fig-cap", "fig-alt") if key in parsed and not isinstance(parsed[key], str)]
    found += ["a '#|' line stands below code, where it is not read"] * bool(
        re.search(r"^[^#\s].*\n(?:.*\n)*#\|", source, re.M))
    return found


def uncounted(cell):
    "Whether a figure of data has a caption that does not say how many particles or configurations are in it."
    caption = re.search(r"(?m)^#\|\s*fig-cap:(.*)", cell.source)
    return bool(caption) and cell.get("id") not in SCHEMATICS and not re.search(COUNT, caption[1])


def hidden_functions(source):
    "The public functions and classes of a cell whose code no reader sees: `#| export` hides it, `#| exports` shows it."
    if "export" not in options(source)[0]:
        return []
    code = re.sub(r"(?m)^(#\||[%!]).*$", "", source)
    names = [node.name for node in ast.parse(code).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    return [name for name in names if not name.startswith(("_", "plot_"))]


def notebook_complaints(name, notebook):
    "What is wrong with the cells of one notebook."
    found = []
    for cell_id, times in Counter(cell.get("id") for cell in notebook.cells).items():
        if cell_id is None or times > 1:
            found.append(f"{name}: the cell id {cell_id!r} is used {times} times")
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        place = f"{name}, cell '{cell.get('id')}'"
        found += [f"{place}: {complaint}" for complaint in bad_options(cell.source)]
        found += [f"{place}: '#| export' hides the code of {n}; '#| exports' shows it" for n in hidden_functions(cell.source)]
        if re.search(r"(?m)^#\|\s*fig-cap:", cell.source) and not has_picture(cell):
            found.append(f"{place}: a figure cell without a picture; run it")
        found += [f"{place}: a caption without 'N = …' or a number of particles or configurations"] * uncounted(cell)
        found += [f"{place}: {output.ename}: {output.evalue}" for output in cell.outputs if output.output_type == "error"]
        if any("Traceback (most recent call last)" in output.get("text", "") for output in cell.outputs):
            found.append(f"{place}: a traceback in the output")
    return found


def modules(notebooks):
    "The module that each of the (name, notebook) pairs exports, in reading order: chapters first, then appendices."
    exported = {}
    for name, notebook in sorted(notebooks):
        for cell in notebook.cells:
            for directive in options(cell.source)[0] if cell.cell_type == "code" else []:
                if directive.startswith("default_exp"):
                    exported[name] = directive.split()[1]
    return exported


def code(notebook):
    "All code of a notebook, exported or not, without the lines that only IPython understands."
    lines = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code").split("\n")
    return "\n".join(line for line in lines if not line.startswith(("%", "!")))


def imported(source, package="glassml"):
    "The modules of the package that some Python imports, anywhere in it."
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith(package + ".")}
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".")
            if node.level == 0 and parts[0] == package:
                parts = parts[1:]
            elif node.level != 1:
                continue
            found |= {parts[0]} if parts and parts[0] else {alias.name for alias in node.names}
    return found


def import_complaints(order, sources, appendices=()):
    "The imports that go forward in `order`, the list of modules, except among appendices; `sources` maps a module to its text."
    place = {module: n for n, module in enumerate(order)}
    return [f"{module} imports {other}, which comes later" for module in order
            for other in sorted(imported(sources[module]))
            if place.get(other, -1) >= place[module] and not {module, other} <= set(appendices)]


def sidebar_complaints(config, names):
    "Where the sidebar of `_quarto.yml` differs from the notebooks in their order: index, chapters, appendices, and the pages without code."
    def pages(contents):
        return [p for c in contents for p in (pages(c["contents"]) if isinstance(c, dict) and "contents" in c else [c])]

    listed = pages(config["website"]["sidebar"]["contents"])
    order = sorted(names, key=lambda n: (n != "index.ipynb", n == "references.ipynb", n))
    return [] if listed == order else [f"the sidebar of _quarto.yml lists {listed}, but nbs/ holds {order}"]
