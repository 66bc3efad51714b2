#!/usr/bin/env bash
# The `nats` command line as operators use it: servers, accounts and events over the system account.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

readonly SCENARIOS=(
  servers_are_listed
  servers_answer_a_ping
  a_server_is_described
  connections_and_accounts_are_reported
  resources_are_reported
  a_server_is_checked
  every_request_is_answered
  an_account_is_described
  an_account_learns_about_itself
  events_are_shown
  a_client_is_closed
  the_configuration_is_reloaded
  an_ordinary_account_is_no_operator
)

write_config() {
  cat >"$work/server.conf" <<EOF
listen: "127.0.0.1:-1"
server_name: one
server_tags: [eu]
trace: true
log_file: "$work/server.log"
accounts {
  \$SYS { users: [ { user: sys, password: s } ] }
  SHOP { users: [ { user: shop, password: s } ] }
}
$*
EOF
}

start_server() {
  write_config
  start_with_log "$work/server.log" -c "$work/server.conf"
}

as() { local user=$1; shift; timeout "$DEADLINE" "$NATS" --user "$user" --password s "$@"; }

# Runs a command as an operator, and expects each of the texts after `--` in its output.
shows() {
  local command=()
  while [[ $1 != -- ]]; do command+=("$1"); shift; done
  shift
  as sys "${command[@]}" >"$out" 2>&1 || fail "$(cat "$out")"
  for text in "$@"; do has "$out" "$text"; done
}

# A client of the account SHOP that stays: prints its process id.
stay() {
  as shop sub "$1" >"$out.sub" 2>&1 & echo $!
}

await_subscription() { await_line "$work/server.log" "<<- [SUB $1 "; }

servers_are_listed() { shows server list 1 -- 'Server Overview' one 2.14.5; }

servers_answer_a_ping() { shows server ping 1 -- one 'rtt='; }

a_server_is_described() { shows server info one -- 'Version: 2.14.5' 'Connection Details' 'Start Time'; }

connections_and_accounts_are_reported() {
  stay reported.subject >"$out.pid"
  await_subscription reported.subject
  shows server report connections --account SHOP -- 'SHOP' 'Connections per server'
  shows server report accounts -- 'Accounts Overview' 'SHOP' '$SYS'
  kill "$(<"$out.pid")"
}

resources_are_reported() {
  shows server report cpu -- 'CPU Usage' one:
  shows server report mem -- 'Memory Usage' one:
}

a_server_is_checked() {
  shows server check connection -- 'OK Connection'
  shows server check server --name one -- 'OK one' 'connections='
}

every_request_is_answered() {
  local what
  for what in variables connections accounts subscriptions routes gateways leafnodes jetstream \
    jetstream-health ipqueue raft; do
    shows server request "$what" -- '"server":{"name":"one"' '"data":'
  done
}

an_account_is_described() {
  stay described.subject >"$out.pid"
  await_subscription described.subject
  shows server account info SHOP -- 'Account information for account SHOP' 'Complete: true'
  kill "$(<"$out.pid")"
}

an_account_learns_about_itself() {
  as shop account info >"$out" 2>&1 || fail "$(cat "$out")"
  has "$out" 'User: shop'
  has "$out" 'Account: SHOP'
  as shop account report connections >"$out" 2>&1 || fail "$(cat "$out")"
  has "$out" 'Connections per server'
  as shop account report statistics >"$out" 2>&1 || fail "$(cat "$out")"
  has "$out" 'Server Statistics'
}

events_are_shown() {
  as sys events --json --no-srv-advisory --subjects '$SYS.ACCOUNT.SHOP.*' >"$out" 2>&1 & local events=$!
  await_subscription '$SYS.ACCOUNT.SHOP.*'
  as shop pub some.subject body >/dev/null 2>&1
  await_line "$out" 'io.nats.server.advisory.v1.client_connect'
  await_line "$out" 'io.nats.server.advisory.v1.client_disconnect'
  kill "$events"
}

a_client_is_closed() {
  stay kicked.subject >"$out.pid"
  await_subscription kicked.subject
  local cid id
  as sys req '$SYS.REQ.SERVER.PING.CONNZ' '{"acc":"SHOP"}' --raw >"$out" 2>/dev/null
  cid=$(grep -o '"cid":[0-9]*' "$out" | tail -n1)
  id=$(grep -o '"id":"N[A-Z2-7]*"' "$out" | head -n1)
  id=${id#*:\"}
  shows server request kick "${cid#*:}" "${id%\"}" -- '"name": "one"'
  await_line "$out.sub" 'Disconnected'
  kill "$(<"$out.pid")"
}

the_configuration_is_reloaded() {
  write_config 'max_payload: 4KB'
  local id
  as sys req '$SYS.REQ.SERVER.PING.IDZ' '' --raw >"$out" 2>/dev/null
  id=$(grep -o '"id":"N[A-Z2-7]*"' "$out")
  id=${id#*:\"}
  as sys req "\$SYS.REQ.SERVER.${id%\"}.RELOAD" '' --raw >"$out" 2>&1
  has "$out" '"server":{"name":"one"'
  await_line "$work/server.log" 'Reloaded server configuration'
}

an_ordinary_account_is_no_operator() {
  ! as shop server list 1 >"$out" 2>&1 || fail "$(cat "$out")"
  as shop req '$SYS.REQ.SERVER.PING.VARZ' '' >"$out" 2>&1 || true
  has "$out" 'No responders'
}

run_scenarios
