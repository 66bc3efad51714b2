package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
)

// What happens to clients that are in: reloads, expiry, revocation.
func laterWorlds() []world {
	// The JWT of an operator cannot be changed by a reload.
	same := operatorToken(nil)
	return []world{
		of("a reload of users", `authorization { users [
			{ user: stays, password: p }, { user: goes, password: p }, { user: changes, password: p }, { user: hashed, password: p }
			{ user: narrowed, password: p }, { user: widened, password: p, permissions { publish: "a" } }
			{ user: typed, password: p }, { nkey: `+public(alice)+` }, { nkey: `+public(bob)+` }
		] }`, func(s *stage) {
			guests := map[string]*guest{}
			for _, name := range []string{"stays", "goes", "changes", "hashed", "narrowed", "widened", "typed"} {
				guests[name] = s.try(name, "in", plain("user", name, "pass", "p"), "SUB a 1", "SUB b 2")
			}
			guests["nkey that stays"] = s.try("nkey that stays", "in", signed(alice))
			guests["nkey that goes"] = s.try("nkey that goes", "in", signed(bob))
			s.reload("the reload", "reloaded", map[string]string{config: base + `authorization { users [
				{ user: stays, password: p }, { user: changes, password: q }, { user: hashed, password: "` + bcrypted + `" }
				{ user: narrowed, password: p, permissions { publish: "a", subscribe: "a" } }, { user: widened, password: p }
				{ user: typed, password: p, allowed_connection_types: [WEBSOCKET] }, { nkey: ` + public(alice) + ` }, { user: new, password: p }
			] }`})
			for _, name := range sortedKeys(guests) {
				s.after(guests[name], name+", then", "")
			}
			s.say(guests["narrowed"], "narrowed, now", "", "PUB b 0\r\n")
			s.say(guests["widened"], "widened, now", "", "PUB b 0\r\n")
			s.try("the new one", "in", plain("user", "new", "pass", "p"))
			s.try("who is gone", refused, plain("user", "goes", "pass", "p"))
			s.reload("a reload to a token", "reloaded", map[string]string{config: base + `authorization { token: t }`})
			for _, name := range []string{"stays", "narrowed", "widened", "nkey that stays"} {
				s.after(guests[name], name+", with a token", "")
			}
			s.try("a token", "in", plain("auth_token", "t"))
			s.reload("a reload to everybody", "reloaded", map[string]string{config: base})
			s.try("nobody", "in", plain())
		}),
		of("a reload of tokens", `authorization { token: t }`, func(s *stage) {
			g := s.try("a token", "in", plain("auth_token", "t"))
			s.reload("to the same", "reloaded", map[string]string{config: base + "authorization { token: t }\ndebug: false"})
			s.after(g, "then", "stays")
			s.reload("to another", "reloaded", map[string]string{config: base + "authorization { token: u }"})
			s.after(g, "at the end", "-ERR 'Authorization Violation', closed")
			s.try("the old", refused, plain("auth_token", "t"))
			h := s.try("the new", "in", plain("auth_token", "u"))
			s.reload("to a user", "reloaded", map[string]string{config: base + "authorization { user: u, password: p }"})
			s.after(h, "the token of a user", "")
		}),
		of("a reload from everybody", "", func(s *stage) {
			open := s.try("nobody", "in", plain())
			named := s.try("somebody", "in", plain("user", "u", "pass", "p"))
			wrong := s.try("somebody else", "in", plain("user", "v", "pass", "p"))
			s.reload("to a user", "reloaded", map[string]string{config: base + `authorization { users [ { user: u, password: p } ] }`})
			s.after(open, "nobody, then", "")
			s.after(named, "somebody, then", "")
			s.after(wrong, "somebody else, then", "")
		}),
		of("a reload of accounts", `accounts {
			A { users [ { user: moves, password: p }, { user: stays, password: p }, { user: defaults, password: p }, { nkey: `+public(alice)+` } ] }
			B { users [ { user: other, password: p } ] }
			C { users [ { user: ends, password: p } ] }
		}`, func(s *stage) {
			guests := map[string]*guest{}
			for _, name := range []string{"moves", "stays", "other", "ends", "defaults"} {
				guests[name] = s.try(name, "in", plain("user", name, "pass", "p"), "SUB x 1")
			}
			guests["nkey moves"] = s.try("nkey moves", "in", signed(alice))
			s.reload("the reload", "reloaded", map[string]string{config: base + `accounts {
				A { users [ { user: stays, password: p }, { user: defaults, password: p } ], default_permissions { publish: "only" } }
				B { users [ { user: other, password: p }, { user: moves, password: p }, { nkey: ` + public(alice) + ` } ] }
				D { users [ { user: new, password: p } ] }
			}`})
			for _, name := range sortedKeys(guests) {
				s.after(guests[name], name+", then", "")
			}
			s.say(guests["defaults"], "with the defaults", "", "PUB x 0\r\n")
			s.try("who has moved", "in", plain("user", "moves", "pass", "p"))
			s.try("the new one", "in", plain("user", "new", "pass", "p"))
			s.try("whose account is gone", refused, plain("user", "ends", "pass", "p"))
		}),
		of("a reload of whoever has no user", `no_auth_user: n
			authorization { users [ { user: n, password: p }, { user: m, password: p } ] }`, func(s *stage) {
			g := s.try("nobody", "in", plain())
			h := s.try("by name", "in", plain("user", "n", "pass", "p"))
			s.reload("the reload", "", map[string]string{config: base + `no_auth_user: n
				authorization { users [ { user: n, password: q }, { user: m, password: p } ] }`})
			s.after(g, "nobody, then", "")
			s.after(h, "by name, then", "")
		}),
		of("a reload of limits", `accounts {
			A { limits { max_connections: 10 }, users [ { user: a, password: p } ] }
			S { users [ { user: s, password: p } ] }
			P { users [ { user: p, password: p } ] }
		}`, func(s *stage) {
			var guests []*guest
			for i := range 4 {
				guests = append(guests, s.try(fmt.Sprintf("client %d", i+1), "in", plain("user", "a", "pass", "p"), "SUB a 1"))
			}
			many := s.try("of two subscriptions", "in", plain("user", "s", "pass", "p"), "SUB a 1", "SUB b 2")
			none := s.try("of no subscriptions", "in", plain("user", "s", "pass", "p"))
			large := s.try("of large payloads", "in", plain("user", "p", "pass", "p"))
			s.reload("the reload", "reloaded", map[string]string{config: base + `accounts {
				A { limits { max_connections: 2 }, users [ { user: a, password: p } ] }
				S { limits { max_subscriptions: 1 }, users [ { user: s, password: p } ] }
				P { limits { max_payload: 4 }, users [ { user: p, password: p } ] }
			}`})
			// nats-server cuts any of them.
			var ends []string
			for _, guest := range guests {
				ends = append(ends, guest.ask(""))
			}
			slices.Sort(ends)
			s.record("who stays", "", strings.Join(ends, "; "))
			s.try("another", "maximum account active connections exceeded", plain("user", "a", "pass", "p"))
			s.ends(many, "of two subscriptions, then", "-ERR 'maximum subscriptions exceeded', closed")
			s.say(none, "a first subscription", "", "SUB c 3")
			s.say(none, "a second subscription", "-ERR 'maximum subscriptions exceeded'", "SUB d 4")
			s.say(large, "a payload", "-ERR 'Maximum Payload Violation', closed", "PUB a 5\r\nabcde")
		}),
		expiring(),
		of("a reload of claims", trusting(same, changing(false), ""), func(s *stage) {
			token := func(name string, change claimed[*jwt.UserClaims]) credentials { return member(name, change) }
			bearer := func(name string) credentials {
				return token(name, func(c *jwt.UserClaims) { c.BearerToken = true }).without("sig")
			}
			scope := func(c *jwt.UserClaims) {
				c.SetScoped(true)
				c.IssuerAccount = public(account("SIGNERS"))
			}
			by := func(c *jwt.UserClaims) { c.IssuerAccount = public(account("SIGNERS")) }
			all := []struct {
				title, then string
				as          credentials
			}{
				{"of an account that stays", "stays", token("SAME", nil)},
				{"of an account that goes", "", token("GONE", nil)},
				{"revoked", "-ERR 'User Authentication Revoked', closed", token("REVOKES", nil)},
				{"revoked bearer", "-ERR 'User Authentication Revoked', closed", bearer("REVOKES")},
				{"not revoked", "stays", proven(bob, userToken(account("REVOKES"), bob, nil))},
				{"revoked with all", "-ERR 'User Authentication Revoked', closed", token("REVOKESALL", nil)},
				{"revoked with all before", "stays", token("REVOKESOLD", nil)},
				{"bearer", "-ERR 'Authorization Violation', closed", bearer("BEARERS")},
				{"not a bearer", "stays", token("BEARERS", nil)},
				{"by a signing key that goes", "closed", proven(alice, userToken(signer, alice, by))},
				{"by a scope that changes", "closed", proven(alice, userToken(scoped, alice, scope))},
				{"by a scope that stays", "stays", proven(alice, userToken(limited, alice, scope))},
				{"by the account", "stays", token("SIGNERS", nil)},
				{"the first of some", "", token("FEW", nil)},
				{"the second of some", "", token("FEW", nil)},
				{"the third of some", "", token("FEW", nil)},
				{"with default permissions", "", token("DEFAULTS", nil)},
				{"with permissions", "", token("DEFAULTS", func(c *jwt.UserClaims) { c.Pub.Deny.Add("no") })},
				{"of an account that expires", "-ERR 'Authorization Violation', closed", token("EXPIRES", nil)},
				{"of an account of a stranger", "", token("STRANGE", nil)},
			}
			var guests []*guest
			for _, one := range all {
				guests = append(guests, s.try(one.title, "in", one.as, "SUB a 1", "SUB b 2", "SUB c 3"))
			}
			s.reload("the reload", "reloaded", map[string]string{config: base + trusting(same, changing(true), "")})
			for i, one := range all {
				s.after(guests[i], one.title+", then", one.then)
			}
			for i, one := range all {
				if one.title == "with default permissions" || one.title == "with permissions" {
					s.say(guests[i], one.title+", now", "", "PUB x 0\r\n\r\nPUB a 0\r\n\r\nSUB d 4")
				}
			}
			for _, one := range all {
				s.try(one.title+", again", "", one.as)
			}
			s.try("of a new account", "in", token("NEW", nil))
		}),
	}
}

// Accounts before and after a reload.
func changing(after bool) map[string]string {
	build := func(name string, change claimed[*jwt.AccountClaims]) string {
		return accountToken(name, func(c *jwt.AccountClaims) {
			if after {
				change(c)
			}
		})
	}
	accounts := usual("SAME")
	accounts["REVOKES"] = build("REVOKES", func(c *jwt.AccountClaims) { c.RevokeAt(public(alice), time.Now().Add(time.Minute)) })
	accounts["REVOKESALL"] = build("REVOKESALL", func(c *jwt.AccountClaims) { c.RevokeAt(jwt.All, time.Now().Add(time.Minute)) })
	accounts["REVOKESOLD"] = build("REVOKESOLD", func(c *jwt.AccountClaims) { c.RevokeAt(jwt.All, time.Now().Add(-time.Minute)) })
	accounts["BEARERS"] = build("BEARERS", func(c *jwt.AccountClaims) { c.Limits.DisallowBearer = true })
	accounts["FEW"] = build("FEW", func(c *jwt.AccountClaims) { c.Limits.Conn, c.Limits.Subs, c.Limits.Payload = 2, 4, 4 })
	accounts["DEFAULTS"] = build("DEFAULTS", func(c *jwt.AccountClaims) {
		c.DefaultPermissions.Pub.Allow.Add("a")
		c.DefaultPermissions.Sub.Allow.Add("b")
	})
	accounts["EXPIRES"] = build("EXPIRES", func(c *jwt.AccountClaims) { c.Expires = unixIn(-time.Minute) })
	accounts["SIGNERS"] = accountToken("SIGNERS", func(c *jwt.AccountClaims) {
		c.SigningKeys.AddScopedSigner(scope(limited, func(*jwt.UserPermissionLimits) {}))
		if after {
			c.SigningKeys.AddScopedSigner(scope(scoped, func(t *jwt.UserPermissionLimits) { t.Pub.Allow.Add("a") }))
			return
		}
		c.SigningKeys.Add(public(signer))
		c.SigningKeys.AddScopedSigner(scope(scoped, func(*jwt.UserPermissionLimits) {}))
	})
	accounts["STRANGE"] = accountToken("STRANGE", nil)
	if after {
		accounts["STRANGE"] = accountTokenBy(stranger, "STRANGE", nil)
		accounts["NEW"] = accountToken("NEW", nil)
	} else {
		accounts["GONE"] = accountToken("GONE", nil)
	}
	return accounts
}

// Users and accounts whose time ends while they are in.
func expiring() world {
	const life = 2 * time.Second
	return world{"expiry", nil, func(s *stage) {
		accounts := maps.Clone(usual("A"))
		accounts["SHORT"] = accountToken("SHORT", func(c *jwt.AccountClaims) { c.Expires = unixIn(life) })
		write(s.path(config), base+trusting(operatorToken(nil), accounts, ""))
		s.open()
		soon := func(c *jwt.UserClaims) { c.Expires = unixIn(life) }
		window := func(c *jwt.UserClaims) {
			now := time.Now().UTC()
			c.Times = []jwt.TimeRange{{Start: now.Add(-time.Hour).Format(time.TimeOnly), End: now.Add(life).Format(time.TimeOnly)}}
		}
		user := s.try("a user", "in", member("A", soon))
		windowed := s.try("a user of some hours", "in", member("A", window))
		both := s.try("a user of some hours who expires later", "in", member("A", func(c *jwt.UserClaims) {
			window(c)
			c.Expires = unixIn(time.Hour)
		}))
		bearer := s.try("a bearer", "in", member("A", func(c *jwt.UserClaims) {
			soon(c)
			c.BearerToken = true
		}).without("sig"))
		of := s.try("of an account", "in", member("SHORT", nil))
		stays := s.try("who stays", "in", member("A", func(c *jwt.UserClaims) { c.Expires = unixIn(time.Hour) }))
		for title, guest := range map[string]*guest{"a user": user, "a user of some hours": windowed, "a user of some hours who expires later": both, "a bearer": bearer} {
			s.ends(guest, title+", in the end", "-ERR 'User Authentication Expired', closed")
		}
		s.ends(of, "of an account, in the end", "-ERR 'Account Authentication Expired', closed")
		s.after(stays, "who stays, in the end", "stays")
		s.try("of an account, again", refused, member("SHORT", nil))
	}}
}
