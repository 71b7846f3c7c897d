"""Markdown pages as what a reader does with them: a list of code blocks in order.

A comment on the line before a block says what is special about it: `<!-- illustration -->` it only shows something,
`<!-- file: NAME -->` it is a file of that name, `<!-- output -->` it is what the block before printed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(
    r"^(?:<!-- (?P<note>[^>]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """One fenced block; `note` is what its comment says, or empty."""

    place: str
    language: str
    text: str
    note: str

    @property
    def file(self) -> str | None:
        """The name of the file that the block is."""
        return self.note.removeprefix("file: ") if self.note.startswith("file: ") else None


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    return list(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        yield Block(f"{page.relative_to(ROOT)}:{line}", found["language"], found["text"], found["note"] or "")


def pages() -> list[Path]:
    """Every page that people read: at the top, in docs and in examples."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
