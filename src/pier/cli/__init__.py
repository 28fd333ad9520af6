"""The command line: Docker's commands, flags and output, over the HTTP API only.

One file for each command (`run.py`, `ps.py`, ...): its help, its table of flags, and `run(cli, options, args)`, which
returns the exit status. Only the module of the command that was asked for is imported; nothing on the way imports
argparse, re, json, dataclasses, typing, enum, socket or signal, nor os, whose collections.abc takes longer than all of
`pier version`: `posix` has what is needed of it (tests/unit/cli/test_start.py watches).
"""
