//go:build integration

package images_test

import (
	"testing"
	"time"

	"beamsandbox/images"
	"beamsandbox/reconcile/app"
)

func TestBuildPulse(t *testing.T) {
	g, cfg := rooms(t)
	s, err := images.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := images.Recipe{Name: "pulse", Version: "1.0.0", Source: app.Source{Type: app.SourcePath, URL: "../examples/apps/pulse"}}
	for range 3 {
		start := time.Now()
		i, err := s.Ensure(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%v %+v jobs=%d", time.Since(start), i, g.jobs)
	}
}
