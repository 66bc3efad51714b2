# `just` lists the recipes; each is one shell command that also works without just.

_default:
    @just --list

# All checks that a change must pass
check:
    .ci/run

# The fast checks: format, lints, tests
quick:
    .ci/run fmt clippy tests

# Independent clients and tools; `just interop --reference python` for a part
interop *args:
    tests/interop/run {{args}}

# Time per message; `just bench fan_out` for some benchmarks
bench *args:
    cargo bench -p broker-core -- {{args}}

# Instructions per message against the stored counts; `just instructions --update` accepts new counts
instructions *args:
    tests/instructions {{args}}

# Fuzzes each target, for 30 s by default
fuzz seconds="30":
    FUZZ_SECONDS={{seconds}} .ci/run fuzz

# Licences, sources, banned crates, known vulnerabilities: needs cargo-deny and the advisory database
deny:
    cargo deny check
