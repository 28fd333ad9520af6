"""A platform that a user names, in the JSON form in which requests carry it from API 1.48 on."""

from pier.cli.session import CommandError
from pier.client import jsontext


def parameter(text: str, says: str = "invalid platform: ") -> str:
    """The JSON of `os[/arch[/variant]]`. Raises CommandError with Docker's text for what is no platform, `says` before it."""
    from pier.errors import Invalid
    from pier.oci.platform import parse

    try:
        platform = parse(text)
    except Invalid as error:
        raise CommandError(f"{says}{error}") from None
    fields = {"architecture": platform.architecture, "os": platform.os, "variant": platform.variant}
    return jsontext.encode({name: value for name, value in fields.items() if value})
