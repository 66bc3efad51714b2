package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// A configuration with which a server starts, or not.
type attempt struct {
	title  string
	starts bool
	text   string
}

// Starts a server with each configuration. Their texts differ: natsd says where, and what is expected there.
func attempts(name string, all ...attempt) world {
	return world{name, nil, func(s *stage) {
		for _, one := range all {
			write(s.path(config), base+one.text)
			want := "refused"
			if one.starts {
				want = "starts"
			}
			server, said := start(s.program, s.place)
			verdict := "starts"
			if server != nil {
				server.stop()
			} else {
				verdict = "refused"
				if reason := strings.Join(said, " / "); strings.Contains(reason, ": natsd has no ") && strings.Contains(reason, " yet") {
					verdict = notYet
				}
			}
			if os.Getenv("SHOW") != "" {
				fmt.Fprintf(os.Stderr, "%s: %s\n  %s\n", one.title, verdict, strings.Join(said, "\n  "))
			}
			s.record(one.title, want, verdict)
		}
	}}
}

func startWorlds() []world {
	of := func(text string) string { return "accounts {\n" + text + "\n}\n" }
	// An account that exports, and one that imports.
	pair := func(exports, imports string) string {
		return of("A { users [ { user: a, password: p } ], exports [ " + exports + " ] }\nB { users [ { user: b, password: p } ], imports [ " + imports + " ] }")
	}
	one := func(exports string) string { return pair(exports, "") }
	maps := func(text string) string {
		return of("A { users [ { user: a, password: p } ], mappings { " + text + " } }")
	}
	curve := must(nkeys.CreateCurveKeys())
	callout := func(text string) string {
		return "accounts { AUTH { users [ { user: auth, password: p } ] }, A {} }\nauthorization { auth_callout { " + text + " } }\n"
	}
	issuer := public(account("issuer"))
	user := public(alice)
	return []world{
		attempts("exports",
			attempt{"a stream", true, one(`{ stream: "a.>" }`)},
			attempt{"a service", true, one(`{ service: "a.b" }`)},
			attempt{"both", false, one(`{ service: "a", stream: "b" }`)},
			attempt{"both of one subject", true, one(`{ service: "a" }, { stream: "a" }`)},
			attempt{"neither", false, one(`{ accounts: [B] }`)},
			attempt{"a text", false, one(`"a"`)},
			attempt{"a number as subject", false, one(`{ stream: 7 }`)},
			attempt{"an empty subject", false, one(`{ stream: "" }`)},
			attempt{"an invalid subject", false, one(`{ stream: "a..b" }`)},
			attempt{"an invalid wildcard", true, one(`{ stream: "a.b*" }`)},
			attempt{"an unknown key", false, one(`{ stream: "a", nonsense: 1 }`)},
			attempt{"for an account", true, one(`{ stream: "a", accounts: [B] }`)},
			attempt{"for no account", true, one(`{ stream: "a", accounts: [] }`)},
			attempt{"for an unknown account", false, one(`{ stream: "a", accounts: [C] }`)},
			attempt{"for a number", false, one(`{ stream: "a", accounts: [7] }`)},
			attempt{"for one account as text", false, one(`{ stream: "a", accounts: B }`)},
			attempt{"twice", true, one(`{ stream: "a" }, { stream: "a" }`)},
			attempt{"a response", true, one(`{ service: "a", response: stream }`)},
			attempt{"a response by its other name", true, one(`{ service: "a", response_type: Chunked }`)},
			attempt{"an unknown response", false, one(`{ service: "a", response: "two" }`)},
			attempt{"a response of a stream", false, one(`{ stream: "a", response: stream }`)},
			attempt{"a threshold", true, one(`{ service: "a", threshold: "1s" }`)},
			attempt{"a threshold without unit", false, one(`{ service: "a", threshold: "soon" }`)},
			attempt{"a threshold of a stream", false, one(`{ stream: "a", threshold: "1s" }`)},
			attempt{"a threshold with a response of many", true, one(`{ service: "a", threshold: "1s", response: stream }`)},
			attempt{"latency", true, one(`{ service: "a", latency: "lat.a" }`)},
			attempt{"latency with sampling", true, one(`{ service: "a", latency { sampling: 10%, subject: "lat.a" } }`)},
			attempt{"latency with sampling by headers", true, one(`{ service: "a", latency { sampling: headers, subject: "lat.a" } }`)},
			attempt{"latency without subject", false, one(`{ service: "a", latency { sampling: 10 } }`)},
			attempt{"latency without sampling", true, one(`{ service: "a", latency { subject: "lat.a" } }`)},
			attempt{"latency of a stream", false, one(`{ stream: "a", latency: "lat.a" }`)},
			attempt{"latency to a wildcard", false, one(`{ service: "a", latency: "lat.*" }`)},
			attempt{"latency of 0 percent", false, one(`{ service: "a", latency { sampling: 0, subject: "lat.a" } }`)},
			attempt{"latency of 101 percent", false, one(`{ service: "a", latency { sampling: 101%, subject: "lat.a" } }`)},
			attempt{"latency of nonsense", false, one(`{ service: "a", latency { sampling: often, subject: "lat.a" } }`)},
			attempt{"latency of many responses", false, one(`{ service: "a", response: stream, latency: "lat.a" }`)},
			attempt{"a position", true, one(`{ service: "a.*", account_token_position: 2 }`)},
			attempt{"a position of a stream", true, one(`{ stream: "a.*", account_token_position: 2 }`)},
			attempt{"a position without wildcard", false, one(`{ service: "a.b", account_token_position: 2 }`)},
			attempt{"a position of another token", false, one(`{ service: "a.*", account_token_position: 1 }`)},
			attempt{"a position beyond", false, one(`{ service: "a.*", account_token_position: 3 }`)},
			attempt{"a position of what may be several", false, one(`{ service: "a.>", account_token_position: 2 }`)},
			attempt{"a position of 0", true, one(`{ service: "a.*", account_token_position: 0 }`)},
			attempt{"a position beside accounts", false, one(`{ service: "a.*", accounts: [B], account_token_position: 2 }`)},
			attempt{"tracing of a service", true, one(`{ service: "a", allow_trace: true }`)},
			attempt{"tracing of a stream", false, one(`{ stream: "a", allow_trace: true }`)},
		),
		attempts("imports",
			attempt{"a stream", true, pair(`{ stream: "a.>" }`, `{ stream { account: A, subject: "a.>" } }`)},
			attempt{"a service", true, pair(`{ service: "a" }`, `{ service { account: A, subject: "a" } }`)},
			attempt{"a part", true, pair(`{ stream: "a.>" }`, `{ stream { account: A, subject: "a.b" } }`)},
			attempt{"more than is exported", false, pair(`{ stream: "a.b" }`, `{ stream { account: A, subject: "a.>" } }`)},
			attempt{"what is not exported", false, pair(`{ stream: "a" }`, `{ stream { account: A, subject: "b" } }`)},
			attempt{"a stream that is a service", false, pair(`{ service: "a" }`, `{ stream { account: A, subject: "a" } }`)},
			attempt{"what is for others", false, pair(`{ service: "a", accounts: [A] }`, `{ service { account: A, subject: "a" } }`)},
			attempt{"of no account", false, pair(`{ stream: "a" }`, `{ stream { subject: "a" } }`)},
			attempt{"of an unknown account", false, pair(`{ stream: "a" }`, `{ stream { account: C, subject: "a" } }`)},
			attempt{"of itself", false, of(`A { exports [ { service: "a" } ], imports [ { service { account: A, subject: "a" } } ] }`)},
			attempt{"without subject", false, pair(`{ stream: "a" }`, `{ stream { account: A } }`)},
			attempt{"neither", false, pair(`{ stream: "a" }`, `{ account: A, subject: "a" }`)},
			attempt{"both", false, pair(`{ stream: "a" }, { service: "a" }`, `{ stream { account: A, subject: "a" }, service { account: A, subject: "a" } }`)},
			attempt{"an unknown key", false, pair(`{ stream: "a" }`, `{ stream { account: A, subject: "a" }, nonsense: 1 }`)},
			attempt{"an unknown key within", false, pair(`{ stream: "a" }`, `{ stream { account: A, subject: "a", nonsense: 1 } }`)},
			attempt{"a text", false, pair(`{ stream: "a" }`, `"a"`)},
			attempt{"with a prefix", true, pair(`{ stream: "a" }`, `{ stream { account: A, subject: "a" }, prefix: "p.q" }`)},
			attempt{"with an invalid prefix", false, pair(`{ stream: "a" }`, `{ stream { account: A, subject: "a" }, prefix: "p..q" }`)},
			attempt{"with a wildcard as prefix", false, pair(`{ stream: "a" }`, `{ stream { account: A, subject: "a" }, prefix: "*" }`)},
			attempt{"a service with a prefix", false, pair(`{ service: "a" }`, `{ service { account: A, subject: "a" }, prefix: "p" }`)},
			attempt{"a stream to a subject", true, pair(`{ stream: "a.*" }`, `{ stream { account: A, subject: "a.*" }, to: "b.$1" }`)},
			attempt{"a stream to a subject and a prefix", false, pair(`{ stream: "a" }`, `{ stream { account: A, subject: "a" }, to: "b", prefix: "p" }`)},
			attempt{"a service to a subject", true, pair(`{ service: "a" }`, `{ service { account: A, subject: "a" }, to: "b" }`)},
			attempt{"a service with wildcards in another order", true, pair(`{ service: "a.*.*" }`, `{ service { account: A, subject: "a.$2.$1" }, to: "b.*.*" }`)},
			attempt{"a service with too few wildcards", false, pair(`{ service: "a.*.*" }`, `{ service { account: A, subject: "a.*.*" }, to: "b.*" }`)},
			attempt{"a service with a wildcard too much", false, pair(`{ service: "a.b" }`, `{ service { account: A, subject: "a.b" }, to: "b.*" }`)},
			attempt{"a service twice", true, pair(`{ service: "a" }`, `{ service { account: A, subject: "a" } }, { service { account: A, subject: "a" } }`)},
			attempt{"two services as one", true, pair(`{ service: "a" }, { service: "b" }`, `{ service { account: A, subject: "a" }, to: "x" }, { service { account: A, subject: "b" }, to: "x" }`)},
			attempt{"a stream twice", false, pair(`{ stream: "a" }`, `{ stream { account: A, subject: "a" } }, { stream { account: A, subject: "a" } }`)},
			attempt{"a shared service", true, pair(`{ service: "a" }`, `{ service { account: A, subject: "a" }, share: true }`)},
			attempt{"a shared stream", false, pair(`{ stream: "a" }`, `{ stream { account: A, subject: "a" }, share: true }`)},
			attempt{"a traced stream", true, pair(`{ stream: "a" }`, `{ stream { account: A, subject: "a" }, allow_trace: true }`)},
			attempt{"a traced service", false, pair(`{ service: "a" }`, `{ service { account: A, subject: "a" }, allow_trace: true }`)},
			attempt{"a service from and back", false, of(`A { exports [ { service: "a" } ], imports [ { service { account: B, subject: "b" }, to: "a" } ] }
				B { exports [ { service: "b" } ], imports [ { service { account: A, subject: "a" }, to: "b" } ] }`)},
			attempt{"services from and back", true, of(`A { exports [ { service: "a" } ], imports [ { service { account: B, subject: "b" } } ] }
				B { exports [ { service: "b" } ], imports [ { service { account: A, subject: "a" } } ] }`)},
			attempt{"a service around three", false, of(`A { exports [ { service: "s" } ], imports [ { service { account: C, subject: "s" } } ] }
				B { exports [ { service: "s" } ], imports [ { service { account: A, subject: "s" } } ] }
				C { exports [ { service: "s" } ], imports [ { service { account: B, subject: "s" } } ] }`)},
			attempt{"a stream from and back", false, of(`A { exports [ { stream: "s" } ], imports [ { stream { account: B, subject: "s" } } ] }
				B { exports [ { stream: "s" } ], imports [ { stream { account: A, subject: "s" } } ] }`)},
			attempt{"by the position of its name", true, pair(`{ service: "a.*", account_token_position: 2 }`, `{ service { account: A, subject: "a.B" } }`)},
			attempt{"by the position of another name", false, pair(`{ service: "a.*", account_token_position: 2 }`, `{ service { account: A, subject: "a.A" } }`)},
		),
		attempts("mappings",
			attempt{"one", true, maps(`a: b`)},
			attempt{"one of everybody", true, "mappings { a: b }"},
			attempt{"with a wildcard", true, maps(`"a.*": "b.$1"`)},
			attempt{"with a function", true, maps(`"a.*.*": "b.{{wildcard(2)}}.{{partition(3,1,2)}}"`)},
			attempt{"with a random function", true, maps(`"a": "b.{{random(10)}}"`)},
			attempt{"with an unknown function", false, maps(`"a.*": "b.{{nonsense(1)}}"`)},
			attempt{"with a function without arguments", false, maps(`"a.*": "b.{{wildcard()}}"`)},
			attempt{"with a wildcard that is not there", false, maps(`"a.*": "b.$2"`)},
			attempt{"with a wildcard that is not used", true, maps(`"a.*": "b"`)},
			attempt{"to a wildcard", false, maps(`"a": "b.*"`)},
			attempt{"to a full wildcard", false, maps(`"a": "b.>"`)},
			attempt{"between full wildcards", true, maps(`"a.>": "b.>"`)},
			attempt{"from an invalid subject", false, maps(`"a..b": "b"`)},
			attempt{"to an invalid subject", false, maps(`"a": "b..c"`)},
			attempt{"with weights", true, maps(`a: [ { destination: b, weight: 40% }, { destination: c, weight: 60% } ]`)},
			attempt{"with weights below all", true, maps(`a: [ { destination: b, weight: 40 }, { dest: c, weight: "50" } ]`)},
			attempt{"with weights above all", false, maps(`a: [ { destination: b, weight: 50% }, { destination: c, weight: 60% } ]`)},
			attempt{"with a weight above all", false, maps(`a: [ { destination: b, weight: 101% } ]`)},
			attempt{"with a weight below nothing", false, maps(`a: [ { destination: b, weight: "-1%" } ]`)},
			attempt{"with a weight of nonsense", false, maps(`a: [ { destination: b, weight: much } ]`)},
			attempt{"without a weight", false, maps(`a: [ { destination: b } ]`)},
			attempt{"without a destination", false, maps(`a: [ { weight: 10 } ]`)},
			attempt{"to one destination twice", false, maps(`a: [ { destination: b, weight: 10 }, { destination: b, weight: 10 } ]`)},
			attempt{"with a cluster", true, maps(`a: [ { destination: b, weight: 10, cluster: C } ]`)},
			attempt{"with weights of clusters", true, maps(`a: [ { destination: b, weight: 100, cluster: C }, { destination: b, weight: 100, cluster: D } ]`)},
			attempt{"with an unknown key", false, maps(`a: [ { destination: b, weight: 10, nonsense: 1 } ]`)},
			attempt{"to a number", false, maps(`a: 7`)},
			attempt{"of a list", false, of(`A { mappings [ a ] }`)},
		),
		attempts("users",
			attempt{"an nkey twice", false, `authorization { users [ { nkey: ` + user + ` }, { nkey: ` + user + ` } ] }`},
			attempt{"an nkey in two accounts", false, of(`A { users [ { nkey: ` + user + ` } ] }, B { users [ { nkey: ` + user + ` } ] }`)},
			attempt{"an nkey of an account", false, `authorization { users [ { nkey: ` + issuer + ` } ] }`},
			attempt{"an nkey with a password", false, `authorization { users [ { nkey: ` + user + `, password: p } ] }`},
			attempt{"a seed as nkey", false, `authorization { users [ { nkey: ` + string(must(alice.Seed())) + ` } ] }`},
			attempt{"an unknown kind of connection", false, `authorization { users [ { user: a, password: p, allowed_connection_types: [PIGEON] } ] }`},
			attempt{"an unknown user for whoever has none", false, "no_auth_user: z\nauthorization { users [ { user: a, password: p } ] }"},
			attempt{"a user for whoever has none without users", false, "no_auth_user: z"},
			attempt{"a user for whoever has none beside a token", false, "no_auth_user: z\nauthorization { token: t }"},
			attempt{"a permission with an invalid subject", false, `authorization { users [ { user: a, password: p, permissions { publish: "a..b" } } ] }`},
			attempt{"a permission to publish to a queue", false, `authorization { users [ { user: a, password: p, permissions { publish: "a q" } } ] }`},
			attempt{"a permission for a queue", true, `authorization { users [ { user: a, password: p, permissions { subscribe: "a q" } } ] }`},
			attempt{"responses of nonsense", false, `authorization { users [ { user: a, password: p, permissions { allow_responses: { max: x } } } ] }`},
			attempt{"unlimited responses", true, `authorization { users [ { user: a, password: p, permissions { allow_responses: { max: -1, expires: "1m" } } } ] }`},
			attempt{"default permissions of an account", true, of(`A { users [ { user: a, password: p } ], default_permissions { publish: a } }`)},
			attempt{"invalid default permissions of an account", false, of(`A { users [ { user: a, password: p } ], default_permissions { publish: "a..b" } }`)},
			attempt{"limits of an account", true, of(`A { limits { max_conn: 1, max_subs: 2, max_payload: 3, max_leafnodes: 4 } }`)},
			attempt{"unknown limits of an account", false, of(`A { limits { nonsense: 1 } }`)},
			attempt{"limits of nonsense", false, of(`A { limits { max_conn: many } }`)},
		),
		attempts("callout",
			attempt{"a minimum", true, callout(`issuer: ` + issuer + `, auth_users: [auth], account: AUTH`)},
			attempt{"everything", true, callout(`issuer: ` + issuer + `, auth_users: [auth], account: AUTH, allowed_accounts: [A], xkey: ` + public(curve))},
			attempt{"no account", true, `authorization { users [ { user: auth, password: p } ], auth_callout { issuer: ` + issuer + `, auth_users: [auth] } }`},
			attempt{"no issuer", false, callout(`auth_users: [auth], account: AUTH`)},
			attempt{"a user as issuer", false, callout(`issuer: ` + user + `, auth_users: [auth], account: AUTH`)},
			attempt{"no issuer but a text", false, callout(`issuer: x, auth_users: [auth], account: AUTH`)},
			attempt{"no users", false, callout(`issuer: ` + issuer + `, account: AUTH`)},
			attempt{"an empty list of users", false, callout(`issuer: ` + issuer + `, auth_users: [], account: AUTH`)},
			attempt{"an unknown user", true, callout(`issuer: ` + issuer + `, auth_users: [z], account: AUTH`)},
			attempt{"a key of the wrong kind for sealing", false, callout(`issuer: ` + issuer + `, auth_users: [auth], account: AUTH, xkey: ` + user)},
			attempt{"an unknown key", false, callout(`issuer: ` + issuer + `, auth_users: [auth], account: AUTH, nonsense: 1`)},
			attempt{"twice", false, callout(`issuer: ` + issuer + `, auth_users: [auth], account: AUTH } auth_callout { issuer: ` + issuer)},
		),
		attempts("operators",
			attempt{"with a resolver", true, trusting(operatorToken(nil), usual("A"), "")},
			attempt{"without a resolver", false, fmt.Sprintf("operator: %q\n", operatorToken(nil))},
			attempt{"beside accounts", false, trusting(operatorToken(nil), usual("A"), "accounts { A {} }")},
			attempt{"beside users", false, trusting(operatorToken(nil), usual("A"), "authorization { users [ { user: a, password: p } ] }")},
			attempt{"beside a token", true, trusting(operatorToken(nil), usual("A"), "authorization { token: t }")},
			attempt{"beside a user for whoever has none", false, trusting(operatorToken(nil), usual("A"), "no_auth_user: a")},
			attempt{"beside trusted keys", false, trusting(operatorToken(nil), usual("A"), "trusted_keys: ["+public(operator)+"]")},
			attempt{"only trusted keys", true, "resolver: MEMORY\ntrusted_keys: [" + public(operator) + "]\n"},
			attempt{"trusted keys of an account", false, "resolver: MEMORY\ntrusted_keys: [" + issuer + "]\n"},
			attempt{"that is no JWT", false, trusting("nonsense", usual("A"), "")},
			attempt{"that is an account", false, trusting(accountToken("A", nil), usual("A"), "")},
			attempt{"that has expired", false, trusting(operatorToken(func(c *jwt.OperatorClaims) { c.Expires = unixIn(-time.Hour) }), usual("A"), "")},
			attempt{"that is not yet valid", false, trusting(operatorToken(func(c *jwt.OperatorClaims) { c.NotBefore = unixIn(time.Hour) }), usual("A"), "")},
			attempt{"of a later server", false, trusting(operatorToken(func(c *jwt.OperatorClaims) { c.AssertServerVersion = "9.0.0" }), usual("A"), "")},
			attempt{"of an earlier server", true, trusting(operatorToken(func(c *jwt.OperatorClaims) { c.AssertServerVersion = "2.0.0" }), usual("A"), "")},
			attempt{"with another system account", false, trusting(operatorToken(nil), usual("A"), "system_account: "+public(account("A")))},
			attempt{"with the same system account", true, trusting(operatorToken(nil), usual("A"), "system_account: "+public(account("SYS")))},
			attempt{"without system account", true, trusting(operatorToken(func(c *jwt.OperatorClaims) { c.SystemAccount = "" }), usual("A"), "")},
			attempt{"whose system account is not there", false, trusting(operatorToken(nil), map[string]string{"A": accountToken("A", nil)}, "")},
			attempt{"with an account that is none", false, trusting(operatorToken(nil), map[string]string{"SYS": accountToken("SYS", nil), "A": "nonsense"}, "")},
			attempt{"with an account under another key", true, trusting(operatorToken(nil), map[string]string{"SYS": accountToken("SYS", nil), "A": accountToken("B", nil)}, "")},
			attempt{"with a sentinel", true, trusting(operatorToken(nil), usual("A"), fmt.Sprintf("default_sentinel: %q", userToken(account("A"), alice, func(c *jwt.UserClaims) { c.BearerToken = true })))},
			attempt{"with a sentinel that signs", false, trusting(operatorToken(nil), usual("A"), fmt.Sprintf("default_sentinel: %q", userToken(account("A"), alice, nil)))},
			attempt{"with a sentinel that is none", false, trusting(operatorToken(nil), usual("A"), "default_sentinel: nonsense")},
			attempt{"a sentinel without operators", false, fmt.Sprintf("default_sentinel: %q", userToken(account("A"), alice, func(c *jwt.UserClaims) { c.BearerToken = true }))},
			attempt{"an unknown resolver", false, fmt.Sprintf("operator: %q\nresolver: NOWHERE\n", operatorToken(nil))},
			attempt{"with pinned accounts", true, trusting(operatorToken(nil), usual("A"), "resolver_pinned_accounts: ["+public(account("A"))+"]")},
			attempt{"with pinned users", false, trusting(operatorToken(nil), usual("A"), "resolver_pinned_accounts: ["+user+"]")},
		),
	}
}
