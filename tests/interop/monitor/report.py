"""Scenarios, reported in TAP."""

import sys
import traceback


def run(scenarios, *given):
    """Runs scenarios in sequence; an unexpected exception fails its scenario. Exits with 1 if one fails."""
    print(f"1..{len(scenarios)}", flush=True)
    failed = 0
    for scenario in scenarios:
        name = scenario.__name__
        try:
            scenario(*given)
            print(f"ok {name}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            if not isinstance(error, AssertionError):
                traceback.print_exc()
            print(f"not ok {name}: {error!r}", flush=True)
    if failed:
        sys.exit(1)
