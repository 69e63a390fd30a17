"""Turn the last lines of a terminal's output into an SVG, for the README.

Usage: make demo | tee demo.log; python demo/picture.py demo.log docs/images/demo.svg [LINES]
"""

from __future__ import annotations

import re
import sys
from html import escape
from pathlib import Path

CHARACTER, LINE, MARGIN = 7.8, 18, 16
COLOURS = {"passed": "#7ee787", "succeeded": "#7ee787", "failed": "#ff7b72", "==>": "#79c0ff", "https://": "#d2a8ff"}


def coloured(line: str) -> str:
    """Return the colour of a line: that of the first word in it that means something."""
    return next((colour for word, colour in COLOURS.items() if word in line), "#e6edf3")


def svg(text: str, lines: int) -> str:
    """Return the last `lines` lines of `text` as an SVG of a terminal."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    shown = [line.rstrip()[:150] for line in plain.rstrip().splitlines()][-lines:]
    width = MARGIN * 2 + CHARACTER * max(map(len, shown))
    height = MARGIN * 2 + LINE * len(shown)
    rows = "\n".join(
        f'<text x="{MARGIN}" y="{MARGIN + LINE * (number + 0.75):.1f}" fill="{coloured(line)}" xml:space="preserve">{escape(line)}</text>'
        for number, line in enumerate(shown)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" role="img" aria-label="Output of make demo" '
        f'font-family="ui-monospace, monospace" font-size="13">\n<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n{rows}\n</svg>\n'
    )


def main(arguments: list[str]) -> int:
    """Entry point; see the module's docstring."""
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    Path(arguments[1]).write_text(svg(Path(arguments[0]).read_text(), int(arguments[2]) if len(arguments) == 3 else 48))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
