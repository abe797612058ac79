"""Documents of known content in markup languages and as subtitles, written as people write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.documents.content import Part, Text

__all__ = ["MARKUP"]


def _rst(path: Path, text: Text) -> None:
    lines = []
    for part in text.parts:
        # A title may be wider on the screen than it has letters.
        lines += [part.heading, "=" * (2 * len(part.heading)), ""]
        lines += [line for paragraph in part.paragraphs for line in (paragraph, "")]
        lines += [*(f"- {item}" for item in part.items), "", ".. list-table::", "   :header-rows: 1", ""]
        lines += [f"   {'* -' if place == 0 else '  -'} {cell}" for row in part.rows for place, cell in enumerate(row)]
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")


def _adoc(path: Path, text: Text) -> None:
    lines = []
    for part in text.parts:
        lines += [f"== {part.heading}", ""]
        lines += [line for paragraph in part.paragraphs for line in (paragraph, "")]
        lines += [*(f"* {item}" for item in part.items), "", '[cols="3*",options="header"]', "|==="]
        lines += [*("|" + " |".join(row) for row in part.rows), "|===", ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def _org(path: Path, text: Text) -> None:
    lines = []
    for part in text.parts:
        lines += [f"* {part.heading}", *(line for paragraph in part.paragraphs for line in (paragraph, ""))]
        lines += [*(f"- {item}" for item in part.items), ""]
        rows = [f"| {' | '.join(row)} |" for row in part.rows]
        lines += [rows[0], "|---+---+---|", *rows[1:], ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def _tex(path: Path, text: Text) -> None:
    def escaped(words: str) -> str:
        return "".join(f"\\{char}" if char in "%&$#_{}" else char for char in words)

    lines = [r"\documentclass{article}", r"\usepackage{fontspec} % 한글 and more", r"\begin{document}"]
    for part in text.parts:
        lines += [rf"\section{{{escaped(part.heading)}}}", ""]
        lines += [line for paragraph in part.paragraphs for line in (escaped(paragraph), "")]
        lines += [r"\begin{itemize}", *(rf"\item {escaped(item)}" for item in part.items), r"\end{itemize}"]
        lines += [r"\begin{tabular}{lll} \hline", *(" & ".join(map(escaped, row)) + r" \\" for row in part.rows)]
        lines += [r"\hline", r"\end{tabular}", ""]
    path.write_text("\n".join([*lines, r"\end{document}", "left out"]), encoding="utf-8")


def _cues(text: Text) -> list[str]:
    return [line for part in text.parts for line in (part.heading, *part.paragraphs, *part.items, *_joined(part))]


def _joined(part: Part) -> list[str]:
    return [" ".join(row) for row in part.rows]


def _times(number: int, point: str) -> str:
    at = f"00:{number // 60:02}:{number % 60:02}{point}"
    return f"{at}000 --> {at}900"


def _vtt(path: Path, text: Text) -> None:
    cues = [
        f"{number}\n{_times(number, '.')} align:start\n<c.yellow>{cue}</c>\n" for number, cue in enumerate(_cues(text))
    ]
    path.write_text("\n".join(["WEBVTT", "", "NOTE made by hand", "", *cues]), encoding="utf-8")


def _srt(path: Path, text: Text) -> None:
    cues = [f"{number + 1}\r\n{_times(number, ',')}\r\n<i>{cue}</i>\r\n" for number, cue in enumerate(_cues(text))]
    path.write_bytes("\r\n".join(cues).encode("utf-8-sig"))


MARKUP: dict[str, Callable[[Path, Text], None]] = {
    "adoc": _adoc,
    "org": _org,
    "rst": _rst,
    "srt": _srt,
    "tex": _tex,
    "vtt": _vtt,
}
