#!/usr/bin/env bash
# Reads each file of tests/config/corpus with $OURS and with $THEIRS: verdict, values and digest
# must be equal, except for the files listed in tests/config/differences.txt. Reports in TAP.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../../config/corpus"
: "${OURS:?the program that prints what natsd reads}" "${THEIRS:?the program that prints what nats-server reads}"
mapfile -t environment <environment
declare -A different
while IFS=: read -r file reason; do
  [[ -z $file || $file == "#"* || $file == options/* ]] || different[$file]=$reason
done <../differences.txt

# A file that includes itself crashes nats-server's parser, which counts as refused.
read_by() { env -i "${environment[@]}" timeout 60 "$1" "$2" 2>/dev/null || printf 'refused\tcrashed\n'; }

# Reasons are worded differently.
said() { if [[ $1 == refused* ]]; then echo refused; else echo "$1"; fi; }

files=(valid/*.conf broken/*.conf)
echo "1..$((${#files[@]} + 1))"
for file in "${files[@]}"; do
  ours=$(said "$(read_by "$OURS" "$file")")
  theirs=$(said "$(read_by "$THEIRS" "$file")")
  if [[ $file == broken/* && $ours != refused || $file == valid/* && $ours == refused ]]; then
    echo "not ok $file: natsd: $ours"
  elif [[ $ours == "$theirs" && -v different[$file] ]]; then
    echo "not ok $file: no difference, but tests/config/differences.txt names it"
  elif [[ $ours != "$theirs" && ! -v different[$file] ]]; then
    echo "not ok $file: natsd: $ours; nats-server: $theirs"
  else
    echo "ok $file${different[$file]:+: otherwise, because${different[$file]}}"
  fi
  unset "different[$file]"
done
if ((${#different[@]} == 0)); then
  echo "ok differences.txt names no file that is not there"
else
  echo "not ok differences.txt names files that are not there: ${!different[*]}"
fi
