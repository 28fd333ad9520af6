"""Pier's tests; CONTRIBUTING.md says what lies where and what each needs."""
