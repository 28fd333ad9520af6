"""What the tests stand on: real daemons in namespaces of their own, images made here, terminals, the leak check."""
