#!/usr/bin/env bash
# Loads each file of tests/config/options in natsd and in nats-server: both must refuse the same
# files, and derive equal values from the others, except for the files listed in
# tests/config/differences.txt. Files that natsd refuses only for an unimplemented part are no
# difference. Reports in TAP.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../../config/options"
: "${OURS:?prints what natsd makes of files}" "${THEIRS:?prints what nats-server makes of files}"
: "${NATSD:?natsd}" "${REFERENCE:?nats-server}"
mapfile -t environment <environment
declare -A different=()
while IFS=: read -r file reason; do
  [[ $file != options/* ]] || different[${file#options/}]=$reason
done <../differences.txt

here() { env -i HOME=/nowhere "${environment[@]}" timeout 60 "$@"; }

# Returns true if each error in $1 ends with "natsd has no ... yet".
only_not_yet() {
  local line lines
  lines=$(printf '%b' "${1//\\\"/}")
  [[ $1 == refused* ]] || return 1
  while IFS= read -r line; do
    [[ ${line%\"} =~ \ natsd\ has\ no\ .*\ yet$ ]] || return 1
  done <<<"$lines"
}

# The verdict of -t must agree with the loaded values. It does not start the server and so misses
# later refusals; nats-server's exits with 1 on mere warnings: natsd must warn too. NATS 2.14:
# main.go; opts.go ConfigureOptions.
check() {
  local said theirs=ok
  if said=$(here "$NATSD" -t -c "$1" 2>&1); then
    [[ $verdict == ok ]] || echo 'natsd -t takes it; '
  else
    [[ $verdict == refused ]] || echo 'natsd -t refuses it; '
  fi
  here "$REFERENCE" -t -c "$1" >/dev/null 2>&1 || theirs=refused
  if [[ $theirs == refused && $expected == ok && $verdict == ok && $said != *$'\n'* ]]; then
    echo 'nats-server warns of it and natsd does not; '
  elif [[ $theirs == ok && $expected == refused && $their == *"$1:"* ]]; then
    echo 'nats-server -t takes it; '
  fi
}

files=(valid/*.conf broken/*.conf)
mapfile -t ours < <(here "$OURS" "${files[@]}")
mapfile -t theirs < <(here "$THEIRS" "${files[@]}" 2>/dev/null)
echo "1..$((${#files[@]} + 2))"
if [[ $(here "$OURS") == "$(here "$THEIRS")" ]]; then
  echo "ok the defaults"
else
  echo "not ok the defaults: natsd: $(here "$OURS"); nats-server: $(here "$THEIRS")"
fi
for index in "${!files[@]}"; do
  file=${files[index]} our=${ours[index]-} their=${theirs[index]-}
  verdict=${our%%$'\t'*} expected=${their%%$'\t'*}
  is_same=false note=
  if [[ $verdict == refused && $expected == refused || $our == "$their" ]]; then
    is_same=true
  elif [[ $file == valid/* && $expected == ok ]] && only_not_yet "$our"; then
    is_same=true note=': not yet'
  fi
  said=$(check "$file")
  if [[ $file == broken/* && $verdict != refused || -n $said ]]; then
    echo "not ok $file: ${said}natsd: $our; nats-server: $their"
  elif $is_same && [[ -v different[$file] ]]; then
    echo "not ok $file: no difference, but tests/config/differences.txt names it"
  elif ! $is_same && [[ ! -v different[$file] ]]; then
    echo "not ok $file: natsd: $our; nats-server: $their"
  else
    echo "ok $file$note${different[$file]:+: otherwise, because${different[$file]}}"
  fi
  unset "different[$file]"
done
if ((${#different[@]} == 0)); then
  echo "ok differences.txt names no file that is not there"
else
  echo "not ok differences.txt names files that are not there: ${!different[*]}"
fi
