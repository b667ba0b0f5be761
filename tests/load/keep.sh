#!/bin/sh
# Runs one command and sees to it that it does not outlive whoever started this.
#
#   keep.sh COMMAND...
#
# The first line of its output is the number of the command's process; what the command says goes to standard error.
# The end of its input, which comes however its starter ends, kill -9 included, kills the command.
"$@" </dev/null >&2 &
pid=$!
echo "$pid"
# a builtin: waiting for another program would also take the command's end, and its number could be another's by then
while read -r _; do :; done
kill -s KILL "$pid" 2>/dev/null
wait
