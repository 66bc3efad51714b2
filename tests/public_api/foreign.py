#!/usr/bin/env python3
"""Lists types of other crates in the public API, from the JSON output of rustdoc.

    foreign.py CRATE.json ...

One line per type: the crate, and the path of the foreign type. A new major version of a foreign crate forces
one of the crate that exposes it. Types of the standard library and of the workspace are omitted.
"""

import json
import sys

STANDARD = {"std", "core", "alloc"}
# These are published together.
OURS = {"broker_core", "broker_net", "broker_bin"}


def types_in(value):
    """Returns the ids of all types and traits in a signature."""
    if isinstance(value, dict):
        for key, inside in value.items():
            if key in ("resolved_path", "trait") and isinstance(inside, dict) and "id" in inside:
                yield inside["id"]
            yield from types_in(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from types_in(inside)


def bounds_in(value):
    """Traits that parameters must have stand in bounds."""
    if isinstance(value, dict):
        if isinstance(value.get("trait_bound"), dict):
            yield value["trait_bound"]["trait"]["id"]
        for inside in value.values():
            yield from bounds_in(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from bounds_in(inside)


def is_ours(item):
    """An item that we have written: not what a blanket impl or the compiler adds."""
    impl = item["inner"].get("impl")
    return not impl or not (impl.get("is_synthetic") or impl.get("synthetic") or impl.get("blanket_impl"))


def foreign(document):
    index, paths = document["index"], document["paths"]
    crates = {str(number): crate["name"] for number, crate in document["external_crates"].items()}
    for item in index.values():
        if item["crate_id"] != 0 or not is_ours(item):
            continue
        # A public item declared elsewhere: `pub use`.
        used = item["inner"].get("use") or item["inner"].get("import")
        named = [used["id"]] if used and used.get("id") is not None else []
        inner = dict(item["inner"])
        if "impl" in inner:
            # Implementations of foreign traits are no part of the crate's signatures, unless the
            # trait is foreign itself.
            inner["impl"] = {key: inner["impl"].get(key) for key in ("trait", "for", "generics")}
        for key in [*named, *types_in(inner), *bounds_in(inner)]:
            path = paths.get(str(key))
            if path and path["crate_id"] != 0:
                name = crates[str(path["crate_id"])]
                if name not in STANDARD | OURS:
                    yield "::".join(path["path"])


def main():
    lines = set()
    for file in sys.argv[1:]:
        with open(file, encoding="utf-8") as text:
            document = json.load(text)
        ours = document["index"][str(document["root"])]["name"]
        lines.update(f"{ours} {path}" for path in foreign(document))
    print("\n".join(sorted(lines)))


if __name__ == "__main__":
    main()
