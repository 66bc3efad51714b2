// Measures nats-server embedded in a Go program, used through its in-process connection, like
// `cargo bench -p broker-core --bench in_process` and broker-net's example `start_time` for natsd;
// docs/embedding.md compares both.
//
//	tests/interop/run --install && GOMAXPROCS=1 tests/interop/.tools/bin/embedded
package main

import (
	"fmt"
	"log"
	"sort"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	payloadBytes = 128
	messages     = 1_000_000
	requests     = 100_000
	starts       = 200
	rounds       = 3
)

func start() *server.Server {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	check(err)
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		log.Fatal("it is not ready")
	}
	return s
}

func connect(s *server.Server) *nats.Conn {
	nc, err := nats.Connect("", nats.InProcessServer(s))
	check(err)
	return nc
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Messages from one connection to another, as many as possible; returns the time per message.
func publish(s *server.Server) time.Duration {
	publisher, subscriber := connect(s), connect(s)
	defer publisher.Close()
	defer subscriber.Close()
	done, count := make(chan bool), 0
	sub, err := subscriber.Subscribe("bench.subject", func(*nats.Msg) {
		if count++; count == messages {
			close(done)
		}
	})
	check(err)
	check(sub.SetPendingLimits(-1, -1))
	check(subscriber.Flush())
	payload := make([]byte, payloadBytes)
	began := time.Now()
	for range messages {
		check(publisher.Publish("bench.subject", payload))
	}
	check(publisher.Flush())
	<-done
	return time.Since(began) / messages
}

// Sequential requests; returns the time per request.
func request(s *server.Server) time.Duration {
	client, service := connect(s), connect(s)
	defer client.Close()
	defer service.Close()
	payload := make([]byte, payloadBytes)
	_, err := service.Subscribe("bench.subject", func(m *nats.Msg) { check(m.Respond(payload)) })
	check(err)
	check(service.Flush())
	began := time.Now()
	for range requests {
		_, err := client.Request("bench.subject", payload, time.Second)
		check(err)
	}
	return time.Since(began) / requests
}

// From the start to the first message; returns the median.
func firstMessage(dial func(*server.Server) *nats.Conn) time.Duration {
	var times []time.Duration
	for range starts {
		began := time.Now()
		s := start()
		nc := dial(s)
		sub, err := nc.SubscribeSync("x")
		check(err)
		check(nc.Publish("x", []byte("hello")))
		_, err = sub.NextMsg(time.Second)
		check(err)
		times = append(times, time.Since(began))
		nc.Close()
		s.Shutdown()
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	return times[starts/2]
}

func main() {
	s := start()
	for range rounds {
		fmt.Printf("publish to subscriber, %d bytes: %v a message; request and reply: %v\n",
			payloadBytes, publish(s), request(s))
	}
	s.Shutdown()
	overTCP := func(s *server.Server) *nats.Conn {
		nc, err := nats.Connect(s.ClientURL())
		check(err)
		return nc
	}
	fmt.Printf("start to first message: %v over TCP, %v in process (medians of %d)\n",
		firstMessage(overTCP), firstMessage(connect), starts)
	fmt.Printf("start of three servers to first message from one to another: %v (median of %d)\n",
		firstMessageInCluster(), clusters)
}
