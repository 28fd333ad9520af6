"""Real clients nobody here wrote: the docker command (28) and docker-py (7), against Pier or, with --target reference, a real dockerd."""
