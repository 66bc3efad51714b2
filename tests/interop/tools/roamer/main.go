// Answers requests to roam.NAME with NAME for as long as there are servers: a client of a cluster whose servers are
// replaced one by one. It ends with its standard input, and fails if the client library gives up.
//
//	roamer NAME URL,URL...
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

func main() {
	name, urls := os.Args[1], os.Args[2]
	client, err := nats.Connect(urls,
		nats.MaxReconnects(-1),
		nats.ReconnectWait(20*time.Millisecond),
		nats.ReconnectJitter(10*time.Millisecond, 10*time.Millisecond),
		nats.ClosedHandler(func(*nats.Conn) { log.Fatal("the client library gave up") }))
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.Subscribe("roam."+name, func(m *nats.Msg) { _ = m.Respond([]byte(name)) })
	if err != nil {
		log.Fatal(err)
	}
	if err := client.Flush(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}
