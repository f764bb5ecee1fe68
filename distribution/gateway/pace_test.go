package gateway

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPace(t *testing.T) {
	start := time.Unix(1000, 0)
	p := pace{every: time.Second, burst: 3}
	var got []time.Duration
	for _, at := range []time.Duration{0, 0, 0, 0, 0, 0, 10 * time.Second, 10 * time.Second} {
		got = append(got, p.next(start.Add(at), 2*time.Second))
	}
	want := []time.Duration{0, 0, 0, time.Second, 2 * time.Second, -1, 0, 0}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("waits (-want +got):\n%s", d)
	}
}
