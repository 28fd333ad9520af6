"""What stands beside the containers of users' networks: their name server, and the ports that are held for them.

A helper process (netd) of the keeper's: one poll loop, neither asyncio nor msgspec. Packages above push tables into it and ask nothing of it
for a packet; it goes on while the daemon restarts.
"""
