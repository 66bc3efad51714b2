package main

// Logins by WebSocket.
func websocketWorlds() []world {
	a := public(alice)
	const listener = "websocket { listen: \"127.0.0.1:-1\", no_tls: true, "
	return []world{
		of("WebSocket", listener+`user_cookie: u, pass_cookie: "p", token_cookie: t }
			authorization { users [
				{ user: a, password: p }, { user: ws, password: p, allowed_connection_types: [WEBSOCKET] }
				{ user: std, password: p, allowed_connection_types: [STANDARD] }, { nkey: `+a+`, allowed_connection_types: [WEBSOCKET] } ] }`,
			func(s *stage) {
				s.tryOn(s.dialWeb(), "a user", "in", plain("user", "a", "pass", "p"))
				s.tryOn(s.dialWeb(), "a wrong password", refused, plain("user", "a", "pass", "q"))
				s.tryOn(s.dialWeb(), "for WebSocket only", "in", plain("user", "ws", "pass", "p"))
				s.tryOn(s.dialWeb(), "for TCP only", refused, plain("user", "std", "pass", "p"))
				s.tryOn(s.dialWeb(), "an nkey for WebSocket only", "in", signed(alice))
				s.tryOn(s.dialWeb(), "nothing", refused, plain())
				s.tryOn(s.dialWeb("Cookie: u=a; p=p"), "cookies", "in", plain())
				s.tryOn(s.dialWeb("Cookie: u=a; p=q"), "wrong cookies", refused, plain())
				s.tryOn(s.dialWeb("Cookie: u=a; p=q"), "wrong cookies and a user", "in", plain("user", "ws", "pass", "p"))
				s.tryOn(s.dialWeb("Cookie: u=a; p=p"), "cookies and a wrong password", refused, plain("pass", "q"))
				s.try("by TCP", "in", plain("user", "std", "pass", "p"))
				s.try("by TCP, for WebSocket only", refused, plain("user", "ws", "pass", "p"))
				s.try("by TCP, an nkey for WebSocket only", refused, signed(alice))
			}),
		of("WebSocket with its own user", listener+`authorization { username: w, password: p } }
			authorization { user: a, password: p }`, func(s *stage) {
			s.tryOn(s.dialWeb(), "its user", "in", plain("user", "w", "pass", "p"))
			s.tryOn(s.dialWeb(), "another", refused, plain("user", "a", "pass", "p"))
			s.tryOn(s.dialWeb(), "nothing", refused, plain())
			s.try("by TCP, its user", refused, plain("user", "w", "pass", "p"))
			s.try("by TCP, another", "in", plain("user", "a", "pass", "p"))
		}),
		of("WebSocket with its own token", listener+`authorization { token: t }, token_cookie: c }`, func(s *stage) {
			s.tryOn(s.dialWeb(), "the token", "in", plain("auth_token", "t"))
			s.tryOn(s.dialWeb(), "a wrong token", refused, plain("auth_token", "no"))
			s.tryOn(s.dialWeb("Cookie: c=t"), "a cookie", "in", plain())
			s.tryOn(s.dialWeb(), "nothing", refused, plain())
			s.try("by TCP", "in", plain())
		}),
		of("WebSocket for whoever has no user", listener+`no_auth_user: n }
			authorization { users [ { user: n, password: p, permissions { publish: "n" } }, { user: a, password: p }, { nkey: `+a+` } ] }`, func(s *stage) {
			s.tryOn(s.dialWeb(), "nothing", "", plain(), "PUB n 0\r\n", "PUB x 0\r\n")
			s.tryOn(s.dialWeb(), "a user", "in", plain("user", "a", "pass", "p"))
			s.tryOn(s.dialWeb(), "a wrong password", refused, plain("user", "a", "pass", "q"))
			s.tryOn(s.dialWeb(), "an nkey", "in", signed(alice))
			s.tryOn(s.dialWeb(), "an nkey without a signature", refused, plain("nkey", a))
			s.try("by TCP, nothing", refused, plain())
		}),
	}
}
