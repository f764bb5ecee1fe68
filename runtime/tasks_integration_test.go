//go:build integration

package runtime_test

import (
	"strings"
	"testing"
)

func TestLookFromInside(t *testing.T) {
	r := newRoom(t)
	r.ensure(guest("look", "look"))
	text := r.waitLog("look", "looked")
	t.Log(strings.TrimSpace(text))
}
