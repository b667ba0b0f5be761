#!/bin/sh
# Runs one test broker and sees to it that the broker does not outlive the tests.
#
#   supervise.sh FOLDER COMMAND...
#
# Takes orders, one a line, on standard input, and answers each with one line when it is done:
#   START      starts COMMAND, its output appended to FOLDER/kafka.log
#   STOP CONT  freezes it, lets it go on
#   TERM KILL  ends it, and waits until it is gone
#   ALIVE      answers `alive` or `gone`
# The end of its input, which comes however the tests end, kill -9 included, kills COMMAND and removes FOLDER.
# Only the process that it started itself is ever sent a signal.
folder=$1
shift
pid=

running() {
    jobs >/dev/null # has the shell notice a child that ended
    [ -n "$pid" ] && kill -s 0 "$pid" 2>/dev/null
}

end() {
    if running; then
        kill -s "$1" "$pid"
        kill -s CONT "$pid" # a frozen process gets its TERM only when it goes on
    fi
    wait
    pid=
}

while read -r order; do
    answer='done'
    case $order in
        START)
            "$@" </dev/null >>"$folder/kafka.log" 2>&1 &
            pid=$!
            ;;
        STOP | CONT) kill -s "$order" "$pid" ;;
        TERM | KILL) end "$order" ;;
        ALIVE) if running; then answer=alive; else answer=gone; fi ;;
        *) answer="unknown order $order" ;;
    esac
    echo "$answer"
done
end KILL
rm -rf "$folder"
