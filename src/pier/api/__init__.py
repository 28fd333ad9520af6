"""The wire contract of Docker's Engine API: versions, plain tables, stream frames; `models` has the types. No I/O."""
