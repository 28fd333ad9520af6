"""Which versions of Docker's Engine API are spoken, and what is said to a client of another."""

NEWEST = (1, 51)
OLDEST = (1, 24)


def text(version: tuple[int, int]) -> str:
    """`1.51` for (1, 51)."""
    return f"{version[0]}.{version[1]}"


def parse(value: str) -> tuple[int, int]:
    """A version as in a path: `1.44`. What is missing or no number counts as 0, as in Docker's comparison; a third part makes it newer."""
    parts = [int(part) if part.isdigit() else 0 for part in value.split(".")]
    parts += [0] * (2 - len(parts))
    return parts[0], parts[1] + (1 if any(parts[2:]) else 0)


def too_new(value: str) -> str:
    """Docker's words to a client that is too new; empty when it is not."""
    if parse(value) <= NEWEST:
        return ""
    return f"client version {value} is too new. Maximum supported API version is {text(NEWEST)}"


def too_old(value: str) -> str:
    """Docker's words to a client that is too old; empty when it is not."""
    if parse(value) >= OLDEST:
        return ""
    return (
        f"client version {value} is too old. Minimum supported API version is {text(OLDEST)}, "
        "please upgrade your client to a newer version"
    )
