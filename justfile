# `just` lists these; each is one line of shell, so nothing here needs just.

_default:
    @just --list

# Everything that must hold before a change lands
check:
    .ci/run

# The fast half of it: format, lints, tests
quick:
    .ci/run fmt clippy tests

# Clients and tools that we did not write; `just interop --reference python` for a part
interop *args:
    tests/interop/run {{args}}

# What a message costs in time; `just bench fan_out` for some
bench *args:
    cargo bench -p broker-core -- {{args}}

# What a message costs in instructions, against what it did; `just instructions --update` accepts
instructions *args:
    tests/instructions {{args}}

# Fuzz each target, 30 s unless told otherwise
fuzz seconds="30":
    FUZZ_SECONDS={{seconds}} .ci/run fuzz

# Licences, sources, banned crates, known vulnerabilities: needs cargo-deny and the advisory database
deny:
    cargo deny check
