"""PDF files in twelve scripts, shaped and set with real fonts by fpdf2 and HarfBuzz."""

from __future__ import annotations

from pathlib import Path

from benchmarks.documents.corpus import Text
from benchmarks.documents.languages import RIGHT_TO_LEFT

__all__ = ["write_pdf"]

_FONTS = {
    "Arabic": "NotoSansArabic",
    "Persian": "NotoSansArabic",
    "Hebrew": "NotoSansHebrew",
    "Hindi": "NotoSansDevanagari",
    "Thai": "NotoSansThai",
}
_CJK = {"Japanese": 0, "Korean": 1, "Chinese (simplified)": 2, "Chinese (traditional)": 3}


def write_pdf(path: Path, text: Text, fonts: Path) -> None:
    """Write a text as a PDF with a table of lines and with a list."""
    import fpdf
    from fpdf.enums import TextDirection

    pdf = fpdf.FPDF()
    number = _CJK.get(text.language)
    name = "NotoSansCJK-Regular.ttc" if number is not None else f"{_FONTS.get(text.language, 'NotoSans')}-Regular.ttf"
    pdf.add_font("own", fname=_found(fonts, name), collection_font_number=number or 0)
    pdf.add_font("latin", fname=_found(fonts, "NotoSans-Regular.ttf"))
    pdf.set_fallback_fonts(["latin"], exact_match=False)
    pdf.set_font("own", size=11)
    right = text.language in RIGHT_TO_LEFT
    pdf.set_text_shaping(True, direction=TextDirection.RTL if right else TextDirection.LTR)
    align = "R" if right else "L"
    for part in text.parts:
        pdf.add_page()
        pdf.set_font_size(16)
        pdf.multi_cell(0, text=part.heading, align=align, new_x="LMARGIN", new_y="NEXT")
        pdf.set_font_size(11)
        for line in [*part.paragraphs, *(f"- {item}" for item in part.items)]:
            pdf.multi_cell(0, text=line, align=align, new_x="LMARGIN", new_y="NEXT")
            pdf.ln(3)
        with pdf.table(first_row_as_headings=False, text_align=align) as table:
            for cells in part.rows:
                row = table.row()
                for cell in cells:
                    row.cell(cell)
    pdf.output(str(path))


def _found(fonts: Path, name: str) -> Path:
    return next(fonts.rglob(name))
