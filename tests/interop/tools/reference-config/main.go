// Parses one configuration file with nats-server's own parser, and prints "ok", the digest and the
// values as JSON, or "refused" and the reason, separated by tabs.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/nats-io/nats-server/v2/conf"
)

func main() {
	// A file that includes itself overflows the parser's stack; this limits it to less than a
	// gigabyte.
	debug.SetMaxStack(16 << 20)
	defer func() {
		if fault := recover(); fault != nil {
			refuse(fault)
		}
	}()
	values, digest, err := conf.ParseFileWithChecksDigest(os.Args[1])
	if err != nil {
		refuse(err)
	}
	text, err := json.Marshal(values)
	if err != nil {
		refuse(err)
	}
	fmt.Printf("ok\t%s\t%s\n", digest, text)
}

func refuse(why any) {
	fmt.Printf("refused\t%q\n", fmt.Sprint(why))
	os.Exit(0)
}
