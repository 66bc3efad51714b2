package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// The issuer of what the services answer in the mode of a configuration, and another account.
var (
	issuing  = account("issuer")
	intruder = account("intruder")
)

// Answers the server's question about a client; an empty answer is none.
type answering func(*jwt.AuthorizationRequestClaims) string

// Serves questions as this user until the connection ends.
func (s *stage) serve(title string, as credentials, answer answering) {
	g := s.try(title, "in", as, "SUB $SYS.REQ.USER.AUTH 1")
	go func() {
		_ = g.connection.SetReadDeadline(time.Time{})
		for {
			reply, request, err := question(g.input)
			if err != nil {
				return
			}
			claims, err := jwt.DecodeAuthorizationRequestClaims(request)
			if err != nil {
				continue
			}
			if text := answer(claims); text != "" {
				g.send(fmt.Sprintf("PUB %s %d\r\n%s\r\n", reply, len(text), text))
			}
		}
	}()
}

// Reads the next message with a reply subject, with or without headers.
func question(input *bufio.Reader) (reply, payload string, err error) {
	for {
		line, err := input.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		parts := strings.Fields(line)
		if len(parts) < 5 || parts[0] != "MSG" && parts[0] != "HMSG" {
			continue
		}
		head, size := 0, 0
		fmt.Sscan(parts[len(parts)-1], &size)
		if parts[0] == "HMSG" {
			fmt.Sscan(parts[len(parts)-2], &head)
		}
		body := make([]byte, size+2)
		if _, err := io.ReadFull(input, body); err != nil {
			return "", "", err
		}
		return parts[3], string(body[head:size]), nil
	}
}

// An answer that lets a user in, as changed.
func welcome(request *jwt.AuthorizationRequestClaims, signer nkeys.KeyPair, changeUser claimed[*jwt.UserClaims], change claimed[*jwt.AuthorizationResponseClaims]) string {
	user := jwt.NewUserClaims(request.UserNkey)
	user.Name = request.ConnectOptions.Username
	user.Audience = "A"
	if changeUser != nil {
		changeUser(user)
	}
	claims := jwt.NewAuthorizationResponseClaims(request.UserNkey)
	claims.Audience = request.Server.ID
	claims.Jwt = must(user.Encode(signer))
	if change != nil {
		change(claims)
	}
	return must(claims.Encode(signer))
}

// What the service does with each user.
var services = []struct {
	name, want string
	answer     answering
}{
	{"welcome", "in", func(r *jwt.AuthorizationRequestClaims) string { return welcome(r, issuing, nil, nil) }},
	{"to B", "in", func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, func(c *jwt.UserClaims) { c.Audience = "B" }, nil)
	}},
	{"to the account of the service", "in", func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, func(c *jwt.UserClaims) { c.Audience = "AUTH" }, nil)
	}},
	{"to everybody's account", "", func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, func(c *jwt.UserClaims) { c.Audience = "$G" }, nil)
	}},
	{"to the system account", "", func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, func(c *jwt.UserClaims) { c.Audience = "$SYS" }, nil)
	}},
	{"to an unknown account", refused, func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, func(c *jwt.UserClaims) { c.Audience = "Z" }, nil)
	}},
	{"to no account", "", func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, func(c *jwt.UserClaims) { c.Audience = "" }, nil)
	}},
	{"with permissions", "in", func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, func(c *jwt.UserClaims) { c.Pub.Allow.Add("yes"); c.Sub.Deny.Add("no") }, nil)
	}},
	{"with another name", "in", func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, func(c *jwt.UserClaims) { c.Name = "renamed" }, nil)
	}},
	{"with tags", "in", func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, func(c *jwt.UserClaims) { c.Tags.Add("a:b") }, nil)
	}},
	{"expired", refused, func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, func(c *jwt.UserClaims) { c.Expires = unixIn(-time.Minute) }, nil)
	}},
	{"of another network", "", func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, func(c *jwt.UserClaims) { c.Src.Add("10.0.0.0/8") }, nil)
	}},
	{"of another time", refused, func(r *jwt.AuthorizationRequestClaims) string {
		now := time.Now().UTC()
		return welcome(r, issuing, func(c *jwt.UserClaims) {
			c.Times = []jwt.TimeRange{{Start: now.Add(time.Hour).Format(time.TimeOnly), End: now.Add(2 * time.Hour).Format(time.TimeOnly)}}
		}, nil)
	}},
	{"for another user", refused, func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, func(c *jwt.UserClaims) { c.Subject = public(mallory) }, nil)
	}},
	{"for another server", refused, func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, nil, func(c *jwt.AuthorizationResponseClaims) { c.Audience = public(key(nkeys.PrefixByteServer, "other")) })
	}},
	{"for no server", refused, func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, nil, func(c *jwt.AuthorizationResponseClaims) { c.Audience = "" })
	}},
	{"about another user", refused, func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, nil, func(c *jwt.AuthorizationResponseClaims) { c.Subject = public(mallory) })
	}},
	{"an error", refused, func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, nil, func(c *jwt.AuthorizationResponseClaims) { c.Jwt, c.Error = "", "not you" })
	}},
	{"an error and a user", refused, func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, nil, func(c *jwt.AuthorizationResponseClaims) { c.Error = "not you" })
	}},
	{"neither", refused, func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, nil, func(c *jwt.AuthorizationResponseClaims) { c.Jwt = "" })
	}},
	{"of an intruder", refused, func(r *jwt.AuthorizationRequestClaims) string { return welcome(r, intruder, nil, nil) }},
	{"a user of an intruder", refused, func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, nil, func(c *jwt.AuthorizationResponseClaims) {
			user := jwt.NewUserClaims(r.UserNkey)
			user.Audience = "A"
			c.Jwt = must(user.Encode(intruder))
		})
	}},
	{"only a user", refused, func(r *jwt.AuthorizationRequestClaims) string {
		user := jwt.NewUserClaims(r.UserNkey)
		user.Audience = "A"
		return must(user.Encode(issuing))
	}},
	{"nonsense", refused, func(*jwt.AuthorizationRequestClaims) string { return "nonsense" }},
	{"with a signing key", refused, func(r *jwt.AuthorizationRequestClaims) string {
		return welcome(r, issuing, nil, func(c *jwt.AuthorizationResponseClaims) { c.IssuerAccount = public(issuing) })
	}},
	{"silence", "", func(*jwt.AuthorizationRequestClaims) string { return "" }},
}

// Answers as the user's name says, and shows what the question contains.
func answer(r *jwt.AuthorizationRequestClaims) string {
	for _, service := range services {
		if service.name == r.ConnectOptions.Username {
			return service.answer(r)
		}
	}
	if r.ConnectOptions.Username != "" && !strings.HasPrefix(r.ConnectOptions.Username, "known") {
		return services[0].answer(r)
	}
	return welcome(r, issuing, nil, func(c *jwt.AuthorizationResponseClaims) { c.Jwt, c.Error = "", "unknown" })
}

func calloutWorlds() []world {
	configuration := func(more string) string {
		return `accounts {
			AUTH { users [ { user: auth, password: p }, { nkey: ` + public(carol) + ` } ] }
			A { users [ { user: known, password: p }, { nkey: ` + public(alice) + ` } ] }
			B { users [ { user: known2, password: p } ] }
			SYS { users [ { user: sys, password: p } ] }
		}
		system_account: SYS
		authorization { timeout: 1, auth_callout { issuer: ` + public(issuing) + `, auth_users: [auth, ` + public(carol) + `], account: AUTH` + more + ` } }`
	}
	each := func(s *stage) {
		s.try("before the service", "", plain("user", "welcome"))
		s.serve("the service", plain("user", "auth", "pass", "p"), answer)
		s.try("the service with a wrong password", refused, plain("user", "auth", "pass", "q"))
		s.try("the service by nkey", "in", signed(carol), "PUB $SYS.REQ.USER.AUTH 0\r\n")
		for _, service := range services {
			s.try(service.name, service.want, plain("user", service.name, "pass", "p"),
				"PUB yes 0\r\n", "PUB x 0\r\n", "SUB no 1", "PUB $SYS.REQ.USER.AUTH 0\r\n")
		}
		s.try("who is known", "", plain("user", "known", "pass", "p"))
		s.try("who is known, with a wrong password", "", plain("user", "known", "pass", "q"))
		s.try("who is known in another account", "", plain("user", "known2", "pass", "p"))
		s.try("of the system account", "", plain("user", "sys", "pass", "p"))
		s.try("a known nkey", "", signed(alice))
		s.try("an unknown nkey", "", signed(mallory))
		s.try("a token", "", plain("auth_token", "t"))
		s.try("nothing", "", plain())
	}
	return []world{
		of("callout to any account", configuration(""), each),
		of("callout to some accounts", configuration(", allowed_accounts: [A]"), each),
		of("questions of a callout", configuration(""), func(s *stage) {
			asked := make(chan string, 1)
			s.serve("the service", plain("user", "auth", "pass", "p"), func(r *jwt.AuthorizationRequestClaims) string {
				text := must(json.Marshal(map[string]interface{}{
					"client_info": hidden(r.ClientInformation), "connect_opts": r.ConnectOptions, "tls": r.TLS, "type": r.Type,
					"version": r.Version, "aud": r.Audience, "expires": r.Expires - r.IssuedAt, "nonce": r.RequestNonce != "",
					"of a server": nkeys.IsValidPublicServerKey(r.Issuer), "the server": r.Issuer == r.Server.ID,
					"about a user": nkeys.IsValidPublicUserKey(r.UserNkey), "subject": r.Subject == r.UserNkey,
				}))
				asked <- string(text)
				return services[0].answer(r)
			})
			for title, as := range map[string]credentials{
				"a user":  plain("user", "u", "pass", "p", "name", "n", "lang", "go", "version", "1.2"),
				"a token": plain("auth_token", "t"),
				"nothing": plain(),
				"a JWT":   plain("jwt", "a.b.c"),
			} {
				s.try(title, "in", as)
				select {
				case question := <-asked:
					s.record("the question about "+title, "", question)
				case <-time.After(deadline):
					s.record("the question about "+title, "", "none")
				}
			}
		}),
	}
}

// Removes what differs on every run.
func hidden(of jwt.ClientInformation) jwt.ClientInformation {
	of.ID = 0
	of.Host = ""
	return of
}
