package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/reconcile/status"
)

// keeper is a daemon that keeps one image.
type keeper struct {
	daemon
	pushed []string
	heard  chan struct{}
}

var detail = status.ImageDetail{Image: pulse, Release: "pulse 1", Resolved: []status.Dependency{
	{Kind: "hex", Name: "recon", Version: "2.5.6", Repository: "hexpm", Checksum: "ab", Retired: "renamed"}}}

var pulse = status.Image{App: "pulse", Ref: "r", Digest: "sha256:1", Bytes: 7}

func (k *keeper) Images(context.Context) ([]status.Image, error) { return []status.Image{pulse}, nil }

func (k *keeper) InspectImage(_ context.Context, name string) (status.ImageDetail, error) {
	if name != "pulse" {
		return status.ImageDetail{}, errors.New("no such image: " + name)
	}
	return detail, nil
}

func (k *keeper) BuildImage(_ context.Context, app, version string, source io.Reader, log io.Writer) (status.Image, error) {
	if app == "early" {
		return status.Image{}, errors.New("not the name of an app")
	}
	if _, err := io.WriteString(log, "fetch | \x1b[2Jone\n"); err != nil {
		return status.Image{}, err
	}
	if k.heard != nil {
		<-k.heard // the client has read what the build wrote before it ended
	}
	if app == "broken" {
		return status.Image{}, errors.New("it does not compile")
	}
	text, err := io.ReadAll(source)
	return status.Image{App: app, Ref: version, Source: string(text)}, err
}

func (k *keeper) PullImage(_ context.Context, from string) (status.Image, error) {
	return status.Image{Source: from}, nil
}

func (k *keeper) PushImage(_ context.Context, name, to string) error {
	k.pushed = append(k.pushed, name, to)
	return nil
}

func (k *keeper) ImportImage(_ context.Context, archive io.Reader) (status.Image, error) {
	text, err := io.ReadAll(archive)
	return status.Image{Source: string(text)}, err
}

func (k *keeper) ExportImage(_ context.Context, name string, w io.Writer) error {
	if name == "none" {
		return errors.New("no such image")
	}
	if _, err := io.WriteString(w, "half"); err != nil || name == "cut" {
		return errors.New("the disk is gone")
	}
	return nil
}

func (k *keeper) PruneImages(context.Context) (status.Freed, error) {
	return status.Freed{Images: 2, Bytes: 9}, nil
}

func TestImages(t *testing.T) {
	k := &keeper{}
	c := serve(t, k)
	ctx := t.Context()
	if all, err := c.Images(ctx); err != nil || !cmp.Equal(all, []status.Image{pulse}) {
		t.Errorf("Images() = %v, %v", all, err)
	}
	if d, err := c.InspectImage(ctx, "pulse"); err != nil || !cmp.Equal(d, detail) {
		t.Errorf("InspectImage(pulse) = %v, %v", d, err)
	}
	if _, err := c.InspectImage(ctx, "a&b=c"); err == nil || err.Error() != "no such image: a&b=c" {
		t.Errorf("InspectImage of none: %v, want the daemon's own words", err)
	}
	if i, err := c.BuildImage(ctx, "a", "1", strings.NewReader("tar"), io.Discard); err != nil || i.App != "a" || i.Ref != "1" || i.Source != "tar" {
		t.Errorf("BuildImage = %v, %v", i, err)
	}
	if i, err := c.PullImage(ctx, "h/x@sha256:1"); err != nil || i.Source != "h/x@sha256:1" {
		t.Errorf("PullImage = %v, %v", i, err)
	}
	if err := c.PushImage(ctx, "pulse", "h/x:1"); err != nil || !cmp.Equal(k.pushed, []string{"pulse", "h/x:1"}) {
		t.Errorf("PushImage: %v, %v", k.pushed, err)
	}
	if i, err := c.ImportImage(ctx, strings.NewReader("tar")); err != nil || i.Source != "tar" {
		t.Errorf("ImportImage = %v, %v", i, err)
	}
	if f, err := c.PruneImages(ctx); err != nil || f.Images != 2 {
		t.Errorf("PruneImages = %v, %v", f, err)
	}
}

func TestExportImage(t *testing.T) {
	c := serve(t, &keeper{})
	for name, want := range map[string]string{"pulse": "", "none": "no such image", "cut": "cut short"} {
		var out bytes.Buffer
		err := c.ExportImage(t.Context(), name, &out)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("ExportImage(%s): %v, want %q", name, err, want)
		}
		if want == "" && out.String() != "half" {
			t.Errorf("ExportImage(%s) wrote %q", name, out.String())
		}
	}
}
