package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// No server or client needs as much, so that whoever waits for longer has found an error.
const deadline = 10 * time.Second

// Server is one of the programs with the configuration of a world, on free ports.
type server struct {
	process            *exec.Cmd
	address, websocket string
	monitor            string
	mutex              sync.Mutex
	said               []string
	ended              chan struct{}
}

// Starts a server and waits until it is ready; returns what it said if it refuses to start.
func start(program, place string) (*server, []string) {
	process := exec.Command(program, "-c", config)
	process.Dir = place
	process.Env = []string{"HOME=/nowhere", "TZ=UTC"}
	stderr, err := process.StderrPipe()
	if err != nil {
		panic(err)
	}
	if err := process.Start(); err != nil {
		panic(err)
	}
	server := &server{process: process, ended: make(chan struct{})}
	ready := make(chan bool, 2)
	go server.listen(stderr, ready)
	select {
	case is := <-ready:
		if is {
			return server, nil
		}
	case <-time.After(deadline):
		_ = process.Process.Kill()
		panic("the server does not become ready")
	}
	<-server.ended
	return nil, server.said
}

func (s *server) listen(stderr io.Reader, ready chan<- bool) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		last := line[strings.LastIndex(line, " ")+1:]
		switch {
		case strings.Contains(line, "Starting http monitor on "):
			s.monitor = last
		case strings.Contains(line, "Listening for client connections on "):
			s.address = last
		case strings.Contains(line, "Listening for websocket clients on "):
			s.websocket = strings.TrimPrefix(last, "ws://")
		}
		s.mutex.Lock()
		s.said = append(s.said, line)
		s.mutex.Unlock()
		if strings.Contains(line, "Server is ready") {
			ready <- true
		}
	}
	_ = s.process.Wait()
	close(s.ended)
	ready <- false
}

func (s *server) stop() {
	_ = s.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(deadline):
		_ = s.process.Process.Kill()
		<-s.ended
	}
}

// Returns the lines of the log so far.
func (s *server) log() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]string{}, s.said...)
}

// Returns true if a condition comes to hold.
func until(holds func() bool) bool {
	for end := time.Now().Add(deadline); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// Lets the server read its files again, and returns "reloaded" or its complaint.
func (s *server) reload() (outcome string) {
	before := len(s.log())
	_ = s.process.Process.Signal(syscall.SIGHUP)
	until(func() bool {
		for _, line := range s.log()[before:] {
			_, complaint, failed := strings.Cut(line, "Failed to reload server configuration: ")
			switch {
			case strings.Contains(line, "Reloaded server configuration"):
				outcome = "reloaded"
			case failed:
				outcome = "not reloaded: " + complaint
			}
		}
		return outcome != ""
	})
	return
}

type object = map[string]interface{}

func (s *server) json(path string) (answer object) {
	response, err := http.Get("http://" + s.monitor + path)
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		panic(err)
	}
	return
}

// Returns the only connection of an answer of /connz.
func (s *server) connection(query string) object {
	list, _ := s.json("/connz?" + query)["connections"].([]interface{})
	if len(list) == 0 {
		return nil
	}
	return list[0].(object)
}

var (
	logged = regexp.MustCompile(`^\[\d+\] \d{4}/\d\d/\d\d [\d:.]+ (\[[A-Z]{3}\]) (.*)$`)
	// What nats-server logs once a second, for whatever client.
	isRare = regexp.MustCompile(`maximum subscriptions exceeded|maximum account active connections exceeded|found in connect proto`)
	// What natsd logs a few times for one address.
	isViolation = regexp.MustCompile(` Violation - Subject `)
	address     = regexp.MustCompile(`127\.0\.\d+\.1`)
	someone     = regexp.MustCompile(`\S+:\d+ - w?cid:(\d+)( - "[^"]*")?( - "[^"]*")? - `)
)

// Lines about violations that are compared.
const violations = 8

// Returns the errors and warnings of the log by client; those of none are of client 0.
func (s *server) complaints() map[int][]string {
	found := map[int][]string{}
	for _, line := range s.log() {
		parts := logged.FindStringSubmatch(line)
		if parts == nil || parts[1] != "[ERR]" && parts[1] != "[WRN]" {
			continue
		}
		cid := 0
		if who := someone.FindStringSubmatchIndex(parts[2]); who != nil {
			fmt.Sscan(parts[2][who[2]:who[3]], &cid)
			parts[2] = "client: " + parts[2][who[1]:]
		}
		if isRare.MatchString(parts[2]) || isViolation.MatchString(parts[2]) && len(found[cid]) >= violations {
			continue
		}
		found[cid] = append(found[cid], parts[1]+" "+address.ReplaceAllString(parts[2], "ADDRESS"))
	}
	return found
}

// Stage is one server's part of a world.
type stage struct {
	place, program string
	server         *server
	order          []string
	seen           map[string]*sight
	guests         []*guest
	broken         string
}

// Sight is what one server did in a case.
type sight struct {
	want, verdict string
	facts         []string
	cid           int
	// Whether the log about the client matters.
	logs bool
}

func (s *sight) meets() bool { return s.want == "" || s.want == s.verdict }

func (s *sight) lines() []string { return append([]string{s.verdict}, s.facts...) }

func (s *stage) open() {
	server, refusal := start(s.program, s.place)
	if server == nil {
		panic("the server does not start: " + strings.Join(refusal, " / "))
	}
	s.server = server
}

func (s *stage) end() {
	for _, guest := range s.guests {
		guest.close()
	}
	if s.server == nil {
		return
	}
	s.server.stop()
	complaints := s.server.complaints()
	for _, sight := range s.seen {
		if sight.logs {
			for _, line := range complaints[sight.cid] {
				sight.facts = append(sight.facts, "log "+line)
			}
		}
	}
	if is := complaints[0]; len(is) > 0 && os.Getenv("SHOW") != "" {
		fmt.Fprintln(os.Stderr, s.program, is)
	}
}

func (s *stage) record(title, want, verdict string, facts ...string) *sight {
	if s.seen[title] != nil {
		panic("two cases are called " + title)
	}
	s.order = append(s.order, title)
	s.seen[title] = &sight{want: want, verdict: verdict, facts: facts}
	return s.seen[title]
}

// Replaces files and lets the server read them.
func (s *stage) reload(title, want string, files map[string]string) {
	for name, text := range files {
		write(filepath.Join(s.place, name), text)
	}
	s.record(title, want, s.server.reload())
}

func (s *stage) path(file string) string { return filepath.Join(s.place, file) }
