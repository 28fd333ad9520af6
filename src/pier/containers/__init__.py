"""Containers: the record, the state machine, and one file for each verb.

Terms
  container   a record (what was asked for, immutable but for its name) and a state (what became of it)
  key         what the keeper and the pump know a process by: the container's ID, or an exec's
State
  state.db `containers`   one row each: record and state as JSON; the row is there before create answers, the exit code
                          before wait answers
  volatile.db `running`   pid and start time of what runs: a reboot may forget it
  <data-root>/containers/<id>/   config.json, hostname, hosts, resolv.conf, logs
Statuses: created -> running -> exited -> running ...; restarting between two runs of a restart policy; removing; dead
(a removal that failed and is tried again).
A container's lock is held by whoever changes its state; waiting for a process never happens under it.
"""
