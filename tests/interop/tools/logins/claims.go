package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// The operators of the tests: one that the servers trust and another.
var (
	operator        = key(nkeys.PrefixByteOperator, "operator")
	operatorSigning = key(nkeys.PrefixByteOperator, "operator's signing key")
	stranger        = key(nkeys.PrefixByteOperator, "stranger")
)

type claimed[T interface{}] func(T)

func must[T interface{}](made T, err error) T {
	if err != nil {
		panic(err)
	}
	return made
}

// Makes an operator's JWT.
func operatorToken(change claimed[*jwt.OperatorClaims]) string {
	claims := jwt.NewOperatorClaims(public(operator))
	claims.Name = "O"
	claims.SigningKeys.Add(public(operatorSigning))
	claims.SystemAccount = public(account("SYS"))
	if change != nil {
		change(claims)
	}
	return must(claims.Encode(operator))
}

// Makes an account's JWT, signed by the operator.
func accountToken(name string, change claimed[*jwt.AccountClaims]) string {
	return accountTokenBy(operator, name, change)
}

func accountTokenBy(signer nkeys.KeyPair, name string, change claimed[*jwt.AccountClaims]) string {
	claims := jwt.NewAccountClaims(public(account(name)))
	claims.Name = name
	if change != nil {
		change(claims)
	}
	return must(claims.Encode(signer))
}

// Makes a user's JWT.
func userToken(signer, of nkeys.KeyPair, change claimed[*jwt.UserClaims]) string {
	claims := jwt.NewUserClaims(public(of))
	claims.Name = "U"
	if change != nil {
		change(claims)
	}
	return must(claims.Encode(signer))
}

// Credentials of a JWT, whose user signs the nonce.
func proven(of nkeys.KeyPair, token string) credentials {
	return func(nonce []byte) fields {
		return fields{"jwt": token, "sig": base64Of(signature(of, nonce), urlBase64)}
	}
}

// Credentials of alice with a JWT of an account, as changed.
func member(name string, change claimed[*jwt.UserClaims]) credentials {
	return proven(alice, userToken(account(name), alice, change))
}

// Signs claims with any header; before version 2 the signature is that of the claims alone.
func token(signer nkeys.KeyPair, header string, claims interface{}) string {
	body := base64Of(must(json.Marshal(claims)), urlBase64)
	head := base64Of([]byte(header), urlBase64)
	signed := head + "." + body
	if !strings.Contains(header, "ed25519-nkey") {
		signed = body
	}
	return head + "." + body + "." + base64Of(signature(signer, []byte(signed)), urlBase64)
}

const (
	header1 = `{"typ":"jwt","alg":"ed25519"}`
	header2 = `{"typ":"JWT","alg":"ed25519-nkey"}`
)

// Claims of version 1, whose type and tags are beside the claims of NATS.
func old(signer nkeys.KeyPair, subject, kind, name string, nats fields, more ...interface{}) string {
	claims := fields{
		"jti": "J", "iat": time.Now().Unix(), "iss": public(signer), "sub": subject, "name": name, "type": kind, "nats": nats,
	}
	for key, value := range plain(more...)(nil) {
		claims[key] = value
	}
	return token(signer, header1, claims)
}

// Claims of version 2 as an object, for those that the library does not make.
func claims2(signer nkeys.KeyPair, subject, kind string, nats fields, more ...interface{}) fields {
	body := fields{"type": kind, "version": 2, "subs": -1, "data": -1, "payload": -1}
	for key, value := range nats {
		body[key] = value
	}
	claims := fields{"jti": "J", "iat": time.Now().Unix(), "iss": public(signer), "sub": subject, "name": "U", "nats": body}
	for key, value := range plain(more...)(nil) {
		claims[key] = value
	}
	return claims
}

// A configuration of an operator whose accounts are in the file.
func trusting(operator string, accounts map[string]string, more string) string {
	text := fmt.Sprintf("%s\noperator: %q\nresolver: MEMORY\nresolver_preload {\n", more, operator)
	for _, name := range sortedKeys(accounts) {
		text += fmt.Sprintf("  %s: %q\n", public(account(name)), accounts[name])
	}
	return text + "}\n"
}

// The accounts of that operator that do nothing special.
func usual(names ...string) map[string]string {
	made := map[string]string{}
	for _, name := range append(names, "SYS") {
		made[name] = accountToken(name, nil)
	}
	return made
}
