"""The wire type of GET /events."""

import msgspec

from pier.api.models.base import Model


class EventActor(Model):
    """What an event is about."""

    id: str = msgspec.field(name="ID")
    attributes: dict[str, str]


class EventMessage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One event, as Docker's API 1.51 writes it (field order too); status, id and from are there for containers and images only."""

    status: str = ""
    id: str = ""
    from_: str = msgspec.field(name="from", default="")
    type: str = msgspec.field(name="Type")
    action: str = msgspec.field(name="Action")
    actor: EventActor = msgspec.field(name="Actor")
    scope: str
    time: int  # s since the epoch
    time_nano: int = msgspec.field(name="timeNano")  # ns since the epoch
