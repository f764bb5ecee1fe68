package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func (k *keeper) BuildLog(_ context.Context, app string, follow bool, w io.Writer) error {
	if app != "pulse" {
		return errors.New("it was never built here")
	}
	text := "fetch | kept\n"
	if follow {
		text += "pack  | added\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

func (k *keeper) BuildLogs(ctx context.Context, w io.Writer) error {
	if k.heard != nil {
		<-k.heard // the client stands before anything is said
	}
	if _, err := io.WriteString(w, "pulse fetch | one\n"); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// once closes a channel with the first thing written to it.
type once struct {
	text   bytes.Buffer
	closes chan struct{}
}

func (o *once) Write(p []byte) (int, error) {
	if o.closes != nil {
		close(o.closes)
		o.closes = nil
	}
	return o.text.Write(p)
}

// What a build writes is with the client before the build has ended.
func TestBuildImageStreams(t *testing.T) {
	for app, want := range map[string]string{"a": "", "broken": "it does not compile"} {
		k := &keeper{heard: make(chan struct{})}
		c := serve(t, k)
		log := &once{closes: k.heard}
		i, err := c.BuildImage(t.Context(), app, "1", strings.NewReader("tar"), log)
		if want == "" && (err != nil || i.App != "a") || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("BuildImage(%s) = %v, %v, want %q", app, i, err, want)
		}
		if got := log.text.String(); got != "fetch | \x1b[2Jone\n" {
			t.Errorf("the log of %s is %q", app, got)
		}
	}
	c := serve(t, &keeper{})
	if _, err := c.BuildImage(t.Context(), "early", "1", strings.NewReader("tar"), io.Discard); err == nil || err.Error() != "not the name of an app" {
		t.Errorf("BuildImage refused: %v, want the daemon's own words", err)
	}
}

func TestBuildLogs(t *testing.T) {
	c := serve(t, &keeper{})
	for follow, want := range map[bool]string{false: "fetch | kept\n", true: "fetch | kept\npack  | added\n"} {
		var out bytes.Buffer
		if err := c.BuildLog(t.Context(), "pulse", follow, &out); err != nil || out.String() != want {
			t.Errorf("BuildLog(follow %v) = %q, %v", follow, out.String(), err)
		}
	}
	if err := c.BuildLog(t.Context(), "none", false, io.Discard); err == nil || err.Error() != "it was never built here" {
		t.Errorf("BuildLog(none): %v, want the daemon's own words", err)
	}
	k := &keeper{heard: make(chan struct{})}
	c = serve(t, k)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := make(chan struct{})
	go func() { <-said; cancel() }()
	out := &once{closes: said}
	if err := c.BuildLogs(ctx, func() { close(k.heard) }, out); err != nil || out.text.String() != "pulse fetch | one\n" {
		t.Errorf("BuildLogs = %q, %v", out.text.String(), err)
	}
}
