"""How one part of a grant says that it is refused, before anybody knows the line it stands on."""

from __future__ import annotations

Path = tuple[str | int, ...]


class Refusal(ValueError):
    """Raised by the readers of a grant's parts: one sentence, and where below the part it applies.

    It is caught where the line is known, and becomes a `GrantError` there.
    """

    def __init__(self, sentence: str, *path: str | int) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.path: Path = path

    def below(self, *parents: str | int) -> Refusal:
        """The same refusal, seen from further up the tree."""
        return Refusal(self.sentence, *parents, *self.path)
