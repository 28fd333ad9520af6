"""pier-pump (being written)."""

from pier.ipc import Channel


def main(channel: Channel) -> None:
    while channel.recv() is not None:
        pass
