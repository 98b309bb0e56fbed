"""What a task's text names: its words, quoted phrases and numbers, each whole."""

from __future__ import annotations

import re
from typing import Any, Final

_QUOTED: Final = re.compile(
    r"(?:^|(?<=[\s(\[{]))(?:'([^'\n]+)'|\"([^\"\n]+)\"|`([^`\n]+)`|\u201c([^\u201d\n]+)\u201d|\u2018([^\u2019\n]+)\u2019)"
    r"(?=$|[\s)\]}.,;:!?])"
)
_OPENING: Final = "([{<'\"`\u201c\u2018"
_CLOSING: Final = ")]}>'\"`\u201d\u2019.,;:!?"
_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\Z")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,17}\Z")


def tokens(task: str) -> tuple[Any, ...]:
    """What a task names: each word as it stands between spaces, with and without the punctuation around it, each phrase
    in quotation marks, and each number, typed."""
    found: dict[Any, None] = {}
    texts = [phrase for groups in _QUOTED.findall(task) for phrase in groups if phrase]
    for word in task.split():
        texts.append(word)
        inner = word.lstrip(_OPENING)
        while inner:
            texts.append(inner)
            if inner[-1] not in _CLOSING:
                break
            inner = inner[:-1]
    for text in texts:
        found[text] = None
        if _WHOLE.match(text):
            found[int(text)] = None
        elif _DECIMAL.match(text):
            found[float(text)] = None
    return tuple(found)
