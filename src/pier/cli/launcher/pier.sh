#!/bin/sh
# The `pier` program where a #! line cannot name the interpreter (a blank in its path, or more than 127 characters).
# -I and -S leave out the user's site folder and the environment's .pth files, which take longer than the program.
exec "@PYTHON@" -IS -c 'import sys
sys.path += @FOLDERS@
sys.argv[0] = sys.argv.pop(1)
import pier.cli.quick
from @MODULE@ import main
main()' "$0" "$@"
