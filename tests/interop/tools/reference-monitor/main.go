// Parses monitoring output as nats-server's own programs do: into nats-server's structs, where an
// unknown field, or one of another type, is an error. Each line of input is an endpoint, a tab and
// a response as one line of JSON; each line of output is "ok", or the error.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

func target(endpoint string) any {
	switch endpoint {
	case "/varz":
		return &server.Varz{}
	case "/connz":
		return &server.Connz{}
	case "/routez":
		return &server.Routez{}
	case "/gatewayz":
		return &server.Gatewayz{}
	case "/leafz":
		return &server.Leafz{}
	case "/subsz", "/subscriptionsz":
		return &server.Subsz{}
	case "/accountz":
		return &server.Accountz{}
	case "/accstatz":
		return &server.AccountStatz{}
	case "/jsz":
		return &server.JSInfo{}
	case "/healthz":
		return &server.HealthStatus{}
	}
	return nil
}

func main() {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 64<<20)
	for input.Scan() {
		endpoint, answer, _ := strings.Cut(input.Text(), "\t")
		into := target(endpoint)
		if into == nil {
			fmt.Printf("no such endpoint: %q\n", endpoint)
			continue
		}
		decoder := json.NewDecoder(bytes.NewReader([]byte(answer)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(into); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("ok")
	}
}
