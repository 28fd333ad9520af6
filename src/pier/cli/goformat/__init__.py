"""Go's text/template, as much of it as `--format` needs: parse into nodes, execute over plain values and rows.

Source: pkg.go.dev/text/template. Numbers are Python's own; a missing key, a wrong type and a wrong function end in Go's
texts, which users and their scripts know.
"""
