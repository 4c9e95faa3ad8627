"""How large the library's rooms are: files, lines, imports, and the five longest functions.

A room is a module; rooms stand in packages. Docstrings do not count as lines of a function. Nothing is
imported or run: the source is read as text.

    python benchmarks/structure.py
    python benchmarks/structure.py --source some/other/checkout/src/transferzoo
"""

import ast
from pathlib import Path

from reporting import parser, table, write_json

SOURCE = Path(__file__).parents[1] / "src/transferzoo"
LONGEST = 5


def imports(tree, package):
    """Return the project's own modules that a tree imports, anywhere in it."""
    found = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name for name in names if name == package or name.startswith(f"{package}.")}
    return found


def functions(tree, room):
    """Return (lines, room and name) of each function and method, without docstrings."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            found.append((lines, f"{room}.{node.name}"))
    return found


def survey(source):
    """Return package -> counts, and all functions, the longest first."""
    packages, every = {}, []
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        package = ".".join(parts[:-1]) or "(top)"
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        counts = packages.setdefault(package, {"rooms": 0, "lines": 0, "longest room": 0, "imports": 0})
        lines = len(text.splitlines())
        counts["rooms"] += path.name != "__init__.py"
        counts["lines"] += lines
        counts["longest room"] = max(counts["longest room"], lines)
        counts["imports"] += len(imports(tree, source.name))
        every += functions(tree, ".".join(parts))
    return packages, sorted(every, reverse=True)


def main():
    """Print both tables, and write where that was asked for."""
    made = parser(__doc__)
    made.add_argument("--source", type=Path, default=SOURCE, help="a package's folder (default this one's)")
    options = made.parse_args()
    packages, every = survey(options.source)
    setting = f"{options.source.name}: {sum(each['lines'] for each in packages.values()):,} lines"
    columns = ("package", "rooms", "lines", "longest room", "imports")
    rows = [(package, *counts.values()) for package, counts in packages.items()]
    print(f"{setting}\n\n{table(columns, rows)}\n")
    for lines, name in every[:LONGEST]:
        print(f"{lines:4d} lines: {name}")
    write_json(options.json, {"setting": setting, "packages": packages, "longest": every[:LONGEST]})


if __name__ == "__main__":
    main()
