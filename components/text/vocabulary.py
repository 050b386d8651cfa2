"""Word pieces learnt from counted words, for greedy longest-first tokenization.

The learners at hand do not do: that of TensorFlow Text takes a minute for some thousand words, and that of Hugging
Face's ``tokenizers`` breaks ties differently in each run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from functools import partial

PADDING_PIECE, UNKNOWN_PIECE, JOINER = "[PAD]", "[UNK]", "##"
MOST_WORDS = 50_000
"""Words that a vocabulary is learnt from at most, the most frequent ones."""

_LONGEST = 12
# Candidates for each piece of the vocabulary, before each round of pruning.
_ROUNDS = (8, 2)


def learn_vocabulary(words: Mapping[str, int], size: int) -> list[str]:
    """Learns word pieces: all characters, and the longer pieces that cover most letters of the words.

    Candidates are the pieces of words; they are pruned by how many letters each covers where all words are
    tokenized with them, as a whole (generate, use and prune, as in the WordPiece learner of TensorFlow Text).

    Args:
        words: Normalised words and how often each occurs.
        size: Most pieces; characters beyond half of it are left out, the rarest first.

    Returns:
        The pieces in the order of their ids: padding, unknown, then the others by value. The same words in any order
        give the same pieces.

    Example:
        >>> learn_vocabulary({"tea": 9, "teapot": 5, "pot": 1}, 100)
        ['[PAD]', '[UNK]', '##a', '##e', '##o', '##ot', '##p', '##t', 'p', 't', 'tea', 'teapot']
    """
    counted = sorted(words.items(), key=lambda word: (-word[1], word[0]))[:MOST_WORDS]
    room = size - 2
    characters = set(_best(_total(counted, _characters), room // 2))
    # A piece of one word that occurs once covers nothing else.
    found = {piece: count for piece, count in _total(counted, _parts).items() if count > 1}
    pieces = set(_best(_letters(found), _ROUNDS[0] * size))
    for candidates in (*_ROUNDS[1:], None):
        used = _total(counted, partial(split, pieces=pieces | characters))
        longer = {piece: count for piece, count in used.items() if piece not in characters}
        pieces = set(_best(_letters(longer), room - len(characters) if candidates is None else candidates * size))
    return [PADDING_PIECE, UNKNOWN_PIECE, *sorted(pieces | characters)]


def split(word: str, pieces: Set[str]) -> list[str]:
    """The pieces of a word, the longest first from its beginning; none where no pieces make it up.

    Args:
        word: A word.
        pieces: The pieces.

    Example:
        >>> split("teapots", {"tea", "t", "##pot", "##s"})
        ['tea', '##pot', '##s']
    """
    found, start = [], 0
    while start < len(word):
        joiner = JOINER if start else ""
        for end in range(min(len(word), start + _LONGEST), start, -1):
            if joiner + word[start:end] in pieces:
                break
        else:
            return []
        found.append(joiner + word[start:end])
        start = end
    return found


def _characters(word: str) -> Iterable[str]:
    return (JOINER + letter if place else letter for place, letter in enumerate(word))


def _parts(word: str) -> Iterable[str]:
    for start in range(len(word)):
        joiner = JOINER if start else ""
        for end in range(start + 2, min(len(word), start + _LONGEST) + 1):
            yield joiner + word[start:end]


def _total(counted: Iterable[tuple[str, int]], parts: Callable[[str], Iterable[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for word, count in counted:
        for part in parts(word):
            total[part] += count
    return total


def _letters(counts: Mapping[str, int]) -> dict[str, int]:
    return {piece: count * len(piece.removeprefix(JOINER)) for piece, count in counts.items()}


def _best(scores: Mapping[str, int], most: int) -> list[str]:
    return sorted(scores, key=lambda piece: (-scores[piece], piece))[: max(most, 0)]
