#!/usr/bin/env bash
# Operators, accounts and users made by `nsc`, pushed to a server with a directory of JWTs, and given by HTTP.
#
# SERVER is the server's program, NSC and NATS the command lines'. Results are lines on standard output, as
# tests/interop/run counts them: "1..N" first, then "ok NAME" or "not ok NAME" for each. The scenarios build on each
# other.
set -euo pipefail

readonly DEADLINE=30
readonly SCENARIOS=(
  an_account_that_was_not_pushed_has_no_users
  accounts_are_pushed
  accounts_are_pulled
  a_changed_account_acts_at_once
  a_user_is_revoked
  pushed_accounts_outlive_a_restart
  a_deleted_account_is_pruned
  accounts_come_by_http
)

# Ignores the user's own stores, keys and contexts.
work=$(mktemp -d)
export HOME=$work XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data NKEYS_PATH=$work/keys NSC_NO_GIT_IGNORE=true
out=$work/out

# Scenarios run in subshells, so that what they start is known by its files.
stop_all() {
  local file
  for file in "$work"/*.pid; do
    [[ ! -f $file ]] || kill "$(<"$file")" 2>/dev/null || true
  done
  wait
  rm -rf "$work"
}
trap stop_all EXIT

fail() { echo "$*" >&2; return 1; }

# Waits until file $1 has a line with $2.
await_line() {
  local end=$((SECONDS + DEADLINE))
  until grep -qF -- "$2" "$1" 2>/dev/null; do
    if ((SECONDS > end)); then
      fail "never '$2' in:" "$(tail -n 40 "$1" 2>/dev/null)"
      return 1
    fi
    sleep 0.02
  done
}

nsc() { timeout "$DEADLINE" "$NSC" "$@" >"$out" 2>&1 || fail "nsc $*:" "$(cat "$out")"; }

has() { grep -qF -- "$1" "$out" || fail "no '$1' in:" "$(cat "$out")"; }

key_of() { "$NSC" describe account "$1" --json 2>/dev/null | sed -n 's/^ "sub": "\(.*\)",\{0,1\}$/\1/p'; }

# Publishes as a user of an account.
as() {
  local account=$1 user=$2
  timeout "$DEADLINE" "$NATS" --server "$(<"$work/url")" --creds "$work/keys/creds/O/$account/$user.creds" pub x y >"$out" 2>&1
}

lets_in() { as "$@" || fail "$* is not let in:" "$(cat "$out")"; }

keeps_out() { ! as "$@" || fail "$* is let in"; }

# Waits until a user is kept out: the server may do so a moment after the answer to nsc.
comes_to_keep_out() {
  local end=$((SECONDS + DEADLINE))
  while as "$@"; do
    ((SECONDS < end)) || fail "$* is still let in"
    sleep 0.05
  done
}

# Starts a server with the resolver in $1. Of the operator's configuration it uses the parts in the other arguments.
start_server() {
  rm -f "$work/server.log"
  {
    echo "listen: \"127.0.0.1:-1\""
    echo "log_file: \"$work/server.log\""
    timeout "$DEADLINE" "$NSC" generate config --nats-resolver 2>/dev/null |
      sed -n -e '/^operator:/p' -e '/^system_account:/p' "${@:2}"
    echo "$1"
  } >"$work/server.conf"
  "$SERVER" -c "$work/server.conf" 2>"$work/server.err" &
  echo $! >"$work/server.pid"
  await_line "$work/server.log" 'Server is ready' || fail "$(cat "$work/server.err")"
  local line
  line=$(grep -o 'client connections on .*' "$work/server.log")
  echo "nats://${line##* }" >"$work/url"
}

stop_server() {
  local pid end=$((SECONDS + DEADLINE))
  pid=$(<"$work/server.pid")
  kill "$pid"
  # A process that has ended may remain until its parent asks for it.
  while [[ -e /proc/$pid && $(sed 's/.*) \(.\).*/\1/' "/proc/$pid/stat" 2>/dev/null) != Z ]]; do
    ((SECONDS < end)) || fail "the server does not end"
    sleep 0.02
  done
}

directory() {
  echo "resolver { type: full, dir: \"$work/jwt\", allow_delete: true, interval: \"2m\", timeout: \"1.9s\" }"
}

an_account_that_was_not_pushed_has_no_users() { keeps_out A u; }

accounts_are_pushed() {
  nsc push --all
  lets_in A u
  lets_in B v
  [[ -f $work/jwt/$(key_of A).jwt ]] || fail "no file of A in:" "$(ls "$work/jwt")"
}

accounts_are_pulled() {
  local store=$work/data/nats/nsc/stores/O/accounts/A/A.jwt
  [[ -f $store ]] || fail "no $store"
  cp "$store" "$work/A.jwt"
  nsc pull --all
  cmp -s "$store" "$work/A.jwt" || fail "another JWT of A was pulled"
}

a_changed_account_acts_at_once() {
  nsc edit account A --conns 0
  nsc push --account A
  comes_to_keep_out A u
  has 'maximum account active connections exceeded'
  nsc edit account A --conns=-1
  nsc push --account A
  lets_in A u
}

a_user_is_revoked() {
  nsc add user --account A w
  lets_in A w
  nsc revocations add-user --account A --name w
  nsc push --account A
  comes_to_keep_out A w
  lets_in A u
}

pushed_accounts_outlive_a_restart() {
  stop_server
  start_server "$(directory)" -e '/^resolver_preload:/,/^}/p'
  nsc edit operator --account-jwt-server-url "$(<"$work/url")"
  lets_in A u
  keeps_out A w
}

a_deleted_account_is_pruned() {
  local key
  key=$(key_of B)
  cp "$work/keys/creds/O/B/v.creds" "$work/v.creds"
  nsc delete account B
  nsc push --prune
  [[ ! -f $work/jwt/$key.jwt ]] || fail "B is still in:" "$(ls "$work/jwt")"
  mkdir -p "$work/keys/creds/O/B"
  cp "$work/v.creds" "$work/keys/creds/O/B/v.creds"
  comes_to_keep_out B v
}

# Stores and returns JWTs as nats-account-server does.
account_server() {
  exec python3 -u - "$work/http" <<'PYTHON'
import http.server, os, sys

folder = sys.argv[1]
os.makedirs(folder)

class Accounts(http.server.BaseHTTPRequestHandler):
    def path_of_file(self):
        return os.path.join(folder, os.path.basename(self.path) or "operator")

    def reply(self, code, body=b""):
        self.send_response(code)
        self.send_header("Content-Type", "application/jwt")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        try:
            with open(self.path_of_file(), "rb") as file:
                self.reply(200, file.read())
        except FileNotFoundError:
            self.reply(200 if self.path.rstrip("/").endswith("accounts") else 404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(self.path_of_file(), "wb") as file:
            file.write(body)
        self.reply(200)

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Accounts)
print(f"port {server.server_port}")
server.serve_forever()
PYTHON
}

accounts_come_by_http() {
  stop_server
  account_server >"$work/http.port" &
  echo $! >"$work/http.pid"
  await_line "$work/http.port" port
  local base
  base=http://127.0.0.1:$(sed 's/port //' "$work/http.port")/jwt/v1
  nsc edit operator --account-jwt-server-url "$base"
  nsc push --all
  start_server "resolver: URL($base/accounts/)"
  lets_in A u
  keeps_out A w
  nsc add account C
  nsc add user --account C c
  keeps_out C c
  nsc push --account C
  lets_in C c
}

echo "1..${#SCENARIOS[@]}"
nsc add operator --generate-signing-key --sys --name O
nsc add account A
nsc add user --account A u
nsc add account B
nsc add user --account B v
start_server "$(directory)" -e '/^resolver_preload:/,/^}/p'
nsc edit operator --account-jwt-server-url "$(<"$work/url")"
failed=0
for scenario in "${SCENARIOS[@]}"; do
  # In a subshell, where -e applies: it would not in a condition.
  set +e
  (trap - EXIT; set -e; "$scenario")
  code=$?
  set -e
  if ((code == 0)); then
    echo "ok $scenario"
  else
    echo "not ok $scenario"
    failed=1
  fi
done
exit $failed
