package images

import (
	"fmt"
	"testing"

	core "github.com/containerd/containerd/v2/core/images"
)

func TestExpired(t *testing.T) {
	var all []core.Image
	for n := range keptRemoved + 3 {
		all = append(all,
			core.Image{Name: fmt.Sprintf("used%d", n), Labels: map[string]string{labelApp: "x"}},
			core.Image{Name: fmt.Sprintf("removed%d", n), Labels: map[string]string{labelApp: "y", labelRemoved: "true"}},
			core.Image{Name: fmt.Sprintf("builder%d", n)})
	}
	got := expired(all)
	if len(got) != 3 || got[0].Name != fmt.Sprintf("removed%d", keptRemoved) {
		t.Errorf("expired = %v, want the three oldest of removed apps", got)
	}
	if got := expired(all[:9]); len(got) != 0 {
		t.Errorf("expired of a few = %v", got)
	}
}
