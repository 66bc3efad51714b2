// What nats-server's own parser makes of one configuration file: a line "ok", the digest and the values as
// JSON, or "refused" and why, separated by tabs.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/nats-io/nats-server/v2/conf"
)

func main() {
	// A file that includes itself ends the parser by overflowing its stack; that need not take a gigabyte.
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
