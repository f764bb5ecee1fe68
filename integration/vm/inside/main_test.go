package main

import (
	"os"
	"strings"
	"testing"
)

// TestUnitIsDocumented: operators copy the unit that the virtual machine tries.
func TestUnitIsDocumented(t *testing.T) {
	unit, err := os.ReadFile("../sandboxd.service")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("../../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(docs), "```ini\n"+string(unit)+"```\n") {
		t.Error("docs/operating.md does not show integration/vm/sandboxd.service as it is")
	}
}
