package main

import (
	"log"
	"net/url"
	"sort"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	clusters = 30
	// Three of the pool and that of the system account, to each of two servers.
	routesOfThree = 8
)

// The pause between two looks at a condition that nothing reports.
const tick = time.Millisecond

func startMember(number int, routes []*url.URL) *server.Server {
	s, err := server.NewServer(&server.Options{
		ServerName: "n" + strconv.Itoa(number), Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true,
		Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: -1}, Routes: routes,
	})
	check(err)
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		log.Fatal("it is not ready")
	}
	for s.ClusterAddr() == nil {
		time.Sleep(tick)
	}
	return s
}

// Starts three servers, and has a message of a client of the first reach a client of the last.
func cluster() time.Duration {
	began := time.Now()
	var members []*server.Server
	var routes []*url.URL
	for number := range 3 {
		s := startMember(number, routes)
		defer s.Shutdown()
		members = append(members, s)
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: s.ClusterAddr().String()})
	}
	for _, s := range members {
		for s.NumRoutes() != routesOfThree {
			time.Sleep(tick)
		}
	}
	near, far := connect(members[0]), connect(members[2])
	defer near.Close()
	defer far.Close()
	sub, err := far.SubscribeSync("x")
	check(err)
	check(far.Flush())
	for members[0].GlobalAccount().Interest("x") == 0 {
		time.Sleep(tick)
	}
	check(near.Publish("x", []byte("hello")))
	_, err = sub.NextMsg(10 * time.Second)
	check(err)
	return time.Since(began)
}

// From the start of three servers to the first message between two; returns the median.
func firstMessageInCluster() time.Duration {
	var times []time.Duration
	for range clusters {
		times = append(times, cluster())
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	return times[clusters/2]
}
