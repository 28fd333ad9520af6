"""Which events a client asked for, with Docker's rules."""

from collections.abc import Mapping, Sequence

from pier.api.models.events import EventMessage

# Filters named after a type match the actor's ID or name, whole or as a prefix.
_BY_NAME = ("container", "daemon", "plugin", "volume", "network", "node", "service", "secret", "config")
# Their actions carry an argument after a colon ("exec_create: sh"), so a filter that names one matches by prefix.
_WITH_ARGUMENT = frozenset({"health_status", "exec_create", "exec_start"})


def _without_tag(name: str) -> str:
    """`busybox:1` -> `busybox`, `host:5000/a` stays; a digest goes too."""
    name = name.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


class EventFilter:
    """The `filters` of GET /events: every key must match, by any one of its values; `label` by all of them.

    An unknown key is ignored, as Docker does.
    """

    def __init__(self, filters: Mapping[str, Sequence[str]]) -> None:
        """filters: as decoded from the query."""
        self._filters = {key: tuple(values) for key, values in filters.items() if values}

    def includes(self, event: EventMessage) -> bool:
        """Whether the client wants this event."""
        return not self._filters or all(self._matches(key, values, event) for key, values in self._filters.items())

    def _matches(self, key: str, values: tuple[str, ...], event: EventMessage) -> bool:
        attributes = event.actor.attributes
        if key == "type":
            return event.type in values
        if key == "scope":
            return event.scope in values
        if key == "event":
            loose = not _WITH_ARGUMENT.isdisjoint(values)
            return event.action in values or (loose and event.action.startswith(values))
        if key == "label":
            return all(_has_label(attributes, wanted) for wanted in values)
        if key == "image":
            name = attributes.get("name" if event.type == "image" else "image", "")
            return not {event.actor.id, name, _without_tag(event.actor.id), _without_tag(name)}.isdisjoint(values)
        if key in _BY_NAME:
            return event.actor.id.startswith(values) or attributes.get("name", "").startswith(values)
        return True


def _has_label(attributes: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in attributes and (not equals or attributes[key] == value)
