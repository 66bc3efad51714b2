package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// Signing keys of the account A.
var (
	signer  = account("A's signing key")
	scoped  = account("A's scoped key")
	limited = account("A's scoped key with limits")
	tagged  = account("A's scoped key with templates")
	webOnly = account("A's scoped key for WebSocket")
	bearing = account("A's scoped key for bearers")
	invalid = account("A's scoped key that makes invalid subjects")
)

func scope(of nkeys.KeyPair, change func(*jwt.UserPermissionLimits)) jwt.Scope {
	made := jwt.NewUserScope()
	made.Key = public(of)
	made.Role = "role"
	change(&made.Template)
	return made
}

func unixIn(duration time.Duration) int64 { return time.Now().Add(duration).Unix() }

// The accounts of most worlds.
func chain() map[string]string {
	accounts := usual("B")
	accounts["A"] = accountToken("A", func(c *jwt.AccountClaims) {
		c.SigningKeys.Add(public(signer))
		c.SigningKeys.AddScopedSigner(scope(scoped, func(t *jwt.UserPermissionLimits) {
			t.Pub.Allow.Add("pub.>")
			t.Sub.Allow.Add("sub.>", "queue q")
			t.Sub.Deny.Add("sub.secret")
		}))
		c.SigningKeys.AddScopedSigner(scope(limited, func(t *jwt.UserPermissionLimits) {
			t.Limits.Subs, t.Limits.Payload = 1, 4
			t.Resp = &jwt.ResponsePermission{MaxMsgs: 1, Expires: time.Minute}
		}))
		c.SigningKeys.AddScopedSigner(scope(tagged, func(t *jwt.UserPermissionLimits) {
			t.Pub.Allow.Add("name.{{name()}}", "subject.{{subject()}}", "tag.{{tag(dept)}}", "both.{{tag(dept)}}.{{tag(loc)}}")
			t.Pub.Allow.Add("account.{{account-name()}}", "account.{{account-subject()}}", "account.{{account-tag(org)}}", "missing.{{tag(missing)}}")
			t.Sub.Allow.Add("_INBOX.{{name()}}.>")
		}))
		c.SigningKeys.AddScopedSigner(scope(invalid, func(t *jwt.UserPermissionLimits) { t.Pub.Deny.Add("x.{{tag(missing)}}") }))
		c.SigningKeys.AddScopedSigner(scope(webOnly, func(t *jwt.UserPermissionLimits) { t.AllowedConnectionTypes.Add("WEBSOCKET") }))
		c.SigningKeys.AddScopedSigner(scope(bearing, func(t *jwt.UserPermissionLimits) { t.BearerToken = true }))
		c.Tags.Add("org:acme")
	})
	accounts["NOBEARER"] = accountToken("NOBEARER", func(c *jwt.AccountClaims) { c.Limits.DisallowBearer = true })
	accounts["EXPIRED"] = accountToken("EXPIRED", func(c *jwt.AccountClaims) { c.Expires = unixIn(-time.Hour) })
	accounts["LATER"] = accountToken("LATER", func(c *jwt.AccountClaims) { c.NotBefore = unixIn(time.Hour) })
	accounts["LIVING"] = accountToken("LIVING", func(c *jwt.AccountClaims) { c.Expires = unixIn(time.Hour) })
	accounts["BYKEY"] = accountTokenBy(operatorSigning, "BYKEY", nil)
	accounts["FOREIGN"] = accountTokenBy(stranger, "FOREIGN", nil)
	accounts["SELF"] = accountTokenBy(account("SELF"), "SELF", nil)
	accounts["DEFAULTS"] = accountToken("DEFAULTS", func(c *jwt.AccountClaims) {
		c.DefaultPermissions.Pub.Allow.Add("default.>")
		c.DefaultPermissions.Sub.Deny.Add("secret")
	})
	accounts["FEW"] = accountToken("FEW", func(c *jwt.AccountClaims) {
		c.Limits.Conn, c.Limits.Subs, c.Limits.Payload = 2, 2, 8
	})
	accounts["CLOSED"] = accountToken("CLOSED", func(c *jwt.AccountClaims) { c.Limits.Conn = 0 })
	accounts["NOSUBS"] = accountToken("NOSUBS", func(c *jwt.AccountClaims) { c.Limits.Subs = 0 })
	accounts["REVOKED"] = accountToken("REVOKED", func(c *jwt.AccountClaims) {
		c.SigningKeys.Add(public(signer))
		c.RevokeAt(public(alice), time.Now().Add(time.Hour))
		c.RevokeAt(public(bob), time.Now().Add(-time.Hour))
	})
	accounts["ALLREVOKED"] = accountToken("ALLREVOKED", func(c *jwt.AccountClaims) {
		c.RevokeAt(jwt.All, time.Now().Add(time.Hour))
		c.RevokeAt(public(bob), time.Now().Add(-time.Hour))
	})
	accounts["ONCEREVOKED"] = accountToken("ONCEREVOKED", func(c *jwt.AccountClaims) { c.RevokeAt(jwt.All, time.Now().Add(-time.Hour)) })
	accounts["OLD"] = old(operator, public(account("OLD")), "account", "OLD", fields{
		"limits":       fields{"subs": 3, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1, "wildcards": true},
		"signing_keys": []string{public(signer)}, "revocations": fields{public(bob): unixIn(time.Hour)},
	}, "tags", []string{"old"})
	accounts["TRACED"] = accountToken("TRACED", func(c *jwt.AccountClaims) { c.Trace = &jwt.MsgTrace{Destination: "trace.here"} })
	return accounts
}

func operatorWorlds() []world {
	return []world{
		of("operator", trusting(operatorToken(nil), chain(), ""), func(s *stage) {
			s.try("a user", "in", member("A", nil), "SUB x 1", "PUB x 1\r\nx")
			s.try("a user of the system account", "in", member("SYS", nil))
			s.try("nothing", refused, plain())
			s.try("a user and password", refused, plain("user", "u", "pass", "p"))
			s.try("a token", refused, plain("auth_token", "t"))
			s.try("an nkey", refused, signed(alice))
			s.try("an empty JWT", refused, plain("jwt", ""))
			s.try("no JWT", refused, plain("jwt", "a.b.c"))
			s.try("no JWT at all", refused, plain("jwt", "abc"))
			good := userToken(account("A"), alice, nil)
			for _, way := range signings {
				s.try("signed "+way.title, verdictOn(way.right), func(nonce []byte) fields {
					return fields{"jwt": good, "sig": way.make(alice, nonce)}
				})
			}
			s.try("not signed", refused, plain("jwt", good))
			s.try("beside a password", "in", proven(alice, good).with("user", "u", "pass", "p"))
			s.try("beside a token", "in", proven(alice, good).with("auth_token", "t"))
			s.try("beside its nkey", "in", proven(alice, good).with("nkey", public(alice)))
			s.try("beside another nkey", "in", proven(alice, good).with("nkey", public(bob)))
			s.try("beside an account", refused, proven(alice, good).with("account", "A"))
			s.try("as password", refused, proven(alice, good).without("jwt").with("user", "u", "pass", good))
			s.try("as token", refused, proven(alice, good).without("jwt").with("auth_token", good))
			s.try("with a line end", "in", proven(alice, good+"\n"))
			s.try("with a blank", refused, proven(alice, " "+good))
			s.try("with padding", refused, proven(alice, good+"=="))
			s.try("of four parts", refused, proven(alice, good+".x"))
			s.try("with a changed signature", refused, proven(alice, good[:len(good)-4]+"AAAA"))
			s.try("with a changed claim", refused, proven(alice, strings.Replace(good, ".eyJ", ".eyK", 1)))
			s.try("an account's JWT", refused, proven(account("A"), chain()["A"]))
			s.try("an operator's JWT", refused, proven(operator, operatorToken(nil)))
			s.try("a JWT of 100 KB", "maximum control line exceeded", plain("jwt", strings.Repeat("a", 100_000)))
		}),
		of("issuers", trusting(operatorToken(nil), chain(), ""), func(s *stage) {
			by := func(signer nkeys.KeyPair, change claimed[*jwt.UserClaims]) credentials {
				return proven(alice, userToken(signer, alice, change))
			}
			of := func(name string) claimed[*jwt.UserClaims] {
				return func(c *jwt.UserClaims) { c.IssuerAccount = public(account(name)) }
			}
			s.try("a signing key", "in", by(signer, of("A")))
			s.try("a signing key without its account", refused, by(signer, nil))
			s.try("a signing key for another account", refused, by(signer, of("B")))
			s.try("an account for another", refused, by(account("B"), of("A")))
			s.try("an account for itself", "in", by(account("A"), of("A")))
			s.try("an account for what is none", refused, by(account("A"), func(c *jwt.UserClaims) { c.IssuerAccount = "nonsense" }))
			s.try("an account for a user", refused, by(account("A"), func(c *jwt.UserClaims) { c.IssuerAccount = public(alice) }))
			s.try("an unknown account", refused, by(account("UNKNOWN"), nil))
			s.try("an unknown key for an account", refused, by(account("UNKNOWN"), of("A")))
			s.try("an account of another operator", refused, member("FOREIGN", nil))
			s.try("an account that signed itself", refused, member("SELF", nil))
			s.try("an account of the operator's signing key", "in", member("BYKEY", nil))
			forged := func(signer nkeys.KeyPair, issuer, header string, change fields) string {
				claims := claims2(signer, public(alice), "user", fields{}, "iss", issuer)
				for key, value := range change {
					claims[key] = value
				}
				return token(signer, header, claims)
			}
			a := public(account("A"))
			s.try("made by hand", "in", proven(alice, forged(account("A"), a, header2, nil)))
			s.try("signed by another account", refused, proven(alice, forged(account("B"), a, header2, nil)))
			s.try("signed by the user", refused, proven(alice, forged(alice, a, header2, nil)))
			s.try("issued by the user", refused, proven(alice, forged(alice, public(alice), header2, nil)))
			s.try("issued by the operator", refused, proven(alice, forged(operator, public(operator), header2, nil)))
			s.try("of the algorithm none", refused, proven(alice, forged(account("A"), a, `{"typ":"JWT","alg":"none"}`, nil)))
			s.try("of another algorithm", refused, proven(alice, forged(account("A"), a, `{"typ":"JWT","alg":"HS256"}`, nil)))
			s.try("of another type", refused, proven(alice, forged(account("A"), a, `{"typ":"JWS","alg":"ed25519-nkey"}`, nil)))
			s.try("of a type in lower case", "in", proven(alice, forged(account("A"), a, `{"typ":"jwt","alg":"ed25519-nkey"}`, nil)))
			s.try("of an algorithm in capitals", "", proven(alice, forged(account("A"), a, `{"typ":"JWT","alg":"ED25519-NKEY"}`, nil)))
			s.try("of the old algorithm in version 2", "", proven(alice, forged(account("A"), a, header1, nil)))
			s.try("for no user", refused, proven(alice, forged(account("A"), a, header2, fields{"sub": ""})))
			s.try("for an account", "in", proven(account("B"), forged(account("A"), a, header2, fields{"sub": public(account("B"))})))
			s.try("for nonsense", refused, proven(alice, forged(account("A"), a, header2, fields{"sub": "UABC"})))
			s.try("for another", refused, proven(alice, userToken(account("A"), bob, nil)))
			s.try("with an audience", "", proven(alice, forged(account("A"), a, header2, fields{"aud": "somebody"})))
			s.try("of the wrong types", refused, proven(alice, forged(account("A"), a, header2, fields{"exp": "never"})))
			s.try("of a time with a fraction", refused, proven(alice, forged(account("A"), a, header2, fields{"iat": 1.5})))
			s.try("without a time", "", proven(alice, forged(account("A"), a, header2, fields{"iat": 0})))
			s.shut("of a negative expiry", "-ERR 'User Authentication Expired', closed", proven(alice, forged(account("A"), a, header2, fields{"exp": -1})))
			s.try("of the future", "", proven(alice, forged(account("A"), a, header2, fields{"iat": unixIn(time.Hour)})))
			s.try("with unknown claims", "in", proven(alice, forged(account("A"), a, header2, fields{"more": fields{"x": []int{1}}})))
			s.try("without an id", "in", proven(alice, forged(account("A"), a, header2, fields{"jti": ""})))
			nats := func(change fields) string {
				return token(account("A"), header2, claims2(account("A"), public(alice), "user", change))
			}
			s.try("of version 3", refused, proven(alice, nats(fields{"version": 3})))
			s.try("of version 0", "", proven(alice, nats(fields{"version": 0})))
			s.try("of version 1 in the new form", "", proven(alice, nats(fields{"version": 1})))
			s.try("of an activation", refused, proven(alice, nats(fields{"type": "activation"})))
			s.try("of no type", refused, proven(alice, nats(fields{"type": ""})))
			s.try("of a type of its own", refused, proven(alice, nats(fields{"type": "mine"})))
			s.shut("of 0 subscriptions", "-ERR 'maximum subscriptions exceeded', closed", proven(alice, nats(fields{"subs": 0})))
			s.try("of a bad permission", "", proven(alice, nats(fields{"pub": fields{"allow": []string{"a b"}}})), "PUB a 0\r\n")
			s.try("of an empty permission", "", proven(alice, nats(fields{"pub": fields{"allow": []string{""}}})), "PUB a 0\r\n")
			s.try("of a permission with empty tokens", "", proven(alice, nats(fields{"sub": fields{"allow": []string{"a..b"}}})), "SUB a 1")
			s.try("of a permission to publish to a queue", "", proven(alice, nats(fields{"pub": fields{"deny": []string{"a q"}}})), "PUB a 0\r\n", "PUB b 0\r\n")
			s.try("of a permission of null", "in", proven(alice, nats(fields{"pub": nil})), "PUB a 0\r\n")
		}),
		of("version 1", trusting(old(operator, public(operator), "operator", "O", fields{
			"signing_keys": []string{public(operatorSigning)}, "system_account": public(account("SYS")),
		}), chain(), ""), func(s *stage) {
			user := func(name string, nats fields, more ...interface{}) credentials {
				return proven(alice, old(account(name), public(alice), "user", "U", nats, more...))
			}
			s.try("a user of an account of version 2", "in", user("A", fields{}), "SUB x 1", "PUB x 1\r\nx")
			s.try("a user of an account of version 1", "in", user("OLD", fields{}), "SUB a 1", "SUB b 2", "SUB c 3", "SUB d 4")
			s.try("a user of version 2", "in", member("OLD", nil))
			s.try("by a signing key", "in", proven(alice, old(signer, public(alice), "user", "U", fields{}, "issuer_account", public(account("OLD")))))
			s.try("by a signing key, the account in the new place", refused,
				proven(alice, old(signer, public(alice), "user", "U", fields{"issuer_account": public(account("OLD"))})))
			s.try("revoked", refused, proven(bob, old(account("OLD"), public(bob), "user", "U", fields{})))
			s.try("with permissions", "in", user("A", fields{"pub": fields{"allow": []string{"a"}}, "sub": fields{"deny": []string{"b"}}}),
				"PUB a 0\r\n", "PUB b 0\r\n", "SUB b 1")
			s.try("with limits", "in", user("A", fields{"subs": 1, "payload": 2}), "SUB a 1", "SUB b 2", "PUB a 3\r\nabc")
			s.try("with tags", "in", user("A", fields{}, "tags", []string{"x:y", "z"}))
			s.try("a bearer", "in", user("A", fields{"bearer_token": true}).without("sig"))
			s.try("expired", refused, user("A", fields{}, "exp", unixIn(-time.Hour)))
			s.try("not yet", refused, user("A", fields{}, "nbf", unixIn(time.Hour)))
			s.try("from a network", "in", user("A", fields{"src": "127.0.0.0/8"}))
			s.try("from another network", refused, user("A", fields{"src": "10.0.0.0/8,192.168.0.0/16"}))
			s.try("from networks", "in", user("A", fields{"src": "10.0.0.0/8,127.0.0.0/8"}))
			s.try("with the algorithm of version 2", refused, func() credentials {
				claims := fields{"iat": 1, "iss": public(account("A")), "sub": public(alice), "type": "user", "nats": fields{}}
				return proven(alice, token(account("A"), header2, claims))
			}())
			s.try("a cluster's claim", refused, user("A", fields{}, "type", "cluster"))
			s.try("a server's claim", refused, user("A", fields{}, "type", "server"))
		}),
		of("accounts", trusting(operatorToken(nil), chain(), ""), func(s *stage) {
			for _, name := range []string{"EXPIRED", "FOREIGN", "SELF", "UNKNOWN"} {
				s.try("a user of "+name, refused, member(name, nil))
			}
			s.try("a user of LATER", "", member("LATER", nil))
			s.try("a user of LIVING", "in", member("LIVING", nil))
			s.try("a user of BYKEY", "in", member("BYKEY", nil))
			s.try("a user of TRACED", "in", member("TRACED", nil))
			s.try("default permissions", "in", member("DEFAULTS", nil), "PUB default.x 0\r\n", "PUB x 0\r\n", "SUB secret 1", "SUB x 2")
			s.try("default permissions and others", "in", member("DEFAULTS", func(c *jwt.UserClaims) { c.Pub.Deny.Add("no") }),
				"PUB default.x 0\r\n", "PUB x 0\r\n", "PUB no 0\r\n", "SUB secret 1")
			s.try("default permissions and only replies", "in", member("DEFAULTS", func(c *jwt.UserClaims) { c.Resp = &jwt.ResponsePermission{MaxMsgs: 1} }),
				"PUB default.x 0\r\n", "PUB x 0\r\n", "SUB secret 1")
			one := s.try("the first of FEW", "in", member("FEW", nil), "SUB a 1", "SUB b 2", "SUB c 3", "PUB x 8\r\n01234567")
			two := s.try("the second of FEW", "in", member("FEW", func(c *jwt.UserClaims) { c.Limits.Subs, c.Limits.Payload = 1, 100 }), "SUB a 1", "SUB b 2", "PUB x 9\r\n012345678")
			two.gone()
			s.try("another second of FEW", "in", member("FEW", func(c *jwt.UserClaims) { c.Limits.Subs = 100 }), "SUB a 1", "SUB b 2", "SUB c 3")
			s.try("the third of FEW", "maximum account active connections exceeded", member("FEW", nil))
			s.try("the third of FEW with a bad signature", refused, proven(mallory, userToken(account("FEW"), alice, nil)))
			s.say(one, "nine bytes", "-ERR 'Maximum Payload Violation', closed", "PUB x 9\r\n012345678")
			s.try("a user of CLOSED", "maximum account active connections exceeded", member("CLOSED", nil))
			s.shut("a user of NOSUBS", "-ERR 'maximum subscriptions exceeded', closed", member("NOSUBS", nil))
		}),
		of("users", trusting(operatorToken(nil), chain(), ""), func(s *stage) {
			try := func(title, want string, change claimed[*jwt.UserClaims], then ...string) {
				s.try(title, want, member("A", change), then...)
			}
			at := func(of func(*jwt.UserClaims, int64), in time.Duration) claimed[*jwt.UserClaims] {
				return func(c *jwt.UserClaims) { of(c, unixIn(in)) }
			}
			expires := func(c *jwt.UserClaims, at int64) { c.Expires = at }
			begins := func(c *jwt.UserClaims, at int64) { c.NotBefore = at }
			try("expired", refused, at(expires, -time.Hour))
			try("expired a second ago", refused, at(expires, -time.Second))
			try("expires in an hour", "in", at(expires, time.Hour))
			try("expires in two centuries", "in", at(expires, 1_800_000*time.Hour))
			try("not yet", refused, at(begins, time.Hour))
			try("since an hour", "in", at(begins, -time.Hour))
			network := func(networks ...string) claimed[*jwt.UserClaims] {
				return func(c *jwt.UserClaims) { c.Src.Add(networks...) }
			}
			try("from its network", "in", network("127.0.0.0/8"))
			try("from a narrower network", "in", network("127.0.0.0/16"))
			try("from everywhere", "in", network("0.0.0.0/0"))
			try("from another network", refused, network("10.0.0.0/8"))
			try("from one of two networks", "in", network("10.0.0.0/8", "127.0.0.0/8"))
			try("from a network of IPv6", refused, network("::/0"))
			try("from its address as IPv6", "", network("::ffff:127.0.0.0/104"))
			try("from an address without a mask", refused, network("127.0.0.0"))
			try("from no network", refused, network("nonsense"))
			hours := func(location string, from, to time.Duration) claimed[*jwt.UserClaims] {
				now := time.Now().UTC()
				if location != "" {
					zone, err := time.LoadLocation(location)
					if err == nil {
						now = now.In(zone)
					}
				}
				return func(c *jwt.UserClaims) {
					c.Locale = location
					c.Times = []jwt.TimeRange{{Start: now.Add(from).Format(time.TimeOnly), End: now.Add(to).Format(time.TimeOnly)}}
				}
			}
			try("at this time", "in", hours("", -time.Hour, time.Hour))
			try("at an earlier time", refused, hours("", -3*time.Hour, -time.Hour))
			try("at a later time", refused, hours("", time.Hour, 3*time.Hour))
			try("at this time of New York", "in", hours("America/New_York", -time.Hour, time.Hour))
			try("at another time of New York", refused, hours("America/New_York", time.Hour, 2*time.Hour))
			try("at this time of Kolkata", "in", hours("Asia/Kolkata", -time.Minute, time.Hour))
			try("at this time of nowhere", refused, hours("Nowhere/Land", -time.Hour, time.Hour))
			try("at one of two times", "in", func(c *jwt.UserClaims) {
				hours("", time.Hour, 2*time.Hour)(c)
				first := c.Times
				hours("", -time.Hour, time.Hour)(c)
				c.Times = append(first, c.Times...)
			})
			try("all but this time", refused, hours("", time.Hour, -time.Hour))
			try("all around this time", "in", hours("", -time.Minute, -2*time.Minute))
			try("at no time", refused, func(c *jwt.UserClaims) { c.Times = []jwt.TimeRange{{Start: "25:00:00", End: "26:00:00"}} })
			kinds := func(kinds ...string) claimed[*jwt.UserClaims] {
				return func(c *jwt.UserClaims) { c.AllowedConnectionTypes.Add(kinds...) }
			}
			try("for TCP", "in", kinds("STANDARD"))
			try("for tcp", "in", kinds("standard"))
			try("for WebSocket", refused, kinds("WEBSOCKET"))
			try("for WebSocket and TCP", "in", kinds("WEBSOCKET", "STANDARD"))
			try("for unknown connections", refused, kinds("CARRIER_PIGEON"))
			try("for TCP and unknown connections", "in", kinds("CARRIER_PIGEON", "STANDARD"))
			try("for WebSocket and unknown connections", refused, kinds("CARRIER_PIGEON", "WEBSOCKET"))
			try("for MQTT and leaf nodes", refused, kinds("MQTT", "LEAFNODE", "LEAFNODE_WS", "MQTT_WS", "IN_PROCESS"))
			try("with permissions", "in", func(c *jwt.UserClaims) {
				c.Pub.Allow.Add("a.>")
				c.Pub.Deny.Add("a.no")
				c.Sub.Allow.Add("b", "c q")
				c.Resp = &jwt.ResponsePermission{MaxMsgs: 2, Expires: time.Minute}
			}, "PUB a.b 0\r\n", "PUB a.no 0\r\n", "PUB b 0\r\n", "SUB b 1", "SUB c 2", "SUB c q 3", "SUB c p 4", "SUB d 5")
			try("with limits", "in", func(c *jwt.UserClaims) { c.Limits.Subs, c.Limits.Payload = 1, 2 }, "SUB a 1", "SUB b 2", "PUB a 2\r\nab", "PUB a 3\r\nabc")
			try("with tags and a name", "in", func(c *jwt.UserClaims) {
				c.Name = "Alice \"A\" <a@b>"
				c.Tags.Add("Team:Blue", "x", "X")
			})
			try("who needs a proxy", refused, func(c *jwt.UserClaims) { c.ProxyRequired = true })
			bearer := userToken(account("A"), alice, func(c *jwt.UserClaims) { c.BearerToken = true })
			s.try("a bearer", "in", plain("jwt", bearer))
			s.try("a bearer who signs wrongly", "in", proven(mallory, bearer))
			s.try("a bearer who signs nonsense", "in", plain("jwt", bearer, "sig", "!!!"))
			s.try("a bearer of NOBEARER", refused, plain("jwt", userToken(account("NOBEARER"), alice, func(c *jwt.UserClaims) { c.BearerToken = true })))
			s.try("another of NOBEARER", "in", member("NOBEARER", nil))
			s.try("a bearer who has expired", refused, plain("jwt", userToken(account("A"), alice, func(c *jwt.UserClaims) {
				c.BearerToken = true
				c.Expires = unixIn(-time.Minute)
			})))
		}),
		of("revocations", trusting(operatorToken(nil), chain(), ""), func(s *stage) {
			in := func(who nkeys.KeyPair, name string, signer nkeys.KeyPair) credentials {
				return proven(who, userToken(signer, who, func(c *jwt.UserClaims) {
					if signer != account(name) {
						c.IssuerAccount = public(account(name))
					}
				}))
			}
			s.try("before the user's time", refused, in(alice, "REVOKED", account("REVOKED")))
			s.try("after the user's time", "in", in(bob, "REVOKED", account("REVOKED")))
			s.try("of others", "in", in(carol, "REVOKED", account("REVOKED")))
			s.try("before the user's time, by a signing key", refused, in(alice, "REVOKED", signer))
			s.try("of all", refused, in(carol, "ALLREVOKED", account("ALLREVOKED")))
			s.try("of all, and of a user earlier", "", in(bob, "ALLREVOKED", account("ALLREVOKED")))
			s.try("of all, earlier", "in", in(carol, "ONCEREVOKED", account("ONCEREVOKED")))
			s.try("of a bearer", refused, plain("jwt", userToken(account("REVOKED"), alice, func(c *jwt.UserClaims) { c.BearerToken = true })))
			s.try("of one who says to be of the future", "in", proven(alice, token(account("REVOKED"), header2,
				claims2(account("REVOKED"), public(alice), "user", fields{}, "iat", unixIn(2*time.Hour)))))
		}),
		of("scopes", trusting(operatorToken(nil), chain(), ""), func(s *stage) {
			by := func(signer nkeys.KeyPair, change claimed[*jwt.UserClaims]) credentials {
				return proven(alice, userToken(signer, alice, func(c *jwt.UserClaims) {
					c.SetScoped(true)
					c.IssuerAccount = public(account("A"))
					if change != nil {
						change(c)
					}
				}))
			}
			s.try("permissions", "in", by(scoped, nil), "PUB pub.x 0\r\n", "PUB x 0\r\n", "SUB sub.x 1", "SUB sub.secret 2", "SUB queue q 3", "SUB queue p 4", "SUB x 5")
			s.try("permissions of its own", refused, by(scoped, func(c *jwt.UserClaims) { c.Pub.Allow.Add("x") }))
			s.try("limits of its own", refused, by(scoped, func(c *jwt.UserClaims) { c.SetScoped(false) }))
			s.try("a network of its own", refused, by(scoped, func(c *jwt.UserClaims) { c.Src.Add("127.0.0.1/32") }))
			s.try("a bearer of its own", refused, by(scoped, func(c *jwt.UserClaims) { c.BearerToken = true }))
			s.try("expired", refused, by(scoped, func(c *jwt.UserClaims) { c.Expires = unixIn(-time.Minute) }))
			s.try("not signed", refused, by(scoped, nil).without("sig"))
			s.try("limits", "in", by(limited, nil), "SUB a 1", "SUB b 2", "PUB x 4\r\nabcd", "PUB x 5\r\nabcde")
			s.try("connections", refused, by(webOnly, nil))
			s.try("a bearer", "", by(bearing, nil).without("sig"))
			s.try("a bearer who signs", "in", by(bearing, nil))
			templates := func(title string, change claimed[*jwt.UserClaims]) {
				s.try("templates of "+title, "in", by(tagged, change),
					"PUB name.alice 0\r\n", "PUB name.U 0\r\n", fmt.Sprintf("PUB subject.%s 0\r\n", public(alice)),
					"PUB tag.red 0\r\n", "PUB tag.blue 0\r\n", "PUB tag.green 0\r\n", "PUB both.red.x 0\r\n", "PUB both.blue.y 0\r\n", "PUB both.x.red 0\r\n",
					"PUB account.A 0\r\n", fmt.Sprintf("PUB account.%s 0\r\n", public(account("A"))), "PUB account.acme 0\r\n", "PUB account.B 0\r\n",
					"PUB missing 0\r\n", "PUB missing.x 0\r\n", "SUB _INBOX.alice.> 1", "SUB _INBOX.U.x 2", "SUB _INBOX.> 3")
			}
			templates("a plain user", nil)
			templates("a user with a name", func(c *jwt.UserClaims) { c.Name = "alice" })
			templates("a user with a wildcard as name", func(c *jwt.UserClaims) { c.Name = "*" })
			templates("a user with a wildcard for all as name", func(c *jwt.UserClaims) { c.Name = ">" })
			templates("a user with a name of two tokens", func(c *jwt.UserClaims) { c.Name = "alice.x" })
			templates("a user with a blank in the name", func(c *jwt.UserClaims) { c.Name = "alice x" })
			templates("a user without a name", func(c *jwt.UserClaims) { c.Name = "" })
			templates("a user with tags", func(c *jwt.UserClaims) { c.Tags.Add("dept:red", "loc:x") })
			templates("a user with many tags", func(c *jwt.UserClaims) { c.Tags.Add("dept:red", "dept:blue", "loc:x", "loc:y") })
			templates("a user with a wildcard as tag", func(c *jwt.UserClaims) { c.Tags.Add("dept:*", "loc:>") })
			templates("a user with tags in capitals", func(c *jwt.UserClaims) { c.Tags.Add("DEPT:RED") })
			templates("a user with a template as name", func(c *jwt.UserClaims) { c.Name = "{{subject()}}" })
			s.try("templates that make invalid subjects", refused, by(invalid, nil))
			s.try("templates that make valid subjects", "in", by(invalid, func(c *jwt.UserClaims) { c.Tags.Add("missing:y") }), "PUB x.y 0\r\n", "PUB x.z 0\r\n")
		}),
	}
}
