"""Networks: the predefined three, their addresses, and what the kernel holds of them.

    pier0                       bridge with a fixed MAC, 172.17.0.1/16 or the next free pool
    pier<10 hex>                the host's end of a container's eth0; dies with the container's network namespace
    nft table ip pier           constant rules: masquerade, isolation, martians; no rule for each container
    two rules in ip filter FORWARD, commented "pier: ...", where that chain drops by default
    permanent neighbours        of each container on pier0, and of the gateway in each container

An address is leased to one container at a time; a lease ends when its interface is gone, not before. Names other than the default
instance's carry the instance: see `networks.names`.
"""

from pier.networks.endpoints import Endpoint
from pier.networks.networks import Networks
from pier.networks.setup import NetworkConfig

__all__ = ["Endpoint", "NetworkConfig", "Networks"]
