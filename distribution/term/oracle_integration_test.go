//go:build integration

package term

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// oracle runs testdata/oracle.escript and gives the lines that it writes.
func oracle(t *testing.T, args ...string) []string {
	t.Helper()
	script, err := filepath.Abs("testdata/oracle.escript")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "escript", append([]string{script}, args...)...)
	cmd.Dir = t.TempDir()
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("escript: %v\n%s%s", err, complaints.String(), out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func fields(t *testing.T, line string) [][]byte {
	t.Helper()
	var all [][]byte
	for _, word := range strings.Fields(line) {
		b, err := base64.StdEncoding.DecodeString(word)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// Both encodings of what OTP writes are one term here, and Encode writes the
// bytes that term_to_binary wrote.
func TestReadsWhatOTPWrites(t *testing.T) {
	const count = 2000
	lines := oracle(t, "write", strconv.Itoa(count))
	if len(lines) != count {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines {
		f := fields(t, line)
		var want Term
		for j, b := range f[:3] {
			got, rest, err := Limits{Inflated: 1 << 20}.Decode(b)
			if err != nil || len(rest) > 0 {
				t.Fatalf("term %d, encoding %d: %v", i, j, err)
			}
			if j > 0 && !Equal(got, want) {
				t.Errorf("term %d, encoding %d: got %s, want %s", i, j, Format(got), Format(want))
			}
			want = got
		}
		if again, err := Encode(want); err != nil || !bytes.Equal(again, f[1]) {
			t.Errorf("term %d: %s written as %x, by OTP as %x (%v)", i, Format(want), again, f[1], err)
		}
		for _, text := range f[3:] {
			got, err := Parse(text)
			if err != nil || len(got) != 1 {
				t.Errorf("term %d: %v\n%s", i, err, text)
			} else if !Equal(got[0], want) {
				t.Errorf("term %d: %s read as %s, want %s", i, text, Format(got[0]), Format(want))
			}
		}
	}
}

// OTP reads what is written here, as the same term in every form.
func TestOTPReadsWhatIsWritten(t *testing.T) {
	const count = 1000
	r := rand.New(rand.NewPCG(5, 5))
	var lines bytes.Buffer
	for range count {
		term := makeTerm(r, 5, true)
		encoded, err := Encode(term)
		if err != nil {
			t.Fatal(err)
		}
		canonical, err := Canonical(shuffled(r, term))
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, b := range [][]byte{encoded, canonical, WriteConsult(term)} {
			words = append(words, base64.StdEncoding.EncodeToString(b))
		}
		lines.WriteString(strings.Join(words, " ") + "\n")
	}
	file := filepath.Join(t.TempDir(), "terms")
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := oracle(t, "check", file); got[0] != "checked "+strconv.Itoa(count) {
		t.Errorf("got %q", got)
	}
}

func TestComparesAsOTPDoes(t *testing.T) {
	for _, line := range oracle(t, "compare") {
		words := strings.Fields(line)
		f := fields(t, strings.Join(words[:2], " "))
		a, _, errA := Decode(f[0])
		b, _, errB := Decode(f[1])
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if got := strconv.Itoa(Compare(a, b)); got != words[2] {
			t.Errorf("Compare(%s, %s) = %s, OTP says %s", Format(a), Format(b), got, words[2])
		}
		if got := Equal(a, b); got != (words[3] == "1") {
			t.Errorf("Equal(%s, %s) = %v, OTP says %s", Format(a), Format(b), got, words[3])
		}
	}
}
