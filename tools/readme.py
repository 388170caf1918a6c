"""Write README.md from nbs/index.ipynb, or with --check say whether it is what would be written.

Text is taken as it stands, code as fenced Python, outputs as text; a picture goes to nbs/images/ under its cell's id.
"""
import argparse
import base64
import re
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
PICTURES = {"image/svg+xml": "svg", "image/png": "png"}


def from_root(text):
    "Point the relative links of a page in nbs/ at nbs/; a page of the site becomes the notebook that it is made from."
    text = re.sub(r"(\]\()([\w-]+)\.html((?:#[^)]*)?\))", r"\1\2.ipynb\3", text)
    return re.sub(r"(\]\()(?![a-z]+:|#|/)", r"\1nbs/", text)


def output_text(output, cell, pictures):
    "One output of a code cell as Markdown; pictures are put into the dictionary `pictures`."
    if output.output_type == "stream":
        return f"```\n{output.text.rstrip()}\n```"
    data = output.get("data", {})
    for mime, suffix in PICTURES.items():
        if mime in data:
            path = f"nbs/images/{cell.id}.{suffix}"
            pictures[path] = data[mime].encode() if suffix == "svg" else base64.b64decode(data[mime])
            alt = re.search(r"(?m)^#\|\s*fig-(?:alt|cap):\s*'(.*)'", cell.source)
            return f"![{alt[1] if alt else ''}]({path})"
    if "text/markdown" in data:
        return from_root(data["text/markdown"])
    return f"```\n{data['text/plain'].rstrip()}\n```" if "text/plain" in data else ""


def render(notebook):
    "The README's text, and its pictures by path."
    blocks, pictures = [], {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            blocks.append(from_root(cell.source.strip()))
        elif cell.cell_type == "code" and not re.search(r"(?m)^#\|\s*hide\s*$", cell.source):
            code = re.sub(r"(?m)^#\|.*\n?", "", cell.source).strip()
            if code and not re.search(r"(?m)^#\|\s*echo:\s*false", cell.source):
                blocks.append(f"```python\n{code}\n```")
            if not re.search(r"(?m)^#\|\s*output:\s*false", cell.source):
                blocks += [output_text(output, cell, pictures) for output in cell.outputs]
    return "\n\n".join(block for block in blocks if block) + "\n", pictures


def stale(root):
    "The files under `root` that differ from what index.ipynb says, as a dictionary from path to content."
    text, pictures = render(nbformat.read(root / "nbs" / "index.ipynb", as_version=4))
    wanted = {"README.md": text.encode(), **pictures}
    return {path: data for path, data in wanted.items() if not (root / path).exists() or (root / path).read_bytes() != data}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if anything is stale")
    args = parser.parse_args()
    files = stale(ROOT)
    if args.check and files:
        sys.exit(f"{', '.join(files)}: not what nbs/index.ipynb says; run make readme")
    for path, data in files.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_bytes(data)
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
