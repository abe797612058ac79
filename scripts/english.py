"""Count phrases that make the English of the source and of the documentation hard to read.

Reports, for each area: phrases to avoid, sentences with two "what", British spellings, and the mood of the first words
of docstrings: imperative ("Return ..."), third person ("Returns ...") or a noun phrase ("The ..."). Functions count;
classes, properties and modules may begin with a noun phrase.

    python scripts/english.py                 # this checkout
    python scripts/english.py --root OTHER    # another one, to compare
    python scripts/english.py --list          # every match with its file and line
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

AREAS = ("src", "docs", "soak", "benchmarks", "scripts", "tests")
PATTERNS = {
    "is no": re.compile(r"\bis no\b", re.IGNORECASE),
    "anew": re.compile(r"\banew\b", re.IGNORECASE),
    "beside": re.compile(r"\bbeside\b", re.IGNORECASE),
    "told": re.compile(r"\btold\b", re.IGNORECASE),
    "what ... what": re.compile(r"\bwhat\b[^.:;\n]*\bwhat\b", re.IGNORECASE),
    "British": re.compile(
        r"\b\w*(?:quantis|normalis|recognis|serialis|initialis|optimis|analys(?:e|er|ed)\b|neighbour|colour|behaviour"
        r"|favour|centre\b|grey\b|learnt\b|licence)\w*",
        re.IGNORECASE,
    ),
}
MOODS = ("imperative", "third person", "noun phrase")
VERBS = frozenset(
    re.findall(
        r"\w+",
        """accept acquire adapt add adjust advance align allow answer append apply archive ask assign await become
        begin block bring build call cancel carry center change chat check choose cite clean clear close code
        collect combine commit compact compare compile compress compute concatenate configure consider construct
        continue convert copy correct count cover create cut damage decide decode decompress define delete
        describe detect determine discard display divide do download draw drop dump embed empty encode end enter
        erase escape estimate evaluate execute expand export extend fetch fill filter find finish fit flush fold
        follow force forget fork format free freeze fuse gather generate get give go group guess handle hash have
        help hide hold identify ignore import index insert install interpolate invert iterate keep kill launch
        lead learn leave let lift limit join list load locate lock log look make manage map mark match measure
        memorize merge mirror monitor move multiply name narrow negate nest normalize note number observe omit
        open operate order own parse pass pick plan play point poll pop prefer prepare prevent print probe
        process produce provide prune publish pull push put quantize query queue quote raise rank rate read
        rebuild recall receive recognize reconstruct record recover reduce refer refit refresh refuse register
        reject release reload rely remember remove rename renumber reopen reorder repair repeat replace replay
        report represent request require rerank rescue reset resolve restart restore retrieve retry return reword
        rewrite rotate round run sample save say scale scan schedule score seal search select send separate serve
        set share shorten show sign simplify simulate skip slice solve sort split spread squash start step stop
        store stream strip submit subscribe subtract suggest sum support swap sweep switch sync synchronize take
        tell test tokenize trace track train transform translate truncate try turn type unescape unlock unmap unpack
        unsubscribe update upload use validate verify view vouch wait wake walk warn watch weigh weight word work
        wrap write yield""",
    )
)


def counted(text: str) -> Counter[str]:
    """Count the patterns in a text."""
    return Counter({name: len(pattern.findall(text)) for name, pattern in PATTERNS.items()})


def mood_of(docstring: str) -> str | None:
    """Return the mood of a docstring, judged by its first word, or None if it is unknown.

    Example:
        >>> mood_of("Return the rows."), mood_of("Returns the rows."), mood_of("The rows."), mood_of("Async `add`.")
        ('imperative', 'third person', 'noun phrase', None)
    """
    found = re.match(r"[A-Za-z]+", docstring.strip())
    if found is None:
        return None
    word = found.group().lower()
    if word in ("async", "see"):
        return None
    if word in VERBS:
        return "imperative"
    if any(word.removesuffix(ending) in VERBS for ending in ("s", "es") if word.endswith(ending)) or (
        word.endswith("ies") and f"{word[:-3]}y" in VERBS
    ):
        return "third person"
    return "noun phrase"


def docstrings(tree: ast.AST) -> Iterator[str]:
    """Yield the docstrings of the functions in a module, without those of properties."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
            text = ast.get_docstring(node)
            if text and not any(name == "property" or name.endswith("cached_property") for name in decorators):
                yield text


def files_of(area: Path) -> list[Path]:
    """Return the Python and Markdown files of an area, without results of benchmarks."""
    files = [*area.rglob("*.py"), *area.rglob("*.md")]
    return sorted(file for file in files if file.name not in ("RESULTS.md", Path(__file__).name))


def table(root: Path) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"{'area':12}" + "".join(f"{name:>15}" for name in (*PATTERNS, *MOODS))
    for area in AREAS:
        counts: Counter[str] = Counter()
        for file in files_of(root / area):
            text = file.read_text(encoding="utf-8")
            counts += counted(text)
            if file.suffix == ".py":
                counts += Counter(mood for found in docstrings(ast.parse(text)) if (mood := mood_of(found)))
        yield f"{area:12}" + "".join(f"{counts[name]:15,}" for name in (*PATTERNS, *MOODS))


def matches(root: Path) -> Iterator[str]:
    """Yield each match with its file, line and text."""
    for file in (file for area in AREAS for file in files_of(root / area)):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            for name, pattern in PATTERNS.items():
                if pattern.search(line):
                    yield f"{file.relative_to(root)}:{number}: {name}: {line.strip()}"


def main() -> None:
    """Parse the command line and print the table or the matches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1], help="the checkout to read")
    parser.add_argument("--list", action="store_true", help="print every match")
    arguments = parser.parse_args()
    for line in (matches if arguments.list else table)(arguments.root):
        print(line)


if __name__ == "__main__":
    main()
