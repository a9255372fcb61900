"""A public character vocabulary: every character of GB 2312-1980, ASCII, a few marks; nothing taken from data.

Knows: one character is one token. Must not know: any note. A vocabulary counted in the notes would itself be a release
(a rare character names its patient); a national character set is public.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

PAD, BEGIN, HEADER_END, END, UNKNOWN = "<pad>", "<begin>", "<header-end>", "<end>", "<unknown>"
SPECIAL = (PAD, BEGIN, HEADER_END, END, UNKNOWN)
#: Rows and cells of GB 2312 as two bytes of EUC-CN, each 0xA1 to 0xFE.
_FIRST, _LAST = 0xA1, 0xFE
#: Characters that stand in Chinese records and in neither set (a middle dot that is not the one of GB 2312, and so on).
_ADDED = "\n·—–•²³µ㎡"


class CharVocabulary:
    """Characters as token ids; the special marks come first, in the order of ``SPECIAL``."""

    pad_id, begin_id, header_end_id, end_id, unknown_id = range(len(SPECIAL))

    def __init__(self) -> None:
        self._characters = _public_characters()
        self._ids = {character: len(SPECIAL) + i for i, character in enumerate(self._characters)}

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary, special marks included."""
        return len(SPECIAL) + len(self._characters)

    def encode(self, text: str) -> list[int]:
        """One id per character; what the public sets lack becomes ``UNKNOWN``."""
        return [self._ids.get(character, self.unknown_id) for character in text]

    def encode_header(self, text: str) -> list[int]:
        """The ids that condition a note on its record: begin mark, header, header-end mark."""
        return [self.begin_id, *self.encode(text), self.header_end_id]

    def decode(self, ids: Sequence[int]) -> str:
        """Text up to the first end mark; other special marks are left out."""
        kept: list[str] = []
        for token in ids:
            if token == self.end_id:
                break
            if token >= len(SPECIAL):
                kept.append(self._characters[token - len(SPECIAL)])
        return "".join(kept)


@lru_cache(maxsize=1)
def _public_characters() -> tuple[str, ...]:
    """ASCII in its order, then GB 2312 in its order, then what both lack."""
    cells = (bytes((row, cell)) for row in range(_FIRST, _LAST + 1) for cell in range(_FIRST, _LAST + 1))
    hanzi = [text for pair in cells if (text := pair.decode("gb2312", errors="ignore"))]
    return tuple(dict.fromkeys([*map(chr, range(0x20, 0x7F)), *hanzi, *_ADDED]))
