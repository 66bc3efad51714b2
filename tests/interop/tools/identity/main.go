// Logs in with many credentials under many configurations, and compares what each client is told with
// expected.txt, which nats-server has produced. Reports in TAP.
//
//	identity -server PROGRAM -expected FILE [-update]
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// The time of issue of all tokens, except those that say otherwise.
var issued = time.Now().Add(-time.Hour)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, "identity:", err)
		os.Exit(1)
	}
	return value
}

func key(prefix nkeys.PrefixByte, name string) nkeys.KeyPair {
	seed := bytes.Repeat([]byte(name+"."), 32)[:32]
	return must(nkeys.CreatePairWithRand(prefix, bytes.NewReader(seed)))
}

func operator(name string) nkeys.KeyPair { return key(nkeys.PrefixByteOperator, name) }
func account(name string) nkeys.KeyPair  { return key(nkeys.PrefixByteAccount, name) }
func user(name string) nkeys.KeyPair     { return key(nkeys.PrefixByteUser, name) }
func public(pair nkeys.KeyPair) string   { return must(pair.PublicKey()) }

// Signs claims with a time of issue of the caller's choice, which the library does not allow.
func sign(claims any, issuer nkeys.KeyPair, version int) string {
	var fields map[string]any
	if err := json.Unmarshal(must(json.Marshal(claims)), &fields); err != nil {
		panic(err)
	}
	fields["iss"] = public(issuer)
	if _, ok := fields["iat"]; !ok {
		fields["iat"] = issued.Unix()
	}
	header := `{"typ":"JWT","alg":"ed25519-nkey"}`
	if version == 1 {
		header = `{"typ":"jwt","alg":"ed25519"}`
	} else if nats, ok := fields["nats"].(map[string]any); ok {
		nats["version"] = version
	}
	encode := base64.RawURLEncoding.EncodeToString
	head, body := encode([]byte(header)), encode(must(json.Marshal(fields)))
	signed := head + "." + body
	if version == 1 {
		signed = body
	}
	return head + "." + body + "." + encode(must(issuer.Sign([]byte(signed))))
}

func signUser(issuer nkeys.KeyPair, name string, change func(*jwt.UserClaims)) string {
	claims := jwt.NewUserClaims(public(user(name)))
	claims.Name, claims.Type = name, jwt.UserClaim
	change(claims)
	return sign(claims, issuer, 2)
}

func signAccount(issuer nkeys.KeyPair, name string, change func(*jwt.AccountClaims)) string {
	claims := jwt.NewAccountClaims(public(account(name)))
	claims.Name, claims.Type = name, jwt.AccountClaim
	change(claims)
	return sign(claims, issuer, 2)
}

func signOperator(name string, change func(*jwt.OperatorClaims)) string {
	claims := jwt.NewOperatorClaims(public(operator(name)))
	claims.Name, claims.Type = name, jwt.OperatorClaim
	change(claims)
	return sign(claims, operator(name), 2)
}

func scope(name string, change func(*jwt.UserScope)) *jwt.UserScope {
	scope := jwt.NewUserScope()
	scope.Key, scope.Role = public(account(name)), name
	change(scope)
	return scope
}

// The accounts that every resolver has, by name.
func accounts() map[string]string {
	plain := func(*jwt.AccountClaims) {}
	v1 := map[string]any{
		"sub": public(account("old")), "type": "account", "name": "old",
		"nats": map[string]any{"limits": map[string]any{"subs": -1, "conn": -1, "leaf": -1, "imports": -1,
			"exports": -1, "data": -1, "payload": -1, "wildcards": true}, "signing_keys": []string{public(account("old-signs"))}},
	}
	return map[string]string{
		"plain":     signAccount(operator("op"), "plain", func(a *jwt.AccountClaims) { a.SigningKeys.Add(public(account("plain-signs"))) }),
		"by-signer": signAccount(operator("op-signs"), "by-signer", plain),
		"other":     signAccount(operator("other"), "other", plain),
		"self":      signAccount(account("self"), "self", func(a *jwt.AccountClaims) { a.Limits = jwt.OperatorLimits{} }),
		"ended":     signAccount(operator("op"), "ended", func(a *jwt.AccountClaims) { a.Expires = time.Now().Unix() - 10 }),
		"early":     signAccount(operator("op"), "early", func(a *jwt.AccountClaims) { a.NotBefore = time.Now().Unix() + 1000 }),
		"no-bearer": signAccount(operator("op"), "no-bearer", func(a *jwt.AccountClaims) { a.Limits.DisallowBearer = true }),
		"full":      signAccount(operator("op"), "full", func(a *jwt.AccountClaims) { a.Limits.Conn = 0 }),
		"revoking": signAccount(operator("op"), "revoking", func(a *jwt.AccountClaims) {
			a.RevokeAt(public(user("gone")), issued)
			a.RevokeAt(public(user("renewed")), issued.Add(-time.Minute))
		}),
		"revoking-all": signAccount(operator("op"), "revoking-all", func(a *jwt.AccountClaims) { a.RevokeAt(jwt.All, issued) }),
		"defaults": signAccount(operator("op"), "defaults", func(a *jwt.AccountClaims) {
			a.DefaultPermissions.Pub.Allow.Add("own.>")
			a.Limits.Payload = 3
		}),
		"scoped": signAccount(operator("op"), "scoped", func(a *jwt.AccountClaims) {
			a.Tags.Add("region:eu")
			a.SigningKeys.AddScopedSigner(scope("s-names", func(s *jwt.UserScope) {
				s.Template.Pub.Allow.Add("{{name()}}.>", "{{account-name()}}.x", "{{subject()}}", "{{account-subject()}}")
				s.Template.Sub.Deny.Add("a")
			}))
			a.SigningKeys.AddScopedSigner(scope("s-tags", func(s *jwt.UserScope) {
				s.Template.Pub.Allow.Add("{{tag(dept)}}.>", "{{account-tag(region)}}.x")
			}))
			a.SigningKeys.AddScopedSigner(scope("s-deny", func(s *jwt.UserScope) { s.Template.Pub.Deny.Add("{{tag(dept)}}.>") }))
			a.SigningKeys.AddScopedSigner(scope("s-unknown", func(s *jwt.UserScope) { s.Template.Pub.Allow.Add("{{other()}}") }))
			a.SigningKeys.AddScopedSigner(scope("s-bearer", func(s *jwt.UserScope) { s.Template.BearerToken = true }))
			a.SigningKeys.AddScopedSigner(scope("s-kind", func(s *jwt.UserScope) { s.Template.AllowedConnectionTypes.Add("WEBSOCKET") }))
			a.SigningKeys.AddScopedSigner(scope("s-subs", func(s *jwt.UserScope) { s.Template.Subs = 1 }))
			a.SigningKeys.AddScopedSigner(scope("s-many", func(s *jwt.UserScope) {
				s.Template.Pub.Allow.Add("{{tag(n)}}.{{tag(n)}}.{{tag(n)}}")
			}))
		}),
		"old": sign(v1, operator("op"), 1),
		"bad-import": signAccount(operator("op"), "bad-import", func(a *jwt.AccountClaims) {
			a.Imports.Add(&jwt.Import{Subject: "a..b", Account: public(account("plain")), Type: jwt.Stream})
		}),
	}
}

// What a client sends in CONNECT. SIG stands for the signature of the nonce by `signs`.
type credentials struct {
	name    string
	connect map[string]any
	signs   nkeys.KeyPair
	encode  func([]byte) string
	// The bytes that are signed in place of the nonce.
	signed string
}

func token(name, jwt string, signs nkeys.KeyPair) credentials {
	return credentials{name: name, connect: map[string]any{"jwt": jwt, "sig": "SIG"}, signs: signs}
}

func of(name string, change func(*jwt.UserClaims)) func(*jwt.UserClaims) {
	return func(claims *jwt.UserClaims) {
		claims.IssuerAccount = public(account(name))
		change(claims)
	}
}

func scoped(claims *jwt.UserClaims) {
	claims.SetScoped(true)
	claims.IssuerAccount = public(account("scoped"))
}

func allCredentials() []credentials {
	none := func(*jwt.UserClaims) {}
	bearer := func(u *jwt.UserClaims) { u.BearerToken = true }
	all := []credentials{
		{name: "nothing", connect: map[string]any{}},
		{name: "garbage", connect: map[string]any{"jwt": "garbage"}},
		{name: "a user and password", connect: map[string]any{"user": "joe", "pass": "pw"}},
		{name: "a wrong password", connect: map[string]any{"user": "joe", "pass": "no"}},
		{name: "a token", connect: map[string]any{"auth_token": "t"}},
	}
	add := func(name, token_ string, signs nkeys.KeyPair) { all = append(all, token(name, token_, signs)) }
	users := func(name, issuer string, change func(*jwt.UserClaims)) {
		add(name, signUser(account(issuer), "joe", change), user("joe"))
	}
	for _, name := range []string{"plain", "by-signer", "other", "self", "ended", "early", "missing", "no-bearer", "full",
		"revoking", "revoking-all", "defaults", "scoped", "old", "bad-import"} {
		users("a user of "+name, name, none)
	}
	users("by a signing key", "plain-signs", of("plain", none))
	users("by a signing key that names no account", "plain-signs", none)
	users("by a key that is none of the account", "stranger", of("plain", none))
	users("by an account key for itself", "plain", of("plain", none))
	users("by an account key for another account", "by-signer", of("plain", none))
	users("by a signing key of version 1", "old-signs", of("old", none))
	add("by an operator", sign(userOf("joe"), operator("op"), 2), user("joe"))
	add("by a user", sign(userOf("joe"), user("joe"), 2), user("joe"))
	add("by nobody it names", broken(signUser(account("plain"), "joe", none)), user("joe"))
	add("of an account's claims", accounts()["plain"], account("plain"))
	add("signed by another key", signUser(account("plain"), "joe", none), user("jim"))
	version1 := map[string]any{"sub": public(user("joe")), "type": "user", "name": "joe", "nats": map[string]any{}}
	add("of version 1", sign(version1, account("plain"), 1), user("joe"))
	version1["issuer_account"] = public(account("old"))
	add("of version 1 by a signing key", sign(version1, account("old-signs"), 1), user("joe"))
	add("of version 1 with the signature of version 2", mixed(), user("joe"))
	add("of version 3", sign(userOf("joe"), account("plain"), 3), user("joe"))
	add("without a kind", sign(map[string]any{"sub": public(user("joe")), "nats": map[string]any{}}, account("plain"), 2), user("joe"))
	add("about an account", sign(map[string]any{"sub": public(account("plain")), "nats": map[string]any{"type": "user", "subs": -1, "payload": -1}}, account("plain"), 2), account("plain"))
	users("with blanks behind", "plain", none)
	all[len(all)-1].connect["jwt"] = all[len(all)-1].connect["jwt"].(string) + " "

	valid := signUser(account("plain"), "joe", none)
	shapes := map[string]func(*credentials){
		"standard base64":     func(c *credentials) { c.encode = base64.StdEncoding.EncodeToString },
		"hexadecimal":         func(c *credentials) { c.encode = func(b []byte) string { return fmt.Sprintf("%x", b) } },
		"of something else":   func(c *credentials) { c.signed = "something" },
		"of nothing":          func(c *credentials) { c.signed = "\x00" },
		"that is missing":     func(c *credentials) { delete(c.connect, "sig") },
		"that is empty":       func(c *credentials) { c.connect["sig"] = "" },
		"that is short":       func(c *credentials) { c.connect["sig"] = "AAAA" },
		"beside a user":       func(c *credentials) { c.connect["user"], c.connect["pass"] = "joe", "pw" },
		"beside its nkey":     func(c *credentials) { c.connect["nkey"] = public(user("joe")) },
		"beside another nkey": func(c *credentials) { c.connect["nkey"] = public(user("jim")) },
	}
	for _, name := range sorted(shapes) {
		c := token("a signature "+name, valid, user("joe"))
		shapes[name](&c)
		all = append(all, c)
	}
	now := time.Now().UTC()
	clock := func(d time.Duration) string { return now.Add(d).Format("15:04:05") }
	limits := map[string]func(*jwt.UserClaims){
		"expired":            func(u *jwt.UserClaims) { u.Expires = now.Unix() - 5 },
		"expiring later":     func(u *jwt.UserClaims) { u.Expires = now.Unix() + 500 },
		"not yet valid":      func(u *jwt.UserClaims) { u.NotBefore = now.Unix() + 500 },
		"from everywhere":    func(u *jwt.UserClaims) { u.Src.Set("0.0.0.0/0") },
		"from this host":     func(u *jwt.UserClaims) { u.Src.Set("10.0.0.0/8,127.0.0.1/32") },
		"from elsewhere":     func(u *jwt.UserClaims) { u.Src.Set("10.0.0.0/8") },
		"from IPv6":          func(u *jwt.UserClaims) { u.Src.Set("::/0") },
		"from a bad network": func(u *jwt.UserClaims) { u.Src.Set("127.0.0.1") },
		"at this time":       func(u *jwt.UserClaims) { u.Times, u.Locale = ranges(clock(-time.Minute), clock(time.Hour)), "UTC" },
		"at other times":     func(u *jwt.UserClaims) { u.Times, u.Locale = ranges(clock(time.Hour), clock(2*time.Hour)), "UTC" },
		"at bad times":       func(u *jwt.UserClaims) { u.Times = ranges("1", "2") },
		"in an unknown zone": func(u *jwt.UserClaims) {
			u.Times, u.Locale = ranges(clock(-time.Minute), clock(time.Hour)), "Mars/Olympus"
		},
		"by standard":          func(u *jwt.UserClaims) { u.AllowedConnectionTypes.Add("standard") },
		"by websocket":         func(u *jwt.UserClaims) { u.AllowedConnectionTypes.Add("WEBSOCKET") },
		"by both":              func(u *jwt.UserClaims) { u.AllowedConnectionTypes.Add("WEBSOCKET", "STANDARD") },
		"by unknown ones":      func(u *jwt.UserClaims) { u.AllowedConnectionTypes.Add("X") },
		"by known and unknown": func(u *jwt.UserClaims) { u.AllowedConnectionTypes.Add("X", "STANDARD") },
		"one subscription":     func(u *jwt.UserClaims) { u.Subs = 1 },
		"small payloads":       func(u *jwt.UserClaims) { u.Limits.Payload = 1 },
		"bad permissions":      func(u *jwt.UserClaims) { u.Pub.Allow.Add("a b c") },
		"a wildcard inside":    func(u *jwt.UserClaims) { u.Pub.Allow.Add("a.>.b") },
		"permissions":          func(u *jwt.UserClaims) { u.Pub.Deny.Add("joe.>"); u.Sub.Allow.Add("b", "a q") },
		"responses":            func(u *jwt.UserClaims) { u.Resp = &jwt.ResponsePermission{MaxMsgs: 1} },
	}
	for _, name := range sorted(limits) {
		users("a user: "+name, "plain", limits[name])
	}
	for _, name := range []string{"plain", "no-bearer", "revoking", "scoped"} {
		users("a bearer of "+name, name, bearer)
		users("a bearer without a signature of "+name, name, bearer)
		delete(all[len(all)-1].connect, "sig")
	}
	add("a revoked user", signUser(account("revoking"), "gone", none), user("gone"))
	add("a user revoked before", signUser(account("revoking"), "renewed", none), user("renewed"))
	users("a user issued after all were revoked", "revoking-all", func(u *jwt.UserClaims) { u.IssuedAt = issued.Unix() + 60 })
	users("a user without a time of issue", "revoking", func(u *jwt.UserClaims) { u.IssuedAt = 1 })
	for _, name := range []string{"s-names", "s-tags", "s-deny", "s-unknown", "s-bearer", "s-kind", "s-subs", "s-many"} {
		users("scoped: "+name, name, scoped)
		users("scoped with tags: "+name, name, func(u *jwt.UserClaims) {
			scoped(u)
			u.Tags.Add("dept:joe", "dept:b")
			for n := range 17 {
				u.Tags.Add(fmt.Sprintf("n:%d", n))
			}
		})
		users("scoped with limits: "+name, name, func(u *jwt.UserClaims) { scoped(u); u.Limits.Subs = 5 })
	}
	for _, name := range []string{"key", "socket-key", "jim"} {
		c := credentials{name: "the nkey " + name, connect: map[string]any{"nkey": public(user(name)), "sig": "SIG"}, signs: user(name)}
		all = append(all, c)
		c.name, c.signs = "the nkey "+name+" by another", user("stranger")
		all = append(all, c)
		all = append(all, credentials{name: "the nkey " + name + " unsigned", connect: map[string]any{"nkey": public(user(name))}})
		all = append(all, credentials{name: "the nkey " + name + " beside a user", connect: map[string]any{"nkey": public(user(name)), "sig": "SIG", "user": "joe", "pass": "pw"}, signs: user(name)})
	}
	return all
}

func userOf(name string) *jwt.UserClaims {
	claims := jwt.NewUserClaims(public(user(name)))
	claims.Type = jwt.UserClaim
	return claims
}

func ranges(start, end string) []jwt.TimeRange { return []jwt.TimeRange{{Start: start, End: end}} }

func broken(token string) string {
	parts := strings.Split(token, ".")
	return parts[0] + "." + parts[1] + "." + strings.Split(signUser(account("other"), "jim", func(*jwt.UserClaims) {}), ".")[2]
}

// Claims of version 1, signed together with the header.
func mixed() string {
	token := sign(map[string]any{"sub": public(user("joe")), "type": "user", "nats": map[string]any{}}, account("plain"), 2)
	return token
}

func sorted[T any](values map[string]T) []string {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	for i := range names {
		for j := i + 1; j < len(names); j++ {
			if names[j] < names[i] {
				names[i], names[j] = names[j], names[i]
			}
		}
	}
	return names
}

// The configurations, by name.
func configurations() map[string]string {
	preload := "resolver: MEM\nresolver_preload {\n"
	all := accounts()
	for _, name := range sorted(all) {
		preload += public(account(name)) + ": " + all[name] + "\n"
	}
	preload += "}\n"
	op := signOperator("op", func(o *jwt.OperatorClaims) { o.SigningKeys.Add(public(operator("op-signs"))) })
	strict := signOperator("op", func(o *jwt.OperatorClaims) {
		o.SigningKeys.Add(public(operator("op-signs")))
		o.StrictSigningKeyUsage = true
	})
	two := signOperator("other", func(*jwt.OperatorClaims) {})
	sentinel := signUser(account("plain"), "sentinel", func(u *jwt.UserClaims) { u.BearerToken = true; u.Pub.Deny.Add(">") })
	keyUsers := fmt.Sprintf("{nkey: %s, permissions: {publish: [joe.>]}}, {nkey: %s, allowed_connection_types: [WEBSOCKET]}",
		public(user("key")), public(user("socket-key")))
	return map[string]string{
		"operator":             "operator: " + op + "\n" + preload,
		"strict operator":      "operator: " + strict + "\n" + preload,
		"two operators":        "operator: [" + op + ", " + two + "]\n" + preload,
		"trusted keys":         "trusted_keys: [" + public(operator("op-signs")) + "]\n" + preload,
		"pinned accounts":      "operator: " + op + "\nresolver_pinned_accounts: [" + public(account("plain")) + "]\n" + preload,
		"sentinel":             "operator: " + op + "\ndefault_sentinel: " + sentinel + "\n" + preload,
		"nobody":               "",
		"a user":               "authorization {user: joe, password: pw}",
		"nkeys":                "authorization {users: [" + keyUsers + "]}",
		"nkeys and users":      "authorization {users: [" + keyUsers + ", {user: joe, password: pw}]}",
		"nkeys in accounts":    "accounts {A {users: [" + keyUsers + "]}, B {users: [{user: joe, password: pw}]}}",
		"no_auth_user is nkey": "accounts {A {users: [" + keyUsers + "]}, B {users: [{user: joe, password: pw}]}}\nno_auth_user: " + public(user("key")),
		"no_auth_user is user": "accounts {A {users: [" + keyUsers + "]}, B {users: [{user: joe, password: pw}]}}\nno_auth_user: joe",
	}
}

// Starts the server, and returns its address and how to stop it.
func start(program, config string) (string, func()) {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	address := listener.Addr().String()
	listener.Close()
	folder := must(os.MkdirTemp("", "identity"))
	file := filepath.Join(folder, "server.conf")
	if err := os.WriteFile(file, []byte("listen: \""+address+"\"\n"+config), 0o600); err != nil {
		panic(err)
	}
	command := exec.Command(program, "-c", file, "-l", filepath.Join(folder, "log"))
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		panic(err)
	}
	stop := func() {
		command.Process.Kill()
		command.Wait()
		os.RemoveAll(folder)
	}
	for range 100 {
		if connection, err := net.Dial("tcp", address); err == nil {
			connection.Close()
			return address, stop
		}
		time.Sleep(50 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(folder, "log"))
	stop()
	fmt.Fprintf(os.Stderr, "identity: %s does not start:\n%s\n", program, log)
	os.Exit(1)
	return "", nil
}

// Logs in, and returns what the client is told.
func try(address string, c credentials) string {
	connection := must(net.Dial("tcp", address))
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(5 * time.Second))
	reader := bufio.NewReader(connection)
	line := must(reader.ReadString('\n'))
	var info struct {
		Nonce string `json:"nonce"`
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "INFO ")), &info); err != nil {
		panic(err)
	}
	connect := map[string]any{"verbose": false, "pedantic": false, "protocol": 0}
	for name, value := range c.connect {
		connect[name] = value
	}
	if connect["sig"] == "SIG" {
		encode, signed := c.encode, c.signed
		if encode == nil {
			encode = base64.RawURLEncoding.EncodeToString
		}
		switch signed {
		case "":
			signed = info.Nonce
		case "\x00":
			signed = ""
		}
		connect["sig"] = encode(must(c.signs.Sign([]byte(signed))))
	}
	self := public(user("joe"))
	fmt.Fprintf(connection, "CONNECT %s\r\nPING\r\nSUB a 1\r\nSUB b 2\r\nSUB a q 3\r\nPUB joe.x 0\r\n\r\nPUB scoped.x 0\r\n\r\nPUB eu.x 0\r\n\r\n"+
		"PUB b.x 0\r\n\r\nPUB own.x 0\r\n\r\nPUB %s 0\r\n\r\nPUB 1.2.3 0\r\n\r\nPUB t 2\r\nxx\r\nPUB t 4\r\nxxxx\r\nPING\r\n", must(json.Marshal(connect)), self)
	told := []string{fmt.Sprintf("nonce %t", info.Nonce != "")}
	pongs := 0
	for pongs < 2 {
		line, err := reader.ReadString('\n')
		if err != nil {
			told = append(told, "closed")
			break
		}
		line = strings.TrimSpace(line)
		if line == "PONG" {
			pongs++
		}
		if !strings.HasPrefix(line, "MSG") && line != "PING" && line != "" && line != "xx" && line != "xxxx" {
			told = append(told, line)
		}
	}
	return strings.Join(told, "; ")
}

func main() {
	program := flag.String("server", "", "the program")
	expected := flag.String("expected", "", "the file")
	update := flag.Bool("update", false, "write the file")
	flag.Parse()
	var results []string
	configs, all := configurations(), allCredentials()
	for _, name := range sorted(configs) {
		address, stop := start(*program, configs[name])
		for _, c := range all {
			results = append(results, fmt.Sprintf("%s, %s: %s", name, c.name, try(address, c)))
		}
		stop()
	}
	if *update {
		if err := os.WriteFile(*expected, []byte(strings.Join(results, "\n")+"\n"), 0o644); err != nil {
			panic(err)
		}
	}
	lines := strings.Split(strings.TrimSpace(string(must(os.ReadFile(*expected)))), "\n")
	fmt.Printf("1..%d\n", len(lines))
	for at, line := range lines {
		if at < len(results) && results[at] == line {
			fmt.Printf("ok %d\n", at+1)
		} else {
			result := "none"
			if at < len(results) {
				result = results[at]
			}
			fmt.Printf("not ok %d - expected %s\n#    found %s\n", at+1, line, result)
		}
	}
}
