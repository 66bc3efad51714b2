// Prints nats-server's options for configuration files, one line each: "ok" and the values that
// differ from the defaults, as JSON, or "refused" and the reason, separated by tabs; without a
// file, the defaults. Warnings are no refusal, although nats-server -t exits with 1 on them.
// Passwords are included.
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

type form = map[string]any

func main() {
	defaults, err := load()
	if err != nil {
		panic(err)
	}
	if len(os.Args) == 1 {
		print(defaults)
	}
	for _, file := range os.Args[1:] {
		values, err := load("-c", file)
		if err != nil {
			fmt.Printf("refused\t%q\n", err.Error())
			continue
		}
		for key, value := range defaults {
			if reflect.DeepEqual(values[key], value) {
				delete(values, key)
			}
		}
		print(values)
	}
}

func print(values form) {
	fmt.Print("ok\t")
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(values); err != nil {
		panic(err)
	}
}

// Follows the program before it listens: file, defaults, consistency.
func load(args ...string) (values form, err error) {
	defer func() {
		// Some values crash nats-server.
		if fault := recover(); fault != nil {
			err = fmt.Errorf("crashed: %v", fault)
		}
	}()
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	nothing := func() {}
	options, err := server.ConfigureOptions(flags, args, nothing, nothing, nothing)
	if err != nil {
		return nil, err
	}
	// Continues after warnings.
	options.NoLog, options.NoSigs = true, true
	if _, err := server.NewServer(options); err != nil {
		return nil, err
	}
	return normal(options), nil
}

// Under the names used in files. Parts that natsd lacks are omitted.
func normal(o *server.Options) form {
	// nats-server adds a user if only the system account has users.
	count := len(o.Users)
	o.Users = slices.DeleteFunc(o.Users, func(user *server.User) bool {
		return len(user.Username) > 6 && user.Username == o.NoAuthUser && user.Password == user.Username[6:]
	})
	isOpen := len(o.Users) < count
	if isOpen {
		o.NoAuthUser = ""
	}
	return form{
		"anonymous_beside_system_account": isOpen,
		"host":                            o.Host,
		"port":                            o.Port,
		"server_name":                     o.ServerName,
		"client_advertise":                o.ClientAdvertise,
		"server_tags":                     list([]string(o.Tags)),
		"server_metadata":                 texts(o.Metadata),
		"feature_flags":                   flagsOf(o.FeatureFlags),
		"pid_file":                        o.PidFile,
		"ports_file_dir":                  o.PortsFileDir,
		"debug":                           o.Debug,
		"trace":                           o.Trace,
		"trace_verbose":                   o.TraceVerbose,
		"trace_headers":                   o.TraceHeaders,
		"max_traced_msg_len":              max(o.MaxTracedMsgLen, 0),
		"logtime":                         o.Logtime,
		"logtime_utc":                     o.LogtimeUTC,
		"log_file":                        o.LogFile,
		"log_size_limit":                  max(o.LogSizeLimit, 0),
		"log_max_num":                     max(o.LogMaxFiles, 0),
		"syslog":                          o.Syslog,
		"remote_syslog":                   o.RemoteSyslog,
		"max_control_line":                o.MaxControlLine,
		"max_payload":                     o.MaxPayload,
		"max_pending":                     o.MaxPending,
		"max_connections":                 max(o.MaxConn, -1),
		"max_subscriptions":               max(o.MaxSubs, 0),
		"max_subscription_tokens":         o.MaxSubTokens,
		"max_closed_clients":              o.MaxClosedClients,
		"ping_interval":                   o.PingInterval.String(),
		"ping_max":                        o.MaxPingsOut,
		"write_deadline":                  o.WriteDeadline.String(),
		"write_timeout":                   policy(o.WriteTimeout),
		"lame_duck_duration":              o.LameDuckDuration.String(),
		"lame_duck_grace_period":          o.LameDuckGracePeriod.String(),
		"no_header_support":               o.NoHeaderSupport,
		"proxy_protocol":                  o.ProxyProtocol,
		"connect_error_reports":           o.ConnectErrorReports,
		"reconnect_error_reports":         o.ReconnectErrorReports,
		"disable_sublist_cache":           o.NoSublistCache,
		"no_fast_producer_stall":          o.NoFastProducerStall,
		"no_auth_user":                    o.NoAuthUser,
		"system_account":                  strings.TrimPrefix(o.SystemAccount, "$SYS"),
		"no_system_account":               o.NoSystemAccount,
		"allow_non_tls":                   o.AllowNonTLS,
		"store_dir":                       o.StoreDir,
		"http_host":                       o.HTTPHost,
		"http_port":                       o.HTTPPort,
		"https_port":                      o.HTTPSPort,
		"http_base_path":                  o.HTTPBasePath,
		"authorization": form{
			"user": o.Username, "password": o.Password, "token": o.Authorization,
			"timeout": authTimeout(o),
		},
		"users":     users(o.Users, o.Nkeys),
		"accounts":  accounts(o.Accounts),
		"tls":       encryption(o),
		"websocket": websocket(&o.Websocket),
		"cluster":   cluster(o),
	}
}

func cluster(o *server.Options) any {
	c := &o.Cluster
	if c.Port == 0 {
		return nil
	}
	routes := []string{}
	for _, route := range o.Routes {
		address := route.Host
		if route.User != nil {
			password, _ := route.User.Password()
			address = route.User.Username() + ":" + password + "@" + address
		}
		routes = append(routes, address)
	}
	// nats-server adds the system account.
	accounts := slices.DeleteFunc(slices.Clone(c.PinnedAccounts), func(name string) bool { return name == "$SYS" })
	compression := form{"mode": c.Compression.Mode, "rtt_thresholds": []string{}}
	if c.Compression.Mode == server.CompressionS2Auto {
		thresholds := []string{}
		for _, threshold := range c.Compression.RTTThresholds {
			thresholds = append(thresholds, threshold.String())
		}
		compression["rtt_thresholds"] = thresholds
	}
	of := form{
		"name": c.Name, "host": c.Host, "port": c.Port, "routes": routes, "advertise": c.Advertise,
		"no_advertise": c.NoAdvertise, "connect_retries": c.ConnectRetries, "connect_backoff": c.ConnectBackoff,
		"pool_size": max(c.PoolSize, -1), "accounts": list(accounts), "compression": compression,
		"ping_interval": c.PingInterval.String(), "ping_max": c.MaxPingsOut,
		"write_deadline": c.WriteDeadline.String(), "permissions": nil, "tls": nil,
		"authorization": form{"user": c.Username, "password": c.Password, "timeout": seconds(c.AuthTimeout)},
	}
	if p := c.Permissions; p != nil {
		of["permissions"] = form{"import": subjects(p.Import), "export": subjects(p.Export)}
	}
	if c.TLSConfig != nil {
		of["tls"] = certificates(c.TLSConfig, c.TLSMap, c.TLSPinnedCerts)
	}
	return of
}

// The default is one second more than the handshake timeout, whose duration it includes. natsd
// counts from the end of the handshake.
func authTimeout(o *server.Options) string {
	if o.TLSConfig != nil && o.AuthTimeout == o.TLSTimeout+1 {
		return server.AUTH_TIMEOUT.String()
	}
	return seconds(o.AuthTimeout)
}

// Users with a key follow those with a name.
func users(users []*server.User, keys []*server.NkeyUser) []form {
	all := []form{}
	for _, user := range users {
		all = append(all, form{
			"user": user.Username, "password": user.Password, "account": accountOf(user.Account),
			"permissions": permissions(user.Permissions), "allowed_connection_types": kinds(user.AllowedConnectionTypes),
		})
	}
	slices.SortFunc(all, byName("user"))
	named := len(all)
	for _, user := range keys {
		all = append(all, form{
			"nkey": user.Nkey, "account": accountOf(user.Account),
			"permissions": permissions(user.Permissions), "allowed_connection_types": kinds(user.AllowedConnectionTypes),
		})
	}
	slices.SortFunc(all[named:], byName("nkey"))
	return all
}

func byName(key string) func(a, b form) int {
	return func(a, b form) int { return strings.Compare(a[key].(string), b[key].(string)) }
}

func accountOf(account *server.Account) string {
	if account == nil {
		return "$G"
	}
	return account.Name
}

func kinds(allowed map[string]struct{}) []string {
	kinds := []string{}
	for kind := range allowed {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

func permissions(p *server.Permissions) any {
	if p == nil {
		return nil
	}
	of := form{"publish": subjects(p.Publish), "subscribe": subjects(p.Subscribe), "allow_responses": nil}
	if p.Response != nil {
		expires := "never"
		if p.Response.Expires >= 0 {
			expires = p.Response.Expires.String()
		}
		of["allow_responses"] = form{"max": max(p.Response.MaxMsgs, -1), "expires": expires}
	}
	return of
}

func subjects(s *server.SubjectPermission) form {
	if s == nil {
		s = &server.SubjectPermission{}
	}
	return form{"allow": list(s.Allow), "deny": list(s.Deny)}
}

func accounts(accounts []*server.Account) []string {
	names := []string{}
	for _, account := range accounts {
		// Predefined accounts exist even if the file does not name them.
		if account.Name != "$G" && account.Name != "$SYS" {
			names = append(names, account.Name)
		}
	}
	slices.Sort(names)
	return names
}

func encryption(o *server.Options) any {
	if o.TLSConfig == nil {
		return nil
	}
	first := "false"
	if o.TLSHandshakeFirst {
		first = "true"
		if o.TLSHandshakeFirstFallback > 0 {
			first = o.TLSHandshakeFirstFallback.String()
		}
	}
	of := certificates(o.TLSConfig, o.TLSMap, o.TLSPinnedCerts)
	of["timeout"] = seconds(o.TLSTimeout)
	of["connection_rate_limit"] = o.TLSRateLimit
	of["handshake_first"] = first
	return of
}

func certificates(config *tls.Config, byName bool, pinned server.PinnedCertSet) form {
	fingerprints := []string{}
	for fingerprint := range pinned {
		fingerprints = append(fingerprints, fingerprint)
	}
	slices.Sort(fingerprints)
	return form{
		"verify":         config.ClientAuth == tls.RequireAndVerifyClientCert,
		"verify_and_map": byName,
		"pinned_certs":   fingerprints,
		"min_version":    tls.VersionName(config.MinVersion),
	}
}

func websocket(w *server.WebsocketOpts) any {
	if w.Port == 0 {
		return nil
	}
	of := form{
		"host": w.Host, "port": w.Port, "advertise": w.Advertise, "no_tls": w.NoTLS,
		"same_origin": w.SameOrigin, "allowed_origins": list(w.AllowedOrigins), "compression": w.Compression,
		"handshake_timeout": w.HandshakeTimeout.String(), "no_auth_user": w.NoAuthUser,
		"jwt_cookie": w.JWTCookie, "user_cookie": w.UsernameCookie, "pass_cookie": w.PasswordCookie,
		"token_cookie": w.TokenCookie, "headers": texts(w.Headers), "tls": nil,
		"ping_interval": w.PingInterval.String(),
		"authorization": form{
			"user": w.Username, "password": w.Password, "token": w.Token, "timeout": seconds(w.AuthTimeout),
		},
	}
	if w.HandshakeTimeout == 0 {
		// Unlimited; natsd has a limit.
		of["handshake_timeout"] = "2s"
	}
	if w.TLSConfig != nil {
		of["tls"] = certificates(w.TLSConfig, w.TLSMap, w.TLSPinnedCerts)
	}
	return of
}

func policy(policy server.WriteTimeoutPolicy) string {
	if policy == server.WriteTimeoutPolicyRetry {
		return "retry"
	}
	return "close"
}

func seconds(number float64) string {
	return time.Duration(math.Round(number * float64(time.Second))).String()
}

func list(items []string) []string {
	if items == nil {
		return []string{}
	}
	return items
}

func texts(texts map[string]string) map[string]string {
	if texts == nil {
		return map[string]string{}
	}
	return texts
}

func flagsOf(flags map[string]bool) map[string]bool {
	if flags == nil {
		return map[string]bool{}
	}
	return flags
}
