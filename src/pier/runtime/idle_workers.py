"""The worker that waits for the next archive: starting one costs some milliseconds, keeping more than one costs memory."""

from pier.ipc import AsyncChannel


class IdleWorkers:
    """At most one idle worker, by its channel; a channel that is closed ends its process."""

    def __init__(self) -> None:
        self._idle: AsyncChannel | None = None

    def take(self) -> AsyncChannel | None:
        """The idle worker, the caller's from now on; None where there is none that lives."""
        channel, self._idle = self._idle, None
        return channel if channel is not None and not channel.closed else None

    def give_back(self, channel: AsyncChannel, keep: bool) -> None:
        """Take a worker that has nothing to do; it ends unless `keep` and nobody waits already."""
        if channel.closed:
            return
        if keep and (self._idle is None or self._idle.closed):
            self._idle = channel
        else:
            channel.close()

    def close(self) -> None:
        """End the idle worker."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None
