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

// Answers the server's question about a client; an empty answer is none.
type answering func(*jwt.AuthorizationRequestClaims) string

// The curve key of a service for sealed questions.
var sealing = must(nkeys.CreateCurveKeysWithRand(strings.NewReader(strings.Repeat("sealing.", 4))))

// Serves questions as this user until the connection ends.
func (s *stage) serve(title string, as credentials, isSealed bool, answer answering) {
	g := s.try(title, "in", as, "SUB $SYS.REQ.USER.AUTH 1", "PUB $SYS.REQ.USER.AUTH 0\r\n")
	go func() {
		_ = g.connection.SetReadDeadline(time.Time{})
		for {
			reply, request, err := question(g.input)
			if err != nil {
				return
			}
			xkey := g.info["xkey"]
			if isSealed {
				if request, err = sealing.Open(request, xkey.(string)); err != nil {
					continue
				}
			}
			claims, err := jwt.DecodeAuthorizationRequestClaims(string(request))
			if err != nil {
				continue
			}
			if text := answer(claims); text != "" {
				if isSealed {
					text = string(must(sealing.Seal([]byte(text), xkey.(string))))
				}
				g.send(fmt.Sprintf("PUB %s %d\r\n%s\r\n", reply, len(text), text))
			}
		}
	}()
}

// Reads the next message with a reply subject, with or without headers.
func question(input *bufio.Reader) (reply string, payload []byte, err error) {
	for {
		line, err := input.ReadString('\n')
		if err != nil {
			return "", nil, err
		}
		parts := strings.Fields(line)
		if len(parts) < 5 || parts[0] != "MSG" && parts[0] != "HMSG" {
			continue
		}
		head, size := 0, 0
		_, _ = fmt.Sscan(parts[len(parts)-1], &size)
		if parts[0] == "HMSG" {
			_, _ = fmt.Sscan(parts[len(parts)-2], &head)
		}
		body := make([]byte, size+2)
		if _, err := io.ReadFull(input, body); err != nil {
			return "", nil, err
		}
		return parts[3], body[head:size], nil
	}
}

// An answer that lets a user in whom an account has signed, as changed; the response is signed by another one.
func welcome(r *jwt.AuthorizationRequestClaims, by, signer nkeys.KeyPair, change claimed[*jwt.UserClaims], more claimed[*jwt.AuthorizationResponseClaims]) string {
	user := jwt.NewUserClaims(r.UserNkey)
	user.Name = "guest"
	if change != nil {
		change(user)
	}
	claims := jwt.NewAuthorizationResponseClaims(r.UserNkey)
	claims.Audience = r.Server.ID
	claims.Jwt = must(user.Encode(by))
	if more != nil {
		more(claims)
	}
	return must(claims.Encode(signer))
}

func ofA(c *jwt.UserClaims) { c.IssuerAccount = public(account("A")) }

func scopedOfA(c *jwt.UserClaims) {
	ofA(c)
	c.UserPermissionLimits = jwt.UserPermissionLimits{}
}

// What the service of an account answers about a client, by the user that the client names besides.
var services = []struct {
	name, want string
	by         nkeys.KeyPair
	change     claimed[*jwt.UserClaims]
	more       claimed[*jwt.AuthorizationResponseClaims]
}{
	{"to an allowed account", "in", account("A"), nil, nil},
	{"to its own account", "in", account("AUTH"), nil, nil},
	{"to an account that is not allowed", refused, account("B"), nil, nil},
	{"to an account that does not exist", refused, account("NOWHERE"), nil, nil},
	{"to an account that has ended", refused, account("EXPIRED"), nil, nil},
	{"to an account with default permissions", "in", account("DEFAULTS"), nil, nil},
	{"by a signing key", "in", signer, ofA, nil},
	{"by a signing key without its account", refused, signer, nil, nil},
	{"by a scoped key", "in", scoped, scopedOfA, nil},
	{"by a scoped key with limits", refused, scoped, ofA, nil},
	{"by a scoped key with templates", "in", tagged, scopedOfA, nil},
	{"by a key of nobody", refused, account("stranger"), ofA, nil},
	{"with permissions", "in", account("A"), func(c *jwt.UserClaims) { c.Pub.Allow.Add("yes"); c.Sub.Deny.Add("no") }, nil},
	{"without a name", "in", account("A"), func(c *jwt.UserClaims) { c.Name = "" }, nil},
	{"with tags", "in", account("A"), func(c *jwt.UserClaims) { c.Tags.Add("c:d") }, nil},
	{"expired", refused, account("A"), func(c *jwt.UserClaims) { c.Expires = unixIn(-time.Minute) }, nil},
	{"at another time", refused, account("A"), func(c *jwt.UserClaims) { c.Times = daytime(time.Hour, 2*time.Hour) }, nil},
	{"at this time", "in", account("A"), func(c *jwt.UserClaims) { c.Times = daytime(-time.Hour, time.Hour) }, nil},
	{"for another user", refused, account("A"), func(c *jwt.UserClaims) { c.Subject = public(mallory) }, nil},
	{"for another server", refused, account("A"), nil, func(c *jwt.AuthorizationResponseClaims) {
		c.Audience = public(key(nkeys.PrefixByteServer, "other"))
	}},
	{"about another user", refused, account("A"), nil, func(c *jwt.AuthorizationResponseClaims) { c.Subject = public(mallory) }},
	{"an error", refused, account("A"), nil, func(c *jwt.AuthorizationResponseClaims) { c.Jwt, c.Error = "", "not you" }},
	{"for an account that it is not", refused, account("A"), nil, func(c *jwt.AuthorizationResponseClaims) { c.IssuerAccount = public(account("B")) }},
}

// A time of the day, as of now.
func daytime(from, to time.Duration) []jwt.TimeRange {
	now := time.Now().UTC()
	return []jwt.TimeRange{{Start: now.Add(from).Format(time.TimeOnly), End: now.Add(to).Format(time.TimeOnly)}}
}

func answer(r *jwt.AuthorizationRequestClaims) string {
	for _, service := range services {
		if service.name == r.ConnectOptions.Username {
			return welcome(r, service.by, account("AUTH"), service.change, service.more)
		}
	}
	return welcome(r, account("A"), account("AUTH"), nil, nil)
}

// The accounts of a chain, and one that delegates the log-ins of all but carol.
func delegating(change claimed[*jwt.AccountClaims]) map[string]string {
	accounts := chain()
	accounts["AUTH"] = accountToken("AUTH", func(c *jwt.AccountClaims) {
		c.EnableExternalAuthorization(public(carol))
		c.Authorization.AllowedAccounts.Add(public(account("A")), public(account("NOWHERE")), public(account("EXPIRED")), public(account("DEFAULTS")))
		if change != nil {
			change(c)
		}
	})
	return accounts
}

func calloutWorlds() []world {
	service := proven(carol, userToken(account("AUTH"), carol, nil))
	visitor := member("AUTH", func(c *jwt.UserClaims) { c.Name = "visitor"; c.Tags.Add("a:b") })
	// Monitoring and the log name it by what it says in CONNECT, admitted or not.
	known := member("AUTH", nil)
	then := []string{"PUB yes 0\r\n", "PUB pub.x 0\r\n", "PUB default.x 0\r\n", "SUB no 1", "PUB $SYS.REQ.USER.AUTH 0\r\n"}
	each := func(isSealed bool) func(*stage) {
		return func(s *stage) {
			s.serve("the service", service, isSealed, answer)
			for _, service := range services {
				want := service.want
				if isSealed && service.name == "for an account that it is not" {
					want = "in"
				}
				s.try(service.name, want, known.with("user", service.name), then...)
			}
			s.try("a user of another account", "in", member("B", nil), then...)
			s.try("a user and a token", "in", visitor.with("auth_token", "t"), then...)
			s.try("a user of another account and a token", "in", member("B", nil).with("auth_token", "to its own account"), then...)
		}
	}
	sentinel := userToken(account("AUTH"), alice, func(c *jwt.UserClaims) { c.Name, c.BearerToken = "sentinel", true })
	return []world{
		of("callout of an account", trusting(operatorToken(nil), delegating(nil), ""), each(false)),
		of("sealed callout of an account", trusting(operatorToken(nil), delegating(func(c *jwt.AccountClaims) {
			c.Authorization.XKey = public(sealing)
		}), ""), each(true)),
		of("callout to any account", trusting(operatorToken(nil), delegating(func(c *jwt.AccountClaims) {
			c.Authorization.AllowedAccounts = jwt.StringList{"*"}
		}), ""), func(s *stage) {
			s.serve("the service", service, false, func(r *jwt.AuthorizationRequestClaims) string {
				return welcome(r, account("B"), account("AUTH"), nil, nil)
			})
			s.try("a user", "in", visitor, then...)
		}),
		of("questions of an account", trusting(operatorToken(nil), delegating(nil), fmt.Sprintf("default_sentinel: %q", sentinel)), func(s *stage) {
			asked := make(chan string, 1)
			s.serve("the service", service, false, func(r *jwt.AuthorizationRequestClaims) string {
				r.ClientInformation.ID, r.ClientInformation.Host = 0, ""
				hasNonce, hasSignature := r.ClientInformation.Nonce != "", r.ConnectOptions.SignedNonce != ""
				r.ClientInformation.Nonce, r.ConnectOptions.SignedNonce = "", ""
				if token := r.ConnectOptions.JWT; token != "" {
					r.ConnectOptions.JWT = must(jwt.DecodeUserClaims(token)).Name
				}
				asked <- string(must(json.Marshal(map[string]interface{}{
					"client_info": r.ClientInformation, "connect_opts": r.ConnectOptions, "tls": r.TLS, "type": r.Type,
					"version": r.Version, "aud": r.Audience, "expires": r.Expires - r.IssuedAt, "nonce": hasNonce, "signature": hasSignature,
					"of a server": nkeys.IsValidPublicServerKey(r.Issuer), "the server": r.Issuer == r.Server.ID,
					"about a user": nkeys.IsValidPublicUserKey(r.UserNkey), "of the account": r.Subject == public(account("AUTH")),
				})))
				return welcome(r, account("A"), account("AUTH"), nil, nil)
			})
			for _, client := range []struct {
				title string
				as    credentials
			}{
				{"a user", visitor},
				{"a user with more", visitor.with("name", "n", "lang", "go", "version", "1.2", "pass", "p")},
				{"a user with a name", visitor.with("user", "u", "pass", "p")},
				{"a user with a key", visitor.with("nkey", public(bob))},
				{"nothing", plain()},
				{"a token", plain("auth_token", "t")},
				{"a user and password", plain("user", "u", "pass", "p")},
				{"a JWT that is none", plain("jwt", "a.b.c")},
				{"a key", signed(bob)},
			} {
				s.try(client.title, "in", client.as)
				select {
				case question := <-asked:
					s.record("the question about "+client.title, "", question)
				case <-time.After(deadline):
					s.record("the question about "+client.title, "", "none")
				}
			}
		}),
	}
}
