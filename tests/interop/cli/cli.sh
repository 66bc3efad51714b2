#!/usr/bin/env bash
# The `nats` command line against its own server: publish, subscribe, request, bench.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

readonly SCENARIOS=(
  a_subscriber_prints_published_messages
  a_header_is_printed
  a_queue_group_shares_the_work
  a_request_is_answered
  a_request_without_responders_reports_it
  the_round_trip_is_measured
  a_trace_shows_where_a_message_would_go
  a_delivered_trace_and_its_message_arrive
  a_connection_check_succeeds
  a_benchmark_delivers_every_message_to_every_subscriber
  a_benchmark_of_a_service_gets_every_answer
)

start_server() { start_with_log "$work/server.log" -a 127.0.0.1 -p -1 -V -l "$work/server.log"; }

# The server's trace shows when a subscription is active; the command line reports it too early.
await_subscription() { await_line "$work/server.log" "<<- [SUB $1 " "${2:-1}"; }

a_subscriber_prints_published_messages() {
  nats sub --count=2 'greet.>' >"$out" 2>&1 & local sub=$!
  await_subscription 'greet.>'
  nats pub greet.all 'Hello World!' >"$out.pub" 2>&1
  nats pub greet.you 'Hello you' >>"$out.pub" 2>&1
  wait "$sub"
  has "$out.pub" 'Published 12 bytes to "greet.all"'
  has "$out" 'Received on "greet.all"'
  has "$out" 'Hello World!'
  has "$out" 'Received on "greet.you"'
}

a_header_is_printed() {
  nats sub --count=1 with.header >"$out" 2>&1 & local sub=$!
  await_subscription with.header
  nats pub with.header -H Trace-Id:42 body >/dev/null 2>&1
  wait "$sub"
  has "$out" 'Trace-Id: 42'
  has "$out" 'body'
}

a_queue_group_shares_the_work() {
  local members=()
  for member in 1 2; do
    nats sub --queue=workers jobs >"$out.$member" 2>&1 & members+=($!)
  done
  await_subscription jobs 2
  nats pub jobs 'job {{Count}}' --count 40 >/dev/null 2>&1
  for ((end = SECONDS + DEADLINE; ; )); do
    cat "$out".[12] >"$out"
    [[ $(grep -c '^job ' "$out") -lt 40 ]] || break
    ((SECONDS < end)) || fail "not all arrived:" "$(cat "$out")"
    sleep 0.02
  done
  kill "${members[@]}"
  diff <(grep '^job ' "$out" | sort) <(seq 40 | sed 's/^/job /' | sort)
  # The odds that a fair pick omits one of two members 40 times are 1 in 2^39.
  has "$out.1" 'job '
  has "$out.2" 'job '
}

a_request_is_answered() {
  nats reply svc.echo 'got {{Request}}' >"$out.reply" 2>&1 & local reply=$!
  await_subscription svc.echo
  nats req svc.echo question >"$out" 2>&1
  kill "$reply"
  has "$out" 'got question'
  has "$out" 'Received with rtt'
  has "$out.reply" 'Received on subject "svc.echo"'
}

a_request_without_responders_reports_it() {
  nats req svc.none question >"$out" 2>&1
  has "$out" 'No responders are available'
}

the_round_trip_is_measured() {
  nats rtt >"$out" 2>&1
  grep -qE "$NATS_URL: [0-9.]+(µs|ms)" "$out" || fail "$(cat "$out")"
}

a_trace_shows_where_a_message_would_go() {
  nats sub traced.only --queue=readers --connection-name=reader >"$out.sub" 2>&1 & local sub=$!
  await_subscription traced.only
  nats trace traced.only body >"$out" 2>&1
  kill "$sub"
  grep -qE '^--C Client "reader" cid:[0-9]+ subject:"traced.only" queue:"readers"$' "$out" || fail "$(cat "$out")"
  has "$out" 'Client: 1'
  ! grep -q body "$out.sub" || fail "delivered:" "$(cat "$out.sub")"
  nats trace traced.none >"$out" 2>&1
  has "$out" 'No active interest'
}

a_delivered_trace_and_its_message_arrive() {
  nats sub traced.too --count=1 --connection-name=reader >"$out.sub" 2>&1 & local sub=$!
  await_subscription traced.too
  nats trace traced.too body --deliver >"$out" 2>&1
  wait "$sub"
  grep -qE '^--C Client "reader" cid:[0-9]+ subject:"traced.too"$' "$out" || fail "$(cat "$out")"
  has "$out.sub" 'Nats-Trace-Dest: _INBOX.'
  has "$out.sub" 'body'
}

a_connection_check_succeeds() {
  nats server check connection >"$out" 2>&1 || fail "$(cat "$out")"
  has "$out" 'OK Connection'
}

a_benchmark_delivers_every_message_to_every_subscriber() {
  nats bench sub bench.msgs --clients 4 --msgs 20000 --no-progress >"$out" 2>&1 & local sub=$!
  await_subscription bench.msgs 4
  nats bench pub bench.msgs --clients 2 --msgs 20000 --size 64 --no-progress >"$out.pub" 2>&1
  has "$out.pub" 'publisher aggregated stats:'
  # It ends when each of the four has received all.
  wait "$sub"
  has "$out" 'subscriber aggregated stats:'
  [[ $(grep -cF '(20,000 msgs)' "$out") == 4 ]] || fail "$(cat "$out")"
}

a_benchmark_of_a_service_gets_every_answer() {
  nats bench service serve bench.svc --clients 2 --no-progress >"$out.serve" 2>&1 & local serve=$!
  await_subscription bench.svc 2
  nats bench service request bench.svc --clients 2 --msgs 2000 --size 64 --no-progress >"$out" 2>&1
  kill "$serve"
  has "$out" 'service requester aggregated stats:'
  [[ $(grep -cF '(1,000 msgs)' "$out") == 2 ]] || fail "$(cat "$out")"
}

run_scenarios
