// Exchanges S2 streams between natsd's codec and the library that nats-server compresses with. Reports in TAP.
//
//	OURS=PROGRAM s2
//
// PROGRAM is the example s2_stream of broker-net.
package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"strings"

	"github.com/klauspost/compress/s2"
)

// Interest as a route sends it.
func interest(length int) []byte {
	var out bytes.Buffer
	for n := 0; out.Len() < length; n++ {
		fmt.Fprintf(&out, "RS+ $G orders.%d.%s\r\n", n*7919%10007, []string{"eu", "us", "asia"}[n%3])
	}
	return out.Bytes()[:length]
}

// Messages with payloads of JSON.
func messages(length int) []byte {
	random := rand.New(rand.NewSource(1))
	var out bytes.Buffer
	for out.Len() < length {
		payload := fmt.Sprintf(`{"order":%d,"customer":"%08x","items":[`, random.Int31(), random.Int31())
		for n := random.Intn(20); n >= 0; n-- {
			payload += fmt.Sprintf(`{"sku":"%04d","quantity":%d,"note":"to be shipped"},`, random.Intn(10000), random.Intn(9))
		}
		fmt.Fprintf(&out, "RMSG $G orders.%d.eu %d\r\n%s\r\n", random.Intn(1000), len(payload), payload)
	}
	return out.Bytes()[:length]
}

func noise(length int) []byte {
	out := make([]byte, length)
	rand.New(rand.NewSource(2)).Read(out)
	return out
}

func run(length int) []byte { return bytes.Repeat([]byte("z"), length) }

// Noise that repeats from far away, and then nearer and nearer.
func distant(length int) []byte {
	far := noise(length/2 + 1)
	out := append(append([]byte(nil), far...), far...)
	for at := length / 2; at+4096 < length; at += 8192 {
		copy(out[at+1000:at+4096], out[at-at/3:])
	}
	return out[:length]
}

// A level, and what nats-server or others may add.
type option struct {
	name    string
	options []s2.WriterOption
}

var levels = []option{
	{"uncompressed", []s2.WriterOption{s2.WriterUncompressed()}},
	{"fast", nil},
	{"better", []s2.WriterOption{s2.WriterBetterCompression()}},
	{"best", []s2.WriterOption{s2.WriterBestCompression()}},
}

var others = []option{
	{"blocks of 4 MiB", []s2.WriterOption{s2.WriterBlockSize(4 << 20)}},
	{"best in blocks of 4 MiB", []s2.WriterOption{s2.WriterBestCompression(), s2.WriterBlockSize(4 << 20)}},
	{"blocks of 4 KiB", []s2.WriterOption{s2.WriterBlockSize(4 << 10)}},
	{"padding", []s2.WriterOption{s2.WriterPadding(65536)}},
	{"an index", []s2.WriterOption{s2.WriterAddIndex()}},
	{"Snappy", []s2.WriterOption{s2.WriterSnappyCompat()}},
	{"better Snappy", []s2.WriterOption{s2.WriterSnappyCompat(), s2.WriterBetterCompression()}},
}

// Passes input through natsd's codec.
func ours(how string, input []byte) ([]byte, error) {
	command := exec.Command(os.Getenv("OURS"), how)
	var told bytes.Buffer
	command.Stdin, command.Stderr = bytes.NewReader(input), &told
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(told.String()))
	}
	return output, nil
}

// Encodes as nats-server does: each flush is a stream of its own.
func theirs(options []s2.WriterOption, input []byte, flush int) ([]byte, error) {
	var out bytes.Buffer
	writer := s2.NewWriter(nil, append([]s2.WriterOption{s2.WriterConcurrency(1)}, options...)...)
	for first := true; first || len(input) > 0; first = false {
		length := min(flush, len(input))
		writer.Reset(&out)
		if _, err := writer.Write(input[:length]); err != nil {
			return nil, err
		}
		if err := writer.Close(); err != nil {
			return nil, err
		}
		input = input[length:]
	}
	return out.Bytes(), nil
}

func same(decoded []byte, err error, input []byte) error {
	if err == nil && !bytes.Equal(decoded, input) {
		err = fmt.Errorf("%d bytes became %d others", len(input), len(decoded))
	}
	return err
}

func decodedByUs(options []s2.WriterOption, input []byte, flush int) error {
	stream, err := theirs(options, input, flush)
	if err != nil {
		return err
	}
	decoded, err := ours("decompress", stream)
	return same(decoded, err, input)
}

func encodedByUs(level string, input []byte) error {
	stream, err := ours(level, input)
	if err != nil {
		return err
	}
	decoded, err := io.ReadAll(s2.NewReader(bytes.NewReader(stream)))
	return same(decoded, err, input)
}

func main() {
	kinds := []struct {
		name string
		make func(int) []byte
	}{{"interest", interest}, {"messages", messages}, {"noise", noise}, {"a run", run}, {"distant copies", distant}}
	count := 0
	report := func(name string, err error) {
		count++
		if err != nil {
			fmt.Printf("not ok %d - %s: %v\n", count, name, err)
		} else {
			fmt.Printf("ok %d - %s\n", count, name)
		}
	}
	for _, kind := range kinds {
		for _, length := range []int{0, 1, 31, 32, 33, 100, 1000, 4097, 65535, 65536, 65537, 200_000, 1 << 20, 5_000_000} {
			input := kind.make(length)
			name := fmt.Sprintf("%d bytes of %s", length, kind.name)
			for _, level := range levels {
				report(name+" encoded by natsd: "+level.name, encodedByUs(level.name, input))
				report(name+" decoded by natsd: "+level.name, decodedByUs(level.options, input, len(input)))
			}
			if length > 30_000 {
				report(name+" in flushes", decodedByUs(nil, input, 10_007))
				for _, other := range others {
					report(name+" with "+other.name, decodedByUs(other.options, input, len(input)))
				}
			}
		}
	}
	// A damaged stream is refused wherever it is damaged.
	input := interest(2000)
	for _, level := range levels {
		stream, err := theirs(level.options, input, len(input))
		for at := 0; at < len(stream) && err == nil; at += 1 + len(stream)/40 {
			damaged := bytes.Clone(stream)
			damaged[at] ^= 0x10
			// A copy from elsewhere may be of the same bytes.
			if decoded, fault := ours("decompress", damaged); fault == nil && !bytes.Equal(decoded, input) {
				err = fmt.Errorf("byte %d is damaged, and %d bytes are decoded", at, len(decoded))
			}
		}
		report("damaged streams: "+level.name, err)
	}
	fmt.Printf("1..%d\n", count)
}
