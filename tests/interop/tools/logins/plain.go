package main

import "strings"

const refused = "Authorization Violation"

// Of "s3cret", with the lowest cost.
const bcrypted = "$2a$04$OUyXx6pb56FOmLi28vUfVuouumT27DaE8b/8l/HPjV2dZbHg56ckG"

// Tokens, users and passwords.
func plainWorlds() []world {
	return []world{
		of("open", "", func(s *stage) {
			s.try("nothing", "in", plain())
			s.try("a user", "in", plain("user", "u", "pass", "p"))
			s.try("a token", "in", plain("auth_token", "t"))
			s.try("an nkey without a signature", "in", plain("nkey", public(alice)))
			s.try("an nkey", "in", signed(alice))
			s.try("a JWT that is none", "in", plain("jwt", "a.b.c"))
			s.try("an account", refused, plain("account", "A"))
			s.try("a new account", refused, plain("new_account", true))
			s.try("an empty account", "in", plain("account", ""))
			s.try("a protocol from the future", "invalid client protocol", plain("protocol", 2))
			s.try("a negative protocol", "invalid client protocol", plain("protocol", -1))
			s.try("no responders without headers", "no responders requires headers support", plain("headers", false))
			s.try("verbose", "in", plain("verbose", true), "SUB a 1", "PUB a 1\r\nx")
		}),
		of("token", `authorization { token: "s3cret" }`, func(s *stage) {
			s.try("right", "in", plain("auth_token", "s3cret"))
			s.try("wrong", refused, plain("auth_token", "secret"))
			s.try("in capitals", refused, plain("auth_token", "S3CRET"))
			s.try("longer", refused, plain("auth_token", "s3cret "))
			s.try("shorter", refused, plain("auth_token", "s3cre"))
			s.try("empty", refused, plain("auth_token", ""))
			s.try("none", refused, plain())
			s.try("as user", refused, plain("user", "s3cret"))
			s.try("as password", refused, plain("pass", "s3cret"))
			s.try("as user and password", refused, plain("user", "s3cret", "pass", "s3cret"))
			s.try("beside a user", "in", plain("auth_token", "s3cret", "user", "u", "pass", "p"))
			s.try("beside an nkey", "in", signed(alice).with("auth_token", "s3cret"))
			s.try("beside a JWT", "in", plain("auth_token", "s3cret", "jwt", "a.b.c"))
			s.try("beside an account", refused, plain("auth_token", "s3cret", "account", "A"))
			s.try("beside a bad protocol", "invalid client protocol", plain("auth_token", "s3cret", "protocol", 9))
			s.try("wrong, beside a bad protocol", refused, plain("auth_token", "no", "protocol", 9))
		}),
		of("hashed token", `authorization { token: "`+bcrypted+`" }`, func(s *stage) {
			s.try("right", "in", plain("auth_token", "s3cret"))
			s.try("wrong", refused, plain("auth_token", "secret"))
			s.try("the hash", refused, plain("auth_token", bcrypted))
			s.try("none", refused, plain())
			s.try("longer than bcrypt reads", refused, plain("auth_token", strings.Repeat("s", 100)))
		}),
		of("one user", `authorization { user: u, password: p }`, func(s *stage) {
			s.try("right", "in", plain("user", "u", "pass", "p"))
			s.try("wrong password", refused, plain("user", "u", "pass", "q"))
			s.try("wrong user", refused, plain("user", "v", "pass", "p"))
			s.try("user in capitals", refused, plain("user", "U", "pass", "p"))
			s.try("user only", refused, plain("user", "u"))
			s.try("password only", refused, plain("pass", "p"))
			s.try("none", refused, plain())
			s.try("as token", refused, plain("auth_token", "p"))
			s.try("beside a token", "in", plain("user", "u", "pass", "p", "auth_token", "t"))
			s.try("beside an nkey", "in", signed(alice).with("user", "u", "pass", "p"))
		}),
		of("one hashed user", `authorization { user: u, password: "`+bcrypted+`" }`, func(s *stage) {
			s.try("right", "in", plain("user", "u", "pass", "s3cret"))
			s.try("wrong", refused, plain("user", "u", "pass", "secret"))
			s.try("the hash", refused, plain("user", "u", "pass", bcrypted))
			s.try("none", refused, plain("user", "u"))
		}),
		of("users", `authorization {
			default_permissions { publish: "default.>", subscribe: ["default.>", "_INBOX.>"] }
			users [
				{ user: a, password: pa }
				{ user: b, password: pb, permissions { publish { allow: ["b.>"], deny: "b.secret" }, subscribe { deny: "b.secret" } } }
				{ user: c, password: pc, permissions { subscribe: ["x", "y q*"], publish: [] } }
				{ user: d, password: pd, permissions { subscribe: "reply.>", allow_responses: true } }
				{ user: e, password: "`+bcrypted+`" }
				{ user: "ü", password: "ß" }
				{ user: ws, password: p, allowed_connection_types: [WEBSOCKET] }
				{ user: std, password: p, allowed_connection_types: ["standard", "MQTT"] }
				{ user: leaf, password: p, allowed_connection_types: [LEAFNODE, "IN_PROCESS"] }
				{ user: none, password: p, allowed_connection_types: [] }
			] }`, func(s *stage) {
			s.try("with default permissions", "in", plain("user", "a", "pass", "pa"),
				"PUB default.x 0\r\n", "PUB other 0\r\n", "SUB default.x 1", "SUB other 2", "SUB default.* q 3", "SUB > 4")
			s.try("with permissions", "in", plain("user", "b", "pass", "pb"),
				"PUB b.x 0\r\n", "PUB b.secret 0\r\n", "PUB default.x 0\r\n", "SUB b.x 1", "SUB b.secret 2", "SUB b.* 3", "PUB b.secret 0\r\n",
				"SUB b.secret q 4")
			s.try("with permissions for queues", "in", plain("user", "c", "pass", "pc"),
				"SUB x 1", "SUB y 2", "SUB y q1 3", "SUB y other 4", "SUB x any 5", "PUB x 0\r\n")
			s.try("with replies", "in", plain("user", "d", "pass", "pd"),
				"PUB x 0\r\n", "SUB reply.me 1", "PUB reply.me answer 0\r\n")
			s.try("with a reply that is not allowed", "in", plain("user", "b", "pass", "pb"), "PUB b.x b.secret 0\r\n", "PUB b.x other 0\r\n")
			s.try("hashed", "in", plain("user", "e", "pass", "s3cret"))
			s.try("hashed, wrong", refused, plain("user", "e", "pass", "secret"))
			s.try("beyond ASCII", "in", plain("user", "ü", "pass", "ß"))
			s.try("of another", refused, plain("user", "a", "pass", "pb"))
			s.try("nobody", refused, plain("user", "z", "pass", "pa"))
			s.try("in capitals", refused, plain("user", "A", "pass", "pa"))
			s.try("without password", refused, plain("user", "a"))
			s.try("without user", refused, plain("pass", "pa"))
			s.try("none", refused, plain())
			s.try("as token", refused, plain("auth_token", "pa"))
			s.try("beside a token", "in", plain("user", "a", "pass", "pa", "auth_token", "t"))
			s.try("beside an nkey", "in", signed(alice).with("user", "a", "pass", "pa"))
			s.try("beside a JWT", "in", plain("user", "a", "pass", "pa", "jwt", "x.y.z"))
			s.try("for WebSocket only", refused, plain("user", "ws", "pass", "p"))
			s.try("for TCP in lower case", "in", plain("user", "std", "pass", "p"))
			s.try("for leaf nodes only", refused, plain("user", "leaf", "pass", "p"))
			s.try("for an empty list of connections", "in", plain("user", "none", "pass", "p"))
			s.try("keys in capitals", "in", plain("USER", "a", "PASS", "pa"))
			s.try("a line end in the user", refused, plain("user", "a\r\nb", "pass", "pa"))
			s.try("quotes in the user", refused, plain("user", "a\"'\\b", "pass", "pa"))
			s.try("a long user", refused, plain("user", strings.Repeat("u", 1000), "pass", "pa"))
		}),
		of("before CONNECT", `authorization { user: u, password: p, timeout: 0.5 }`, func(s *stage) {
			early := func(title, want, text string) {
				g := s.dial()
				g.send(text)
				verdict, lines := g.verdict()
				seen := s.record(title, want, verdict, append(lines, g.shown(false))...)
				seen.cid, seen.logs = g.cid, true
			}
			early("PUB", refused, "PUB a 0\r\n\r\n")
			early("SUB", refused, "SUB a 1\r\n")
			early("UNSUB", refused, "UNSUB 1\r\n")
			early("HPUB", refused, "HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n")
			early("INFO", refused, "INFO {}\r\n")
			early("+OK", refused, "+OK\r\n")
			early("PONG", refused, "PONG\r\n")
			early("nonsense", refused, "NONSENSE\r\n")
			early("an empty line", refused, "\r\n")
			early("nothing", "Authentication Timeout", "")
			early("half a CONNECT", "Authentication Timeout", "CONNECT {")
			g := s.dial()
			s.record("PING", "", g.ask(""))
		}),
		of("a second CONNECT", `accounts { A { users [{ user: a, password: p }] }, B { users [{ user: b, password: p }] } }`, func(s *stage) {
			again := func(title, want string, as credentials) {
				g := s.try(title+", at first", "in", plain("user", "a", "pass", "p"), "SUB x 1")
				s.tryOn(g, title, want, as, "PUB x 1\r\nx")
			}
			again("of the same user", "in", plain("user", "a", "pass", "p"))
			again("of another user", "in", plain("user", "b", "pass", "p"))
			again("with a wrong password", refused, plain("user", "a", "pass", "q"))
			again("of nobody", refused, plain("user", "z", "pass", "q"))
		}),
	}
}
