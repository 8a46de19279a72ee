"""A data frame as an Excel file that is pleasant to open."""

from pathlib import Path

import pandas as pd
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, TYPE_STRING  # type: ignore[import-untyped]
from openpyxl.styles import Alignment, Font, PatternFill  # type: ignore[import-untyped]
from openpyxl.utils import get_column_letter  # type: ignore[import-untyped]

_WIDEST = 40


def write_excel(table: pd.DataFrame, path: Path, *, sheet_name: str = "characters") -> None:
    """Write a table with a head that stays in view, filters, and columns as wide as their text.

    Text stays text: what begins with `=` is no formula, and control characters, which the format cannot
    hold, are left out.
    """
    clean = table.map(lambda value: ILLEGAL_CHARACTERS_RE.sub("", value) if isinstance(value, str) else value)
    with pd.ExcelWriter(path, engine="openpyxl") as writer:
        clean.to_excel(writer, sheet_name=sheet_name, index=False)
        sheet = writer.sheets[sheet_name]
        sheet.freeze_panes = "B2"
        sheet.auto_filter.ref = sheet.dimensions
        for head in sheet[1]:
            head.font = Font(bold=True, color="FFFFFF")
            head.fill = PatternFill("solid", fgColor="1F3A5F")
            head.alignment = Alignment(horizontal="left", vertical="center")
        for number, column in enumerate(sheet.iter_cols(), start=1):
            for cell in column:
                if cell.data_type == "f":
                    cell.data_type = TYPE_STRING
            longest = max(len(str(cell.value)) for cell in column if cell.value is not None)
            sheet.column_dimensions[get_column_letter(number)].width = min(longest + 3, _WIDEST)
