package main

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Guest is a client's connection.
type guest struct {
	connection net.Conn
	input      *bufio.Reader
	info       object
	nonce      []byte
	cid        int
	server     *server
	isWeb      bool
	// Frames of WebSocket that were read and not taken yet.
	frame []byte
}

// Connects each guest from another address, because natsd logs only the first of many equal lines about one address.
func (s *stage) dialer() *net.Dialer {
	return &net.Dialer{Timeout: deadline, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(len(s.guests)), 1)}}
}

func (s *stage) dial() *guest {
	connection, err := s.dialer().Dial("tcp", s.server.address)
	if err != nil {
		panic(err)
	}
	return s.welcome(&guest{connection: connection, input: bufio.NewReader(connection), server: s.server})
}

// Connects by WebSocket, with these additional headers.
func (s *stage) dialWeb(headers ...string) *guest {
	connection, err := s.dialer().Dial("tcp", s.server.websocket)
	if err != nil {
		panic(err)
	}
	request := "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	for _, header := range headers {
		request += header + "\r\n"
	}
	if _, err := io.WriteString(connection, request+"\r\n"); err != nil {
		panic(err)
	}
	guest := &guest{connection: connection, input: bufio.NewReader(connection), server: s.server}
	for {
		line, err := guest.input.ReadString('\n')
		if err != nil {
			panic(err)
		}
		if line == "\r\n" {
			break
		}
	}
	guest.isWeb = true
	return s.welcome(guest)
}

// Reads INFO.
func (s *stage) welcome(g *guest) *guest {
	s.guests = append(s.guests, g)
	line, err := g.line(deadline)
	if err != nil {
		return g
	}
	if text, is := strings.CutPrefix(line, "INFO "); is {
		if err := json.Unmarshal([]byte(text), &g.info); err != nil {
			panic(err)
		}
		g.cid = int(g.info["client_id"].(float64))
		if nonce, has := g.info["nonce"].(string); has {
			g.nonce = []byte(nonce)
		}
	}
	return g
}

func (g *guest) close() { _ = g.connection.Close() }

// Reads a line without its end.
func (g *guest) line(within time.Duration) (string, error) {
	_ = g.connection.SetReadDeadline(time.Now().Add(within))
	if !g.isWeb {
		line, err := g.input.ReadString('\n')
		return strings.TrimRight(line, "\r\n"), err
	}
	for {
		if line, rest, has := strings.Cut(string(g.frame), "\r\n"); has {
			g.frame = []byte(rest)
			return line, nil
		}
		if err := g.readFrame(); err != nil {
			return string(g.frame), err
		}
	}
}

func (g *guest) readFrame() error {
	head := make([]byte, 2)
	if _, err := io.ReadFull(g.input, head); err != nil {
		return err
	}
	size := uint64(head[1])
	switch size {
	case 126:
		var short uint16
		if err := binary.Read(g.input, binary.BigEndian, &short); err != nil {
			return err
		}
		size = uint64(short)
	case 127:
		if err := binary.Read(g.input, binary.BigEndian, &size); err != nil {
			return err
		}
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(g.input, payload); err != nil {
		return err
	}
	if head[0]&0x0f == 8 {
		return io.EOF
	}
	g.frame = append(g.frame, payload...)
	return nil
}

func (g *guest) send(text string) {
	data := []byte(text)
	if g.isWeb {
		mask := make([]byte, 4)
		_, _ = rand.Read(mask)
		frame := []byte{0x82}
		if len(data) < 126 {
			frame = append(frame, 0x80|byte(len(data)))
		} else {
			frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(len(data)))
		}
		frame = append(frame, mask...)
		for i, byte := range data {
			frame = append(frame, byte^mask[i%4])
		}
		data = frame
	}
	_, _ = g.connection.Write(data)
}

// Reads until PONG or the end of the connection. Returns the lines before it, without INFO, and what came: "PONG", "closed" or
// "silence".
func (g *guest) listen(within time.Duration) (lines []string, last string) {
	for {
		line, err := g.line(within)
		switch {
		case line == "PONG":
			return lines, line
		case line == "PING":
			g.send("PONG\r\n")
		case line != "" && !strings.HasPrefix(line, "INFO "):
			lines = append(lines, line)
		}
		if err != nil {
			if wait, is := err.(net.Error); is && wait.Timeout() {
				return lines, "silence"
			}
			return lines, "closed"
		}
	}
}

// Sends a text, and returns what the server says until it has processed it.
func (g *guest) ask(text string) string {
	g.send(text + "PING\r\n")
	lines, last := g.listen(deadline)
	if last != "PONG" {
		lines = append(lines, last)
	}
	return strings.Join(lines, ", ")
}

type fields = map[string]interface{}

// Credentials are the fields of CONNECT for a nonce.
type credentials func(nonce []byte) fields

func plain(pairs ...interface{}) credentials {
	made := fields{}
	for i := 0; i < len(pairs); i += 2 {
		made[pairs[i].(string)] = pairs[i+1]
	}
	return func([]byte) fields { return made }
}

func (c credentials) with(pairs ...interface{}) credentials {
	return func(nonce []byte) fields {
		made := fields{}
		for key, value := range c(nonce) {
			made[key] = value
		}
		for key, value := range plain(pairs...)(nil) {
			made[key] = value
		}
		return made
	}
}

func (c credentials) without(keys ...string) credentials {
	return func(nonce []byte) fields {
		made := c.with()(nonce)
		for _, key := range keys {
			delete(made, key)
		}
		return made
	}
}

func (g *guest) connect(as credentials) {
	options := fields{"verbose": false, "pedantic": false, "headers": true, "no_responders": true, "protocol": 1}
	for key, value := range as(g.nonce) {
		options[key] = value
	}
	text, err := json.Marshal(options)
	if err != nil {
		panic(err)
	}
	g.send("CONNECT " + string(text) + "\r\nPING\r\n")
}

// Reads the verdict on CONNECT: "in", the text of -ERR, "closed" or "silence"; and all lines.
func (g *guest) verdict() (string, []string) {
	lines, last := g.listen(deadline)
	if last == "PONG" {
		return "in", lines
	}
	for _, line := range lines {
		if text, is := strings.CutPrefix(line, "-ERR "); is {
			return strings.Trim(text, "'"), append(lines, last)
		}
	}
	return last, append(lines, last)
}

// What monitoring shows about how a client has logged in.
var shown = []string{"authorized_user", "account", "nkey", "issuer_key", "name_tag", "tags", "subscriptions", "reason"}

// Returns what monitoring shows about a client.
func (g *guest) shown(isIn bool) string {
	state := "open"
	if !isIn {
		state = "closed"
	}
	var connection object
	until(func() bool {
		connection = g.server.connection(fmt.Sprintf("cid=%d&auth=1&state=%s", g.cid, state))
		return connection != nil
	})
	var facts []string
	for _, key := range shown {
		// The account of a client that was refused depends on when that was.
		reason := connection["reason"]
		isRefused := reason == "Authentication Failure" || reason == "Maximum Account Connections Exceeded"
		if isRefused && slices.Contains([]string{"account", "name_tag", "issuer_key"}, key) {
			continue
		}
		if value, has := connection[key]; has {
			facts = append(facts, fmt.Sprintf("%s=%v", key, value))
		}
	}
	return "shown " + strings.Join(facts, " ")
}

// Lets a client in, or not, and records what happens; then it says some lines, each of which is answered.
func (s *stage) try(title, want string, as credentials, then ...string) *guest {
	return s.tryOn(s.dial(), title, want, as, then...)
}

func (s *stage) tryOn(g *guest, title, want string, as credentials, then ...string) *guest {
	began := time.Now()
	_, hasNonce := g.info["nonce"]
	g.connect(as)
	verdict, lines := g.verdict()
	facts := append([]string{fmt.Sprintf("INFO auth_required=%v nonce=%v", g.info["auth_required"], hasNonce)}, lines...)
	isIn := verdict == "in"
	if isIn {
		for _, text := range then {
			answer := g.ask(text + "\r\n")
			facts = append(facts, fmt.Sprintf("%s: %s", strings.Split(text, "\r\n")[0], answer))
			if strings.HasSuffix(answer, "closed") {
				isIn = false
				break
			}
		}
	}
	facts = append(facts, g.shown(isIn))
	if took := time.Since(began); took > time.Second && os.Getenv("TIMES") != "" {
		fmt.Fprintln(os.Stderr, title, took)
	}
	seen := s.record(title, want, verdict, facts...)
	seen.cid, seen.logs = g.cid, true
	return g
}

// Says some lines and records what is answered.
func (s *stage) say(g *guest, title, want, text string) {
	if text != "" {
		text += "\r\n"
	}
	s.record(title, want, g.ask(text))
}

// Records how a connection ends, or that it does not.
func (s *stage) after(g *guest, title, want string) {
	g.send("PING\r\n")
	lines, last := g.listen(deadline)
	if last == "PONG" {
		last = "stays"
	}
	// nats-server checks subscriptions in any order.
	slices.Sort(lines)
	seen := s.record(title, want, strings.Join(append(lines, last), ", "))
	if last == "closed" {
		seen.facts = append(seen.facts, g.shown(false))
	}
	seen.cid, seen.logs = g.cid, true
}

func base64Of(data []byte, encoding *base64.Encoding) string { return encoding.EncodeToString(data) }

// Waits for the end of a connection, and records it.
func (s *stage) ends(g *guest, title, want string) {
	lines, last := g.listen(deadline)
	seen := s.record(title, want, strings.Join(append(lines, last), ", "))
	if last == "closed" {
		seen.facts = append(seen.facts, g.shown(false))
	}
}

// Waits until the server has closed a client, and its account has room for another.
func (g *guest) gone() {
	g.shown(false)
	closed := g.server.connection(fmt.Sprintf("cid=%d&auth=1&state=closed", g.cid))
	account := url.QueryEscape(fmt.Sprint(closed["account"]))
	until(func() bool {
		open, _ := g.server.json("/connz?state=open&acc=" + account)["num_connections"].(float64)
		detail, _ := g.server.json("/accountz?acc=" + account)["account_detail"].(object)
		return detail["client_connections"] == open
	})
}

// Lets a client in that is cut at once, and records what it is told; PONG may come before or not at all.
func (s *stage) shut(title, want string, as credentials) {
	g := s.dial()
	g.connect(as)
	lines, last := g.listen(deadline)
	if last == "PONG" {
		var more []string
		more, last = g.listen(deadline)
		lines = append(lines, more...)
	}
	s.record(title, want, strings.Join(append(lines, last), ", "))
}
