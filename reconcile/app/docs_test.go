package app

import (
	"os"
	"strings"
	"testing"
)

const reference = "../../docs/app-config.md"

// TestReference holds the operator's reference: its examples load and are the
// same app, and the errors that it shows are ours to the letter.
func TestReference(t *testing.T) {
	b, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	erlang := block(t, doc, "```erlang\n")
	a, err := Parse([]byte(erlang), Erlang, "app.config")
	if err != nil {
		t.Fatal(err)
	}
	y, err := Parse([]byte(block(t, doc, "```yaml\n")), YAML, "app.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if a.Digest() != y.Digest() {
		t.Errorf("the examples differ: %+v and %+v", a, y)
	}
	wrong := strings.NewReplacer("memory_limit => 256", `memory_limit => <<"512">>`, "scheduler_limit", "scheduler_limt").Replace(erlang)
	_, err = Parse([]byte(wrong), Erlang, "apps/pulse/app.config")
	if err == nil || !strings.Contains(doc, "```\n"+err.Error()+"\n```") {
		t.Errorf("the reference shows another error than\n%v", err)
	}
}

func block(t *testing.T, doc, start string) string {
	t.Helper()
	_, rest, ok := strings.Cut(doc, start)
	text, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatalf("%s has no block %q", reference, start)
	}
	return text
}
