#!/usr/bin/env bash
# The `nats` command line against a server with streams in files: streams, consumers, buckets, benchmarks.
#
# OTHER is the program of another server, with which backups are exchanged; empty for none.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"

readonly SCENARIOS=(
  a_stream_is_added_listed_edited_and_removed
  messages_are_published_read_and_purged
  a_consumer_receives_and_acknowledges
  a_consumer_is_paused_and_resumed
  a_bucket_of_keys_is_used
  a_watch_shows_each_change
  a_bucket_of_objects_is_used
  a_backup_is_restored
  a_backup_is_restored_by_the_other_server
  a_damaged_backup_is_refused
  a_benchmark_publishes
  a_benchmark_reads_in_order
  a_benchmark_consumes_and_acknowledges
  the_account_is_reported
  everything_is_there_after_a_restart
  everything_is_there_after_a_kill
)

# Starts a server with streams in folder $1.
start_server() { start_with_log "$1.log" -a 127.0.0.1 -p -1 -js -sd "$1" -l "$1.log"; }

fails() { if nats "$@" >"$out" 2>&1; then fail "succeeded: nats $*"; fi; }
lacks() { ! grep -qF -- "$2" "$1" || fail "'$2' in:" "$(cat "$1")"; }

# Adds stream $1 with subjects $2 and other options.
add_stream() {
  local name=$1 subjects=$2
  shift 2
  nats stream add "$name" --subjects "$subjects" --defaults "$@" >"$out" 2>&1
}

# Verifies that stream $1 has $2 messages.
counts() {
  nats stream info "$1" --json >"$out.state" 2>&1
  grep -qE "\"messages\": $2,?\$" "$out.state" || fail "not $2 messages in:" "$(cat "$out.state")"
}

a_stream_is_added_listed_edited_and_removed() {
  add_stream PLAIN 'plain.>' --max-msgs=10 --storage=file
  has "$out" 'Stream PLAIN was created'
  nats stream ls --names >"$out" 2>&1
  has "$out" PLAIN
  nats stream info PLAIN >"$out" 2>&1
  has "$out" 'Subjects: plain.>'
  has "$out" 'Storage: File'
  nats stream edit PLAIN --max-msgs=20 --force >"$out" 2>&1
  has "$out" 'Stream PLAIN was updated'
  nats stream info PLAIN --json >"$out" 2>&1
  has "$out" '"max_msgs": 20'
  fails stream add OTHER --subjects 'plain.*' --defaults
  has "$out" 'subjects overlap with an existing stream (10065)'
  nats stream rm PLAIN --force >"$out" 2>&1
  nats stream ls --names >"$out" 2>&1
  lacks "$out" PLAIN
}

messages_are_published_read_and_purged() {
  add_stream ORDERS 'orders.>'
  nats pub --jetstream orders.eu 'count {{Count}}' --count=5 >"$out" 2>&1
  nats pub --jetstream orders.us 'with header' -H Kind:late >"$out" 2>&1
  has "$out" 'Stored in Stream: ORDERS'
  counts ORDERS 6
  nats stream get ORDERS 2 >"$out" 2>&1
  has "$out" 'count 2'
  nats stream get ORDERS --last-for orders.us >"$out" 2>&1
  has "$out" 'with header'
  has "$out" 'Kind: late'
  nats stream subjects ORDERS >"$out" 2>&1
  has "$out" orders.eu
  nats stream rmm ORDERS 2 --force >"$out" 2>&1
  counts ORDERS 5
  nats stream purge ORDERS --subject orders.eu --force >"$out" 2>&1
  counts ORDERS 1
  nats stream purge ORDERS --force >"$out" 2>&1
  counts ORDERS 0
  nats stream rm ORDERS --force >"$out" 2>&1
}

a_consumer_receives_and_acknowledges() {
  add_stream JOBS 'jobs.>'
  nats consumer add JOBS worker --pull --defaults >"$out" 2>&1
  nats pub --jetstream jobs.one 'job {{Count}}' --count=3 >"$out" 2>&1
  nats consumer next JOBS worker --count=2 --ack >"$out" 2>&1
  has "$out" 'job 1'
  has "$out" 'job 2'
  lacks "$out" 'job 3'
  nats consumer info JOBS worker >"$out" 2>&1
  has "$out" 'Unprocessed Messages: 1'
  nats consumer ls JOBS --names >"$out" 2>&1
  has "$out" worker
  nats consumer next JOBS worker --ack >"$out" 2>&1
  has "$out" 'job 3'
  nats consumer rm JOBS worker --force >"$out" 2>&1
  nats consumer ls JOBS --names >"$out" 2>&1
  lacks "$out" worker
  nats stream rm JOBS --force >"$out" 2>&1
}

a_consumer_is_paused_and_resumed() {
  add_stream JOBS 'jobs.>'
  nats consumer add JOBS worker --pull --defaults >"$out" 2>&1
  nats consumer pause JOBS worker 1h --force >"$out" 2>&1
  nats consumer info JOBS worker >"$out" 2>&1
  has "$out" 'Paused Until'
  nats consumer resume JOBS worker --force >"$out" 2>&1
  nats consumer info JOBS worker >"$out" 2>&1
  lacks "$out" 'Paused Until'
  nats stream rm JOBS --force >"$out" 2>&1
}

a_bucket_of_keys_is_used() {
  nats kv add settings --history=5 >"$out" 2>&1
  nats kv put settings colour red >"$out" 2>&1
  nats kv update settings colour blue 1 >"$out" 2>&1
  fails kv update settings colour green 1
  has "$out" 'wrong last sequence: 2'
  fails kv create settings colour black
  nats kv create settings size 7 >"$out" 2>&1
  nats kv get settings colour --raw >"$out" 2>&1
  has "$out" blue
  nats kv ls settings >"$out" 2>&1
  has "$out" size
  nats kv history settings colour >"$out" 2>&1
  has "$out" red
  has "$out" blue
  nats kv del settings colour --force >"$out" 2>&1
  fails kv get settings colour
  has "$out" 'key not found'
  nats kv purge settings size --force >"$out" 2>&1
  nats kv info settings >"$out" 2>&1
  has "$out" 'History Kept: 5'
  nats kv del settings --force >"$out" 2>&1
  fails kv info settings
}

a_watch_shows_each_change() {
  nats kv add watched >"$out" 2>&1
  nats kv put watched colour red >"$out" 2>&1
  nats kv watch watched >"$out.watch" 2>&1 & local watch=$!
  await_line "$out.watch" 'colour: red'
  nats kv put watched colour blue >"$out" 2>&1
  await_line "$out.watch" 'colour: blue'
  nats kv del watched colour --force >"$out" 2>&1
  await_line "$out.watch" 'DEL'
  kill "$watch"
  wait "$watch" || true
  nats kv del watched --force >"$out" 2>&1
}

a_bucket_of_objects_is_used() {
  head -c 300000 /dev/urandom >"$work/content"
  nats object add files >"$out" 2>&1
  nats object put files "$work/content" --name=image --no-progress >"$out" 2>&1
  nats object ls files >"$out" 2>&1
  has "$out" image
  nats object info files image >"$out" 2>&1
  has "$out" 'Chunks: 3'
  nats object get files image --output="$work/copy" --force >"$out" 2>&1
  cmp "$work/content" "$work/copy"
  nats object del files image --force >"$out" 2>&1
  fails object info files image
  nats object del files --force >"$out" 2>&1
}

# Fills a stream with gaps and a consumer, a queue of work, and two buckets of the server at NATS_URL.
fill() {
  add_stream BACKED 'backed.>' --storage=file "$@"
  nats pub --jetstream backed.one 'backed {{Count}}' --count=300 -H Kind:late >"$out" 2>&1
  local sequence
  for sequence in 1 7 8 300; do nats stream rmm BACKED $sequence --force >"$out" 2>&1; done
  nats consumer add BACKED worker --pull --defaults >"$out" 2>&1
  nats consumer next BACKED worker --count=3 --ack >"$out" 2>&1
  nats consumer next BACKED worker --count=2 --no-ack >"$out" 2>&1
  add_stream WORK 'work.>' --storage=file --retention=work "$@"
  nats pub --jetstream work.one 'work {{Count}}' --count=10 >"$out" 2>&1
  nats consumer add WORK worker --pull --defaults >"$out" 2>&1
  nats consumer next WORK worker --count=4 --ack >"$out" 2>&1
  nats kv add backed --history=3 >"$out" 2>&1
  local value
  for value in red green blue black; do nats kv put backed colour $value >"$out" 2>&1; done
  head -c 300000 /dev/urandom >"$work/content"
  nats object add backed >"$out" 2>&1
  nats object put backed "$work/content" --name=image --no-progress --force >"$out" 2>&1
}

# Removes what fill has made.
empty() {
  local name
  for name in BACKED WORK KV_backed OBJ_backed; do nats stream rm "$name" --force >"$out" 2>&1; done
}

# Verifies that the server at NATS_URL has what fill has made.
is_filled() {
  nats stream info BACKED --json >"$out" 2>&1
  local part
  for part in '"messages": 296' '"first_seq": 2' '"last_seq": 300' '"num_deleted": 3'; do has "$out" "$part"; done
  nats stream get BACKED 299 >"$out" 2>&1
  has "$out" 'backed 299'
  has "$out" 'Kind: late'
  nats consumer info BACKED worker --json >"$out" 2>&1
  has "$out" '"num_ack_pending": 2'
  has "$out" '"num_pending": 291'
  grep -A4 '"ack_floor"' "$out" | grep -q '"stream_seq": 4' || fail "another floor in:" "$(cat "$out")"
  counts WORK 6
  nats consumer next WORK worker --count=6 --ack >"$out" 2>&1
  has "$out" 'work 5'
  lacks "$out" 'work 4'
  nats kv history backed colour >"$out" 2>&1
  has "$out" green
  lacks "$out" red
  nats kv get backed colour --raw >"$out" 2>&1
  has "$out" black
  nats object get backed image --output="$work/copy" --force >"$out" 2>&1
  cmp "$work/content" "$work/copy"
}

a_backup_is_restored() {
  fill
  nats account backup "$work/backup" --force >"$out" 2>&1
  empty
  nats account restore "$work/backup" >"$out" 2>&1
  is_filled
  empty
}

# The other server stores compressed and encrypted; its backups are neither.
a_backup_is_restored_by_the_other_server() {
  [[ -n ${OTHER-} ]] || return 0
  local own=$NATS_URL log=$work/other.log
  printf 'jetstream { store_dir: "%s", cipher: aes, key: secret }\n' "$work/other" >"$work/other.conf"
  "$OTHER" -c "$work/other.conf" -a 127.0.0.1 -p -1 -l "$log" & local process=$!
  # shellcheck disable=SC2064  # this process
  trap "kill $process" EXIT
  await_line "$log" 'Server is ready'
  local other
  other=$(grep -o 'client connections on .*' "$log")
  other=nats://${other##* }
  NATS_URL=$other
  fill --compression=s2
  nats account backup "$work/by-other" --force >"$out" 2>&1
  empty
  NATS_URL=$own
  nats account restore "$work/by-other" >"$out" 2>&1
  is_filled
  empty
  fill
  nats account backup "$work/by-own" --force >"$out" 2>&1
  empty
  NATS_URL=$other
  nats account restore "$work/by-own" >"$out" 2>&1
  is_filled
}

a_damaged_backup_is_refused() {
  add_stream DAMAGED 'damaged.>' --storage=file
  nats pub --jetstream damaged.one "$(head -c 3000 /dev/urandom | base64 -w 0)" >"$out" 2>&1
  nats stream backup DAMAGED "$work/damaged" --no-progress >"$out" 2>&1
  nats stream rm DAMAGED --force >"$out" 2>&1
  printf 'XXXX' | dd of="$work/damaged/stream.tar.s2" bs=1 seek=2000 conv=notrunc status=none
  fails stream restore "$work/damaged" --no-progress
  has "$out" 'restore failed'
  nats stream ls --names >"$out" 2>&1
  lacks "$out" DAMAGED
}

a_benchmark_publishes() {
  nats bench js pub batch bench.one --create --stream=BENCH --purge --storage=file --msgs=2000 --size=64 --clients=2 --no-progress >"$out" 2>&1
  has "$out" 'aggregated stats'
  counts BENCH 2000
}

a_benchmark_reads_in_order() {
  nats bench js ordered --stream=BENCH --msgs=2000 --clients=2 --no-progress >"$out" 2>&1
  has "$out" 'aggregated stats'
}

a_benchmark_consumes_and_acknowledges() {
  nats bench js consume --stream=BENCH --msgs=2000 --clients=2 --acks=explicit --no-progress >"$out" 2>&1
  has "$out" 'aggregated stats'
  nats stream rm BENCH --force >"$out" 2>&1
}

the_account_is_reported() {
  add_stream ONE one
  nats account info >"$out" 2>&1
  has "$out" 'JetStream Account Information'
  has "$out" 'Streams: 1'
  nats stream report >"$out" 2>&1
  has "$out" ONE
  nats stream rm ONE --force >"$out" 2>&1
}

# Fills a stream, a consumer and a bucket of a server of its own, ends it with signal $1, and reads them from the next one.
keeps_everything() {
  local folder=$work/ended-by-$1
  trap 'kill "$server"' EXIT
  start_server "$folder"
  add_stream KEPT 'kept.>'
  nats consumer add KEPT worker --pull --defaults >"$out" 2>&1
  nats pub --jetstream kept.one 'kept {{Count}}' --count=50 >"$out" 2>&1
  nats kv add settings >"$out" 2>&1
  nats kv put settings colour red >"$out" 2>&1
  kill "-$1" "$server"
  wait "$server" 2>/dev/null || true
  mv "$folder.log" "$folder.first.log"
  start_server "$folder"
  counts KEPT 50
  nats consumer next KEPT worker --count=50 --ack >"$out" 2>&1
  has "$out" 'kept 1'
  has "$out" 'kept 50'
  nats kv get settings colour --raw >"$out" 2>&1
  has "$out" red
}

everything_is_there_after_a_restart() { keeps_everything TERM; }
everything_is_there_after_a_kill() { keeps_everything KILL; }

run_scenarios "$work/store"
