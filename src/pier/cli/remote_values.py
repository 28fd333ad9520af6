"""What the commands share that speak to a registry without a daemon: its flag, and the name that they are given."""

from pier.cli.session import CommandError
from pier.client.references import Name, parse

INSECURE = ("insecure", "", "bool", "Allow a registry without TLS, or with a certificate that nobody vouches for")


def named(text: str) -> Name:
    """The name in an argument. Raises CommandError."""
    try:
        return parse(text)
    except ValueError as error:
        raise CommandError(str(error)) from None
