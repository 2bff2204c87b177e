#!/bin/bash
# Signals, subshells, limits, arrays, coprocesses, here strings.
set -euo pipefail
trap 'echo caught' USR1
kill -USR1 $$
(sleep 0.01; echo background) &
wait $!
ulimit -n 100
ulimit -a >/dev/null
mapfile -t lines < <(printf 'a\nb\n')
[ ${#lines[@]} = 2 ]
coproc cat
echo through >&"${COPROC[1]}"
read -r answer <&"${COPROC[0]}"
cat <<<"$answer $((6 * 7))" | sort | tr '[:lower:]' '[:upper:]'
