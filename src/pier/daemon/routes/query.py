"""Parameters that several nouns share."""

from pier.errors import Invalid
from pier.http.message import Request

_MOST_DIGITS = 20


def terminal_size(request: Request) -> tuple[int, int]:
    """(rows, columns) of `h` and `w`. Raises Invalid with Docker's texts."""
    return _dimension(request, "h", "height"), _dimension(request, "w", "width")


def _dimension(request: Request, name: str, word: str) -> int:
    text = request.query.get(name)
    if not (text.isascii() and text.isdigit()):
        raise Invalid(f'invalid resize {word} "{text}": invalid syntax')
    if len(text) > _MOST_DIGITS or int(text) >= 1 << 16:
        raise Invalid(f'invalid resize {word} "{text}": value out of range')
    return int(text)
