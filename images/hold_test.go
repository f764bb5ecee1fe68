package images

import (
	"testing"

	core "github.com/containerd/containerd/v2/core/images"
	"github.com/google/go-cmp/cmp"
)

func TestWanted(t *testing.T) {
	abc := []core.Image{{Name: "c"}, {Name: "b"}, {Name: "a"}} // the newest first
	for name, tt := range map[string]struct {
		all     []core.Image
		running []string
		have    []hold
		want    []hold
	}{
		"nothing":           {},
		"first":             {all: abc[2:], want: []hold{{heldCurrent, "a"}}},
		"none was well":     {all: abc, have: []hold{{heldPrevious, "a"}, {heldCurrent, "b"}}, want: []hold{{heldCurrent, "c"}, {heldPrevious, "b"}}},
		"the oldest was":    {all: abc, have: []hold{{heldGood, "a"}}, want: []hold{{heldCurrent, "c"}, {heldGood, "a"}}},
		"two were":          {all: abc, have: []hold{{heldGood, "b"}, {heldGood, "a"}}, want: []hold{{heldCurrent, "c"}, {heldGood, "b"}}},
		"the newest is too": {all: abc, have: []hold{{heldGood, "c"}, {heldGood, "a"}}, want: []hold{{heldCurrent, "c"}, {heldGood, "c"}, {heldGood, "a"}}},
		"one that is gone":  {all: abc, have: []hold{{heldGood, "x"}}, want: []hold{{heldCurrent, "c"}, {heldPrevious, "b"}}},
		"the oldest runs":   {all: abc, running: []string{"a"}, want: []hold{{heldCurrent, "c"}, {heldRunning, "a"}, {heldPrevious, "b"}}},
	} {
		t.Run(name, func(t *testing.T) {
			running := map[string]bool{}
			for _, i := range tt.running {
				running[i] = true
			}
			if diff := cmp.Diff(tt.want, wanted(tt.all, running, tt.have), cmp.AllowUnexported(hold{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
