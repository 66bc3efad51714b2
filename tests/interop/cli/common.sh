# Sourced by the tests of the `nats` command line, which define SCENARIOS, a function for each, and start_server.
#
# SERVER is the server's program, NATS the command line's. Results are lines on standard output, as
# tests/interop/run counts them: "1..N" first, then "ok NAME" or "not ok NAME" for each.
# shellcheck shell=bash
set -euo pipefail

readonly DEADLINE=30

# Ignores the user's own contexts.
work=$(mktemp -d)
export XDG_CONFIG_HOME=$work NATS_URL=''
server=''

stop_all() {
  # shellcheck disable=SC2046  # one word per job
  kill $(jobs -p) 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap stop_all EXIT

fail() { echo "$*" >&2; return 1; }

# Waits until file $1 has at least ${3:-1} lines with $2.
await_line() {
  local file=$1 part=$2 count=${3:-1} end=$((SECONDS + DEADLINE))
  until [[ $(grep -cF -- "$part" "$file" 2>/dev/null || true) -ge $count ]]; do
    if ((SECONDS > end)); then
      fail "never $count x '$part' in:" "$(tail -n 40 "$file" 2>/dev/null)"
      return 1
    fi
    sleep 0.02
  done
}

# Starts the server, which logs to file $1, with the arguments that follow. Returns when clients can connect.
start_with_log() {
  local log=$1 line
  shift
  "$SERVER" "$@" &
  server=$!
  await_line "$log" 'Server is ready'
  line=$(grep -o 'client connections on .*' "$log")
  NATS_URL=nats://${line##* }
}

nats() { timeout "$DEADLINE" "$NATS" "$@"; }

has() { grep -qF -- "$2" "$1" || fail "no '$2' in:" "$(cat "$1")"; }

# Starts the server with arguments $@, runs all scenarios and reports them. Ends the script.
run_scenarios() {
  local failed=0 name code
  echo "1..${#SCENARIOS[@]}"
  start_server "$@"
  for name in "${SCENARIOS[@]}"; do
    out=$work/$name
    # In a subshell, where -e applies: it would not in a condition.
    set +e
    (set -e; "$name")
    code=$?
    set -e
    if ((code == 0)); then
      echo "ok $name"
    else
      echo "not ok $name"
      failed=1
    fi
  done
  kill -TERM "$server"
  wait "$server" || { echo "the server ended with $?" >&2; failed=1; }
  exit "$failed"
}
