"""Pier's tests; docs/testing.md says what lies where and what each needs."""
