"""Write a report as PDF."""

from typing import Annotated

from fpdf import FPDF
from pydantic import BaseModel, Field

from taskyard import OutputFile, Run, task_type


class Section(BaseModel):
    heading: Annotated[str, Field(max_length=100)]
    text: Annotated[str, Field(max_length=20_000)]


@task_type("report", label="Write a report", timeout=60)
def report(
    run: Run,
    title: Annotated[str, Field(min_length=1, max_length=100)],
    sections: Annotated[list[Section], Field(max_length=100)],
) -> OutputFile:
    """Write a PDF with a title and sections, in Latin letters: the fonts of every PDF reader."""
    document = FPDF(format="A4")
    document.set_title(title)
    document.add_page()
    document.set_font("Helvetica", "B", 20)
    document.multi_cell(0, 12, _latin(title), new_x="LMARGIN", new_y="NEXT")
    for number, section in enumerate(sections, start=1):
        document.set_font("Helvetica", "B", 14)
        document.multi_cell(0, 10, _latin(section.heading), new_x="LMARGIN", new_y="NEXT")
        document.set_font("Helvetica", "", 11)
        document.multi_cell(0, 6, _latin(section.text), new_x="LMARGIN", new_y="NEXT")
        run.progress(number, total=len(sections))
    return run.save_file("report.pdf", bytes(document.output()))


def _latin(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")
