"""Print the results, the first table of reports/README.md, and what to type next."""

import sys
from pathlib import Path

REPORT = Path("reports/README.md")
NEXT = """
Look at     reports/report.html
Compare     make compare, make ui
Experiment  . .venv/bin/activate && dvc exp run -S train_mlp.hidden_units=20"""


def read_table(text: str) -> list[list[str]]:
    """Return the cells of the first table of a Markdown text, row by row."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif rows:
            break
    if len(rows) > 1:
        del rows[1]  # the line of dashes
    return rows


def print_table(rows: list[list[str]]) -> None:
    """Print a table: names on the left, values under the right end of their title."""
    for row in rows:
        line = f"{row[0]:33}"
        for cell, title in zip(row[1:], rows[0][1:], strict=True):
            line += f"   {cell:>{len(title)}}"
        print(line.rstrip())


def main() -> None:
    try:
        text = REPORT.read_text("utf-8")
    except FileNotFoundError:
        sys.exit(f"error: {REPORT} is missing: run make, which writes it again")
    print()
    print_table(read_table(text))
    print(NEXT)


if __name__ == "__main__":
    main()
