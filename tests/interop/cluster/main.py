"""Scenarios on a cluster of three servers of any kinds. Reports in TAP.

KINDS names the servers: three of natsd, reference and reference-2.9. NATSD, REFERENCE and REFERENCE_29 name their
programs, NATS that of the nats command line, HAPROXY that of HAProxy (HAPROXY_LIBRARIES its libraries), ROAMER and
ROAMER_RUST those of the clients in Go and Rust, MIXED_CLUSTER that of the library's example. MESSAGES is the number of messages for queue groups (default 50,000).
Arguments are parts of names of scenarios.
"""

import accounts  # noqa: F401
import balanced  # noqa: F401
import embedded  # noqa: F401
import formation  # noqa: F401
import gossip  # noqa: F401
import groups  # noqa: F401
import lost  # noqa: F401
import messages  # noqa: F401
import migration  # noqa: F401
import operators  # noqa: F401
import scenarios
import security  # noqa: F401

scenarios.main()
