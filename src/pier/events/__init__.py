"""What happened, for who asks: the journal keeps the last 256 events and feeds the subscribers. Nothing of it survives the daemon."""

from pier.events.filters import EventFilter
from pier.events.journal import Journal, Subscription

__all__ = ["EventFilter", "Journal", "Subscription"]
