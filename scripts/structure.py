"""Print the structure of the source: parts, layers, import arrows, circles, and the sizes of files and functions.

A part is a folder of modules, or a module that lies in a package's own folder. An arrow says that a module of one part
imports a module of another, at the top of a file or inside a function; imports for type checkers alone do not count.
Layers are the longest chain of arrows.

    python scripts/structure.py                 # this checkout
    python scripts/structure.py --src OTHER/src # another one
    python scripts/structure.py --arrows        # every arrow as well
"""

from __future__ import annotations

import argparse
import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

PACKAGE = "memvid_core"
Arrows = dict[str, set[str]]


def part_of(module: str, modules: set[str]) -> str:
    """Return the part of a dotted module name: its folder, or the module itself at the top of the package."""
    names = module.split(".")
    folder = names if any(other.startswith(f"{module}.") for other in modules) else names[:-1]
    return ".".join(names[:2]) if len(folder) < 2 else ".".join(folder)


def imported(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """Yield the modules of the package that a file imports, wherever the import stands."""
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else node.module


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements in a node, at any depth, without those for type checkers alone; expressions hold none."""
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        inner = getattr(node, name, None)
        for item in inner if isinstance(inner, list) else ():
            if not (isinstance(item, ast.If) and isinstance(item.test, ast.Name) and item.test.id == "TYPE_CHECKING"):
                yield item
                yield from _statements(item)


def arrows_of(source: Path) -> Arrows:
    """Return which parts each part imports; every part is a key."""
    files = {_dotted(path, source): path for path in (source / PACKAGE).rglob("*.py")}
    modules = set(files)
    arrows: Arrows = defaultdict(set)
    for module, path in files.items():
        if module == PACKAGE:
            continue  # its lazy list of public names imports everything
        part = part_of(module, modules)
        arrows[part] |= set()
        for other in imported(ast.parse(path.read_text(encoding="utf-8")), modules):
            if other != PACKAGE and part_of(other, modules) != part:
                arrows[part].add(part_of(other, modules))
    return dict(arrows)


def _dotted(path: Path, source: Path) -> str:
    names = list(path.relative_to(source).with_suffix("").parts)
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def circles(arrows: Arrows) -> list[list[str]]:
    """Return the groups of parts that reach one another (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(part: str) -> None:
        order[part] = low[part] = len(order)
        stack.append(part)
        for other in sorted(arrows.get(part, ())):
            if other not in order:
                visit(other)
                low[part] = min(low[part], low[other])
            elif other in stack:
                low[part] = min(low[part], order[other])
        if low[part] == order[part]:
            group = stack[stack.index(part) :]
            del stack[stack.index(part) :]
            if len(group) > 1:
                found.append(sorted(group))

    for part in sorted(arrows):
        if part not in order:
            visit(part)
    return found


def layers(arrows: Arrows) -> int:
    """Return the number of parts on the longest chain of arrows; a circle counts once."""
    known: dict[str, int] = {}

    def depth(part: str, above: frozenset[str]) -> int:
        if part not in known:
            below = (other for other in arrows.get(part, ()) if other not in above)
            known[part] = 1 + max((depth(other, above | {part}) for other in below), default=0)
        return known[part]

    return max(depth(part, frozenset({part})) for part in arrows)


def function_lengths(source: Path) -> list[int]:
    """Return the lines of every function's body, without its docstring, sorted."""
    lengths = []
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                lengths.append((node.end_lineno or 0) - body[0].lineno + 1)
    return sorted(lengths)


def main() -> None:
    """Print the figures as ``name value`` lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--src", type=Path, default=Path(__file__).resolve().parent.parent / "src")
    parser.add_argument("--arrows", action="store_true", help="print every arrow as well")
    arguments = parser.parse_args()
    arrows = arrows_of(arguments.src)
    sizes = {path: path.read_text(encoding="utf-8").count("\n") for path in arguments.src.rglob("*.py")}
    largest = max(sizes, key=lambda path: sizes[path])
    lengths = function_lengths(arguments.src)
    figures = {
        "parts": len(arrows),
        "layers": layers(arrows),
        "arrows": sum(len(below) for below in arrows.values()),
        "circles": len(circles(arrows)),
        "largest file": f"{sizes[largest]} ({largest.relative_to(arguments.src)})",
        "files over 450 lines": sum(size > 450 for size in sizes.values()),
        "functions": len(lengths),
        "function, median lines": median(lengths),
        "function, 95th percentile": lengths[int(0.95 * len(lengths))],
    }
    for name, value in figures.items():
        print(f"{name:26} {value}")
    for group in circles(arrows):
        print("circle:", ", ".join(group))
    if arguments.arrows:
        for part in sorted(arrows):
            print(f"{part}: {', '.join(sorted(arrows[part])) or '-'}")


if __name__ == "__main__":
    main()
