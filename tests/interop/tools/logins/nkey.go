package main

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/nats-io/nkeys"
)

var urlBase64 = base64.RawURLEncoding

// Makes the key of a name, which is the same on every run.
func key(kind nkeys.PrefixByte, name string) nkeys.KeyPair {
	seed := sha256.Sum256([]byte(name))
	pair, err := nkeys.FromRawSeed(kind, seed[:])
	if err != nil {
		panic(err)
	}
	return pair
}

func user(name string) nkeys.KeyPair    { return key(nkeys.PrefixByteUser, name) }
func account(name string) nkeys.KeyPair { return key(nkeys.PrefixByteAccount, name) }

func public(pair nkeys.KeyPair) string {
	text, err := pair.PublicKey()
	if err != nil {
		panic(err)
	}
	return text
}

func signature(pair nkeys.KeyPair, of []byte) []byte {
	made, err := pair.Sign(of)
	if err != nil {
		panic(err)
	}
	return made
}

var (
	alice   = user("alice")
	bob     = user("bob")
	carol   = user("carol")
	mallory = user("mallory")
)

// Credentials of an nkey that signs the nonce.
func signed(pair nkeys.KeyPair) credentials {
	return func(nonce []byte) fields {
		return fields{"nkey": public(pair), "sig": base64Of(signature(pair, nonce), urlBase64)}
	}
}

// Ways to sign a nonce, with those that are right.
type signing struct {
	title string
	right bool
	make  func(pair nkeys.KeyPair, nonce []byte) string
}

func encoded(encoding *base64.Encoding) func(nkeys.KeyPair, []byte) string {
	return func(pair nkeys.KeyPair, nonce []byte) string { return base64Of(signature(pair, nonce), encoding) }
}

func changed(change func(string) string) func(nkeys.KeyPair, []byte) string {
	return func(pair nkeys.KeyPair, nonce []byte) string {
		return change(base64Of(signature(pair, nonce), urlBase64))
	}
}

var signings = []signing{
	{"in base64 for URLs", true, encoded(urlBase64)},
	{"in padded base64", true, encoded(base64.StdEncoding)},
	{"in base64 for URLs with padding", false, func(pair nkeys.KeyPair, nonce []byte) string {
		// Only letters that both alphabets have would make it right.
		return "-" + base64Of(signature(pair, nonce), base64.URLEncoding)[1:]
	}},
	{"in base64 without padding", false, func(pair nkeys.KeyPair, nonce []byte) string {
		return "+" + base64Of(signature(pair, nonce), base64.RawStdEncoding)[1:]
	}},
	{"in hexadecimal", false, func(pair nkeys.KeyPair, nonce []byte) string {
		return strings.Repeat("0f", 64)
	}},
	{"with another key", false, func(_ nkeys.KeyPair, nonce []byte) string { return base64Of(signature(mallory, nonce), urlBase64) }},
	{"of another nonce", false, func(pair nkeys.KeyPair, nonce []byte) string {
		return base64Of(signature(pair, append([]byte("x"), nonce...)), urlBase64)
	}},
	{"of the decoded nonce", false, func(pair nkeys.KeyPair, nonce []byte) string {
		raw, _ := urlBase64.DecodeString(string(nonce))
		return base64Of(signature(pair, raw), urlBase64)
	}},
	{"of nothing", false, func(pair nkeys.KeyPair, _ []byte) string { return base64Of(signature(pair, nil), urlBase64) }},
	{"with a bit flipped", false, func(pair nkeys.KeyPair, nonce []byte) string {
		made := signature(pair, nonce)
		made[7] ^= 1
		return base64Of(made, urlBase64)
	}},
	{"cut", false, changed(func(text string) string { return text[:40] })},
	{"doubled", false, changed(func(text string) string { return text + text })},
	{"with a blank", false, changed(func(text string) string { return " " + text })},
	{"with a line end within", true, changed(func(text string) string { return text[:20] + "\n" + text[20:] })},
	{"with stray bits at the end", true, changed(func(text string) string {
		// The last letter of 86 carries two bits.
		letters := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		at := strings.IndexByte(letters, text[len(text)-1])
		return text[:len(text)-1] + letters[at|1:][:1]
	})},
	{"of zeros", false, func(nkeys.KeyPair, []byte) string { return base64Of(make([]byte, 64), urlBase64) }},
	{"empty", false, func(nkeys.KeyPair, []byte) string { return "" }},
	{"no base64", false, func(nkeys.KeyPair, []byte) string { return "!!!" }},
}

func verdictOn(right bool) string {
	if right {
		return "in"
	}
	return refused
}

func nkeyWorlds() []world {
	a, b, c := public(alice), public(bob), public(carol)
	return []world{
		of("nkeys", `authorization { users [
			{ nkey: `+a+` }
			{ nkey: `+b+`, permissions { publish: "b.>", subscribe { deny: "secret" } } }
			{ nkey: `+c+`, allowed_connection_types: [WEBSOCKET] }
		] }`, func(s *stage) {
			for _, way := range signings {
				s.try("signed "+way.title, verdictOn(way.right), func(nonce []byte) fields {
					return fields{"nkey": a, "sig": way.make(alice, nonce)}
				})
			}
			s.try("not signed", refused, plain("nkey", a))
			s.try("only signed", refused, signed(alice).without("nkey"))
			s.try("nothing", refused, plain())
			s.try("nobody", refused, signed(mallory))
			s.try("in lower case", refused, signed(alice).with("nkey", strings.ToLower(a)))
			s.try("of an account", refused, signed(account("A")))
			s.try("a seed", refused, func(nonce []byte) fields {
				seed, _ := alice.Seed()
				return fields{"nkey": string(seed), "sig": base64Of(signature(alice, nonce), urlBase64)}
			})
			s.try("no key", refused, signed(alice).with("nkey", "U"))
			s.try("as user", refused, plain("user", a, "pass", ""))
			s.try("as user, signed", refused, signed(alice).without("nkey").with("user", a))
			s.try("beside a user", "in", signed(alice).with("user", "u", "pass", "p"))
			s.try("beside a token", "in", signed(alice).with("auth_token", "t"))
			s.try("beside a JWT", "in", signed(alice).with("jwt", "a.b.c"))
			s.try("with permissions", "in", signed(bob), "PUB b.x 0\r\n", "PUB x 0\r\n", "SUB secret 1", "SUB b.x 2")
			s.try("for WebSocket only", refused, signed(carol))
			first := s.dial()
			old := first.nonce
			s.try("of the nonce of another connection", refused, func([]byte) fields { return signed(alice)(old) })
			s.try("with a name", "in", signed(alice).with("name", "n", "lang", "go", "version", "1"))
			s.tryOn(first, "after others", "in", signed(alice))
			s.tryOn(first, "again with the same nonce", "in", signed(bob))
			s.tryOn(first, "again as nobody", refused, signed(mallory))
		}),
		of("nkeys and users", `authorization { users [
			{ nkey: `+a+` }
			{ user: u, password: p }
			{ user: `+b+`, password: p }
		] }`, func(s *stage) {
			s.try("an nkey", "in", signed(alice))
			s.try("a user", "in", plain("user", "u", "pass", "p"))
			s.try("a user with a wrong password", refused, plain("user", "u", "pass", "q"))
			s.try("both", "in", signed(alice).with("user", "u", "pass", "p"))
			s.try("an nkey and a wrong password", "in", signed(alice).with("user", "u", "pass", "q"))
			s.try("a wrong signature and a user", refused, signed(mallory).with("nkey", a, "user", "u", "pass", "p"))
			s.try("no signature and a user", refused, plain("nkey", a, "user", "u", "pass", "p"))
			s.try("an unknown nkey and a user", refused, signed(mallory).with("user", "u", "pass", "p"))
			s.try("an empty nkey and a user", "in", plain("nkey", "", "sig", "x", "user", "u", "pass", "p"))
			s.try("a user named like a key", "in", plain("user", b, "pass", "p"))
			s.try("a user named like a key, as key", refused, signed(bob))
			s.try("an nkey as user", refused, plain("user", a, "pass", "p"))
			s.try("nothing", refused, plain())
		}),
		of("nkey for whoever has none", `no_auth_user: `+a+"\n"+`authorization { users [
			{ nkey: `+a+`, permissions { publish: "a.>" } }
			{ nkey: `+b+` }
			{ user: u, password: p }
		] }`, func(s *stage) {
			s.try("nothing", "in", plain(), "PUB a.x 0\r\n", "PUB b 0\r\n")
			s.try("that nkey without a signature", "in", plain("nkey", a))
			s.try("that nkey with a wrong signature", "in", signed(mallory).with("nkey", a))
			s.try("that nkey", "in", signed(alice))
			s.try("another nkey", "in", signed(bob))
			s.try("another nkey without a signature", refused, plain("nkey", b))
			s.try("only a signature", "in", plain("sig", "x"))
			s.try("a token", refused, plain("auth_token", "t"))
			s.try("a password", refused, plain("pass", "p"))
			s.try("a user", "in", plain("user", "u", "pass", "p"))
			s.try("a wrong password", refused, plain("user", "u", "pass", "q"))
			s.try("nobody", refused, plain("user", "z", "pass", "p"))
			s.try("an unknown nkey", refused, signed(mallory))
			s.try("a JWT", "in", plain("jwt", "a.b.c"))
		}),
	}
}
