package wire

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"testing"
)

// captured reads the messages that real erl sent, kept as lines of hex.
func captured(t testing.TB, name string) [][]byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var messages [][]byte
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if bytes.HasPrefix(s.Bytes(), []byte("#")) {
			continue
		}
		m, err := hex.DecodeString(s.Text())
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
	return messages
}
