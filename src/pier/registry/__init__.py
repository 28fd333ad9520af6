"""Registries: the client's side of the OCI distribution specification 1.1 and of Docker's registry API v2.

Terms. A *domain* is what a name says (`ghcr.io`; "" is Docker Hub). A *host* is one server that may answer for a domain (`hosts.py`): mirrors
first, the registry itself last. A *repository* is one name on a domain. An *exchange* is one request of ours with all that it takes to get
its answer: credentials, redirects, retries.

What holds everywhere: all calls block and may be made from any thread; each takes a Cancel, which ends it at once from another thread.
Credentials go to the registry they are for and to the token server that it names, nowhere else: no mirror, redirect or foreign URL sees them,
nor does an error, a log or a repr. A server's text is shown with its control bytes escaped. Whatever a server sends is bounded.
"""
