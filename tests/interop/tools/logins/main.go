// Logs in to natsd and to nats-server with the same configuration files and the same credentials, and compares what each client is told,
// how its connection ends, and what monitoring and the log say about it. Reports in TAP.
package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// World is a configuration with the clients that connect to it.
type world struct {
	name string
	// Contents of the files in the server's folder, by name.
	files map[string]string
	play  func(*stage)
}

// Describes a world of one configuration file, whose server is running when the play begins.
func of(name, text string, play func(*stage)) world {
	return world{name, map[string]string{config: base + text}, func(s *stage) {
		s.open()
		play(s)
	}}
}

// Names of files.
const (
	config = "server.conf"
	base   = "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\n"
)

// Servers that run at the same time, each with its counterpart.
const parallel = 4

// The verdict and the remark of what natsd refuses by name because it does not implement it.
const notYet = "not yet"

func main() {
	programs := map[string]string{}
	for _, name := range []string{"NATSD", "REFERENCE"} {
		if programs[name] = os.Getenv(name); programs[name] == "" && name == "REFERENCE" {
			panic("set " + name)
		}
	}
	differences := readDifferences(os.Getenv("DIFFERENCES"))
	var only *regexp.Regexp
	if len(os.Args) > 1 {
		only = regexp.MustCompile(os.Args[1])
	}
	worlds := allWorlds()
	results := make([][]result, len(worlds))
	var running sync.WaitGroup
	places := make(chan struct{}, parallel)
	for i, world := range worlds {
		if only != nil && !only.MatchString(world.name) {
			continue
		}
		running.Add(1)
		places <- struct{}{}
		go func() {
			defer running.Done()
			results[i] = world.compare(programs["NATSD"], programs["REFERENCE"], differences)
			<-places
		}()
	}
	running.Wait()
	total, failed := 1, false
	for _, result := range slices.Concat(results...) {
		total++
		delete(differences, result.title)
		if world, is := strings.CutSuffix(result.title, ": the start"); is {
			// None of its cases was played.
			maps.DeleteFunc(differences, func(title, _ string) bool { return strings.HasPrefix(title, world+": ") })
		}
		if result.failure == "" {
			fmt.Printf("ok %s%s\n", result.title, result.remark)
			continue
		}
		failed = true
		fmt.Printf("not ok %s: %s\n", result.title, result.failure)
	}
	if len(differences) == 0 || only != nil {
		fmt.Println("ok differences.txt lists existing cases only")
	} else {
		failed = true
		fmt.Printf("not ok differences.txt lists existing cases only: not %v\n", sortedKeys(differences))
	}
	fmt.Printf("1..%d\n", total)
	if failed {
		os.Exit(1)
	}
}

func allWorlds() []world {
	return slices.Concat(plainWorlds(), nkeyWorlds(), accountWorlds(), websocketWorlds(), operatorWorlds(), calloutWorlds(), laterWorlds())
}

type result struct{ title, failure, remark string }

// Runs both servers with one set of files.
func (w world) compare(ours, theirs string, differences map[string]string) []result {
	folder, err := os.MkdirTemp("", "logins")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	stages := map[string]*stage{}
	var mutex sync.Mutex
	var running sync.WaitGroup
	for name, program := range map[string]string{"natsd": ours, "nats-server": theirs} {
		if program == "" {
			continue
		}
		// The same names of files for both, so that messages with paths can be compared.
		place := filepath.Join(folder, name)
		for file, text := range w.files {
			write(filepath.Join(place, file), text)
		}
		running.Add(1)
		go func() {
			defer running.Done()
			played := w.run(program, place)
			mutex.Lock()
			defer mutex.Unlock()
			stages[name] = played
		}()
	}
	running.Wait()
	return judge(w.name, stages["natsd"], stages["nats-server"], differences)
}

func (w world) run(program, place string) (played *stage) {
	played = &stage{place: place, program: program, seen: map[string]*sight{}}
	began := time.Now()
	if os.Getenv("TIMES") != "" {
		defer func() { fmt.Fprintln(os.Stderr, w.name, program, time.Since(began)) }()
	}
	defer func() {
		if failure := recover(); failure != nil {
			played.broken = fmt.Sprint(failure)
		}
		played.end()
	}()
	w.play(played)
	return
}

// Compares what two servers did.
func judge(world string, ours, theirs *stage, differences map[string]string) []result {
	var results []result
	if ours != nil && ours.server == nil && theirs.server != nil {
		if strings.Contains(ours.broken, ": natsd has no ") && strings.Contains(ours.broken, " yet") {
			return []result{{world + ": the start", "", ": " + notYet}}
		}
		return []result{{world + ": the start", "natsd: " + ours.broken, ""}}
	}
	for _, title := range theirs.order {
		their := theirs.seen[title]
		full := world + ": " + title
		var wrong []string
		if !their.meets() {
			wrong = append(wrong, fmt.Sprintf("nats-server: %s, and not %s", their.verdict, their.want))
		}
		why := differences[full]
		if ours != nil {
			our := ours.seen[title]
			if our == nil {
				our = &sight{verdict: "did not come to it, because " + cmp.Or(ours.broken, "of an earlier failure")}
			}
			if our.verdict == notYet {
				results = append(results, result{full, strings.Join(wrong, "; "), ": " + notYet})
				continue
			}
			same := slices.Equal(our.lines(), their.lines())
			switch {
			case !same && why == "":
				wrong = append(wrong, difference(our.lines(), their.lines()))
			case same && why != "":
				wrong = append(wrong, "no difference, but differences.txt names it")
			}
		}
		remark := ""
		if why != "" {
			remark = ": otherwise, because " + why
		}
		results = append(results, result{full, strings.Join(wrong, "; "), remark})
	}
	if theirs.broken != "" {
		results = append(results, result{world + ": the end", "nats-server: " + theirs.broken, ""})
	} else if ours != nil && ours.broken != "" && len(ours.seen) == len(theirs.seen) {
		results = append(results, result{world + ": the end", "natsd: " + ours.broken, ""})
	}
	return results
}

// Describes lines that only one server has.
func difference(ours, theirs []string) string {
	lacks := func(some, others []string) (lines []string) {
		for _, line := range some {
			if !slices.Contains(others, line) {
				lines = append(lines, line)
			}
		}
		return
	}
	only, missing := lacks(ours, theirs), lacks(theirs, ours)
	if len(only)+len(missing) == 0 {
		only, missing = ours, theirs
	}
	return fmt.Sprintf("natsd: [%s]; nats-server: [%s]", strings.Join(only, " | "), strings.Join(missing, " | "))
}

// Reads lines of the form "case = reason".
func readDifferences(path string) map[string]string {
	found := map[string]string{}
	if path == "" {
		return found
	}
	text, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(text)) {
		title, reason, is := strings.Cut(strings.TrimSpace(line), " = ")
		if is && !strings.HasPrefix(title, "#") {
			found[title] = reason
		}
	}
	return found
}

func sortedKeys[V interface{}](of map[string]V) []string {
	keys := make([]string, 0, len(of))
	for key := range of {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func write(path, text string) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		panic(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		panic(err)
	}
}
