package main

import "strings"

// Users in accounts, no_auth_user, and limits of accounts.
func accountWorlds() []world {
	a, b := public(alice), public(bob)
	guests := []struct {
		title, want string
		as          credentials
	}{
		{"nothing", "in", plain()},
		{"only a name", "in", plain("name", "n")},
		{"an empty user", "in", plain("user", "", "pass", "")},
		{"a token", refused, plain("auth_token", "t")},
		{"a password", refused, plain("pass", "p")},
		{"itself with the password", "in", plain("user", "n", "pass", "np")},
		{"itself with a wrong password", refused, plain("user", "n", "pass", "no")},
		{"itself without a password", refused, plain("user", "n")},
		{"another", "in", plain("user", "u", "pass", "p")},
		{"another with a wrong password", refused, plain("user", "u", "pass", "q")},
		{"nobody", refused, plain("user", "z", "pass", "p")},
		{"an nkey", "", signed(mallory)},
		{"an nkey without a signature", "", plain("nkey", b)},
		{"a JWT", "in", plain("jwt", "a.b.c")},
		{"only a signature", "in", plain("sig", "x")},
		{"an account", refused, plain("account", "A")},
	}
	all := func(s *stage) {
		for _, guest := range guests {
			s.try(guest.title, guest.want, guest.as, "PUB n.x 0\r\n", "PUB other 0\r\n")
		}
	}
	return []world{
		of("users in accounts", `accounts {
			A { users [ { user: a, password: pa }, { nkey: `+a+` } ] }
			B { users [ { user: b, password: pb, permissions { publish: "b" } }, { user: hashed, password: "`+bcrypted+`" } ] }
			C { users: [ { user: c, password: pc } ], default_permissions { publish { deny: "no" } } }
			D {}
		}
		authorization { users [ { user: g, password: pg } ] }`, func(s *stage) {
			s.try("of A", "in", plain("user", "a", "pass", "pa"))
			s.try("an nkey of A", "in", signed(alice))
			s.try("an nkey of A without a signature", refused, plain("nkey", a))
			s.try("of B", "in", plain("user", "b", "pass", "pb"), "PUB b 0\r\n", "PUB c 0\r\n")
			s.try("of B, hashed", "in", plain("user", "hashed", "pass", "s3cret"))
			s.try("of B, hashed and wrong", refused, plain("user", "hashed", "pass", "b"))
			s.try("of C with the account's permissions", "in", plain("user", "c", "pass", "pc"), "PUB no 0\r\n", "PUB yes 0\r\n")
			s.try("of no account", "", plain("user", "g", "pass", "pg"))
			s.try("of A with a password of B", refused, plain("user", "a", "pass", "pb"))
			s.try("an account's name", refused, plain("user", "A", "pass", "pa"))
			s.try("nothing", refused, plain())
			s.try("with an account", refused, plain("user", "a", "pass", "pa", "account", "A"))
			s.try("with a new account", refused, plain("user", "a", "pass", "pa", "new_account", true))
			one := s.dial()
			s.tryOn(one, "hears its account", "in", plain("user", "a", "pass", "pa"), "SUB x 1", "PUB x 1\r\nx")
			two := s.dial()
			s.tryOn(two, "does not hear another", "in", plain("user", "hashed", "pass", "s3cret"), "SUB x 1")
			s.say(one, "says it to its own only", "MSG x 1 1, x", "PUB x 1\r\nx")
			s.say(two, "hears nothing", "", "")
		}),
		of("a user for whoever has none", `no_auth_user: n
			authorization { users [ { user: n, password: np, permissions { publish: "n.>" } }, { user: u, password: p } ] }`, all),
		of("a user in an account for whoever has none", `no_auth_user: n
			accounts { A { users [ { user: n, password: np, permissions { publish: "n.>" } } ] }, B { users [ { user: u, password: p } ] } }`, all),
		of("a hashed user for whoever has none", `no_auth_user: n
			authorization { users [ { user: n, password: "`+bcrypted+`" }, { user: u, password: p } ] }`, func(s *stage) {
			s.try("nothing", "", plain())
			s.try("itself", "in", plain("user", "n", "pass", "s3cret"))
			s.try("itself with the hash", refused, plain("user", "n", "pass", bcrypted))
		}),
		of("a user of other connections for whoever has none", `no_auth_user: n
			authorization { users [ { user: n, password: np, allowed_connection_types: [WEBSOCKET] }, { user: u, password: p } ] }`, func(s *stage) {
			s.try("nothing", refused, plain())
			s.try("another", "in", plain("user", "u", "pass", "p"))
		}),
		of("an nkey in an account for whoever has none", `no_auth_user: `+a+`
			accounts { A { users [ { nkey: `+a+` } ] }, B { users [ { user: u, password: p } ] } }`, func(s *stage) {
			s.try("nothing", "in", plain())
			s.try("that nkey without a signature", "in", plain("nkey", a))
			s.try("another user", "in", plain("user", "u", "pass", "p"))
			s.try("a password", refused, plain("pass", "p"))
		}),
		of("limits of an account", `accounts {
			A { limits { max_connections: 2, max_subscriptions: 3, max_payload: 10 }, users [ { user: a, password: p }, { nkey: `+b+` } ] }
			B { users [ { user: b, password: p } ] }
		}`, func(s *stage) {
			one := s.try("the first", "in", plain("user", "a", "pass", "p"))
			two := s.try("the second", "in", signed(bob))
			s.try("the third", "maximum account active connections exceeded", plain("user", "a", "pass", "p"))
			s.try("the third with an nkey", "", signed(bob))
			s.try("the third with a wrong password", refused, plain("user", "a", "pass", "q"))
			s.try("of another account", "in", plain("user", "b", "pass", "p"))
			s.say(one, "three subscriptions", "", "SUB a 1\r\nSUB b 2\r\nSUB c 3")
			s.say(one, "a fourth", "-ERR 'maximum subscriptions exceeded'", "SUB d 4")
			s.say(two, "a subscription of the second", "", "SUB d 1")
			s.say(one, "in place of another", "", "UNSUB 1\r\nSUB d 4")
			s.say(one, "ten bytes", "", "PUB x 10\r\n0123456789")
			s.say(one, "eleven bytes", "", "PUB x 11\r\n01234567890")
			s.after(one, "then", "closed")
			one.gone()
			s.try("in place of the first", "in", plain("user", "a", "pass", "p"))
		}),
		of("a payload of everybody", `max_payload: 8, max_subscriptions: 2, max_control_line: 512`, func(s *stage) {
			g := s.try("a client", "in", plain(), "SUB a 1", "SUB b 2", "SUB c 3", "PUB x 8\r\n01234567")
			s.say(g, "nine bytes", "-ERR 'Maximum Payload Violation', closed", "PUB x 9\r\n012345678")
			h := s.try("another", "in", plain())
			s.say(h, "a long line", "-ERR 'maximum control line exceeded', closed", "SUB "+strings.Repeat("a", 600)+" 1")
		}),
	}
}
