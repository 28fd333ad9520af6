"""The closed set of errors that Pier raises on purpose, and the one table that maps them to HTTP.

A PierError's text is shown to users and, through the API, matched on by clients: it names the object,
the cause and the way out. Raise or log, never both. Anything else that is raised is a bug and becomes a 500.
"""


class PierError(Exception):
    """Base of all errors that are meant for a user; never raised itself."""

    status = 500


class Invalid(PierError):
    """The request cannot be understood or asks for the impossible: nothing was touched."""

    status = 400


class Unauthorized(PierError):
    """Who asks is not known."""

    status = 401


class Forbidden(PierError):
    """Who asks is known and may not."""

    status = 403


class NotFound(PierError):
    """The named object does not exist."""

    status = 404


class Conflict(PierError):
    """The object is in a state, or a name in a use, that forbids it."""

    status = 409


class NotModified(PierError):
    """The object is already as asked for (start of a running container)."""

    status = 304


class Unavailable(PierError):
    """A helper or the host cannot do it now; trying again may work."""

    status = 503


class NotImplementedByPier(PierError):
    """A feature of Docker's that Pier refuses by its name."""

    status = 400

    def __init__(self, what: str, way_out: str = "") -> None:
        super().__init__(f"{what} is not supported by Pier yet" + (f": {way_out}" if way_out else ""))


class Internal(PierError):
    """Something that should not happen did; also what Docker answers with 500 where clients rely on it."""

    status = 500


def http_status(error: BaseException) -> int:
    """The HTTP status that stands for an error: its class's, 500 for what is no PierError."""
    return error.status if isinstance(error, PierError) else 500
