package main

import (
	"context"
	"io"

	"beamsandbox/images"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// The daemon's answers about images (control.Images).

func (d *daemon) store() (*images.Store, error) {
	p, err := d.started()
	if err != nil {
		return nil, err
	}
	return p.images.ready()
}

// Images implements control.Images.
func (d *daemon) Images(ctx context.Context) ([]status.Image, error) {
	s, err := d.store()
	if err != nil {
		return nil, err
	}
	all, err := s.Catalog(ctx)
	out := make([]status.Image, 0, len(all))
	for _, l := range all {
		out = append(out, imageStatus(l))
	}
	return out, err
}

// InspectImage implements control.Images.
func (d *daemon) InspectImage(ctx context.Context, name string) (status.ImageDetail, error) {
	s, err := d.store()
	if err != nil {
		return status.ImageDetail{}, err
	}
	i, err := s.Inspect(ctx, name)
	if err != nil {
		return status.ImageDetail{}, err
	}
	out := status.ImageDetail{Image: imageStatus(i.Listed), ERTS: i.Release.ERTS, Applications: i.Release.Apps, SBOM: i.SBOM}
	if i.Release.Name != "" {
		out.Release = i.Release.Name + " " + i.Release.Version
	}
	if i.Release.Entry != nil {
		out.Entry = i.Release.Entry.Args
	}
	for _, l := range i.Layers {
		out.Layers = append(out.Layers, status.ImageLayer{Digest: l.Digest, Bytes: l.Bytes})
	}
	for _, d := range i.Resolved {
		out.Resolved = append(out.Resolved, status.Dependency{Kind: d.Kind, Name: d.Name, Version: d.Version,
			Repository: d.Repository, Checksum: d.Checksum, Retired: d.Retired})
	}
	return out, nil
}

// BuildImage implements control.Images.
func (d *daemon) BuildImage(ctx context.Context, name, version string, source io.Reader, log io.Writer) (status.Image, error) {
	s, err := d.store()
	if err != nil {
		return status.Image{}, err
	}
	l, err := s.BuildArchive(ctx, app.Name(name), version, source, log)
	return imageStatus(l), err
}

// BuildLog implements control.Builds.
func (d *daemon) BuildLog(ctx context.Context, name string, follow bool, w io.Writer) error {
	s, err := d.store()
	if err != nil {
		return err
	}
	return s.BuildLog(ctx, app.Name(name), follow, w)
}

// BuildLogs implements control.Builds.
func (d *daemon) BuildLogs(ctx context.Context, w io.Writer) error {
	s, err := d.store()
	if err != nil {
		return err
	}
	return s.BuildLogs(ctx, w)
}

// PullImage implements control.Images.
func (d *daemon) PullImage(ctx context.Context, from string) (status.Image, error) {
	s, err := d.store()
	if err != nil {
		return status.Image{}, err
	}
	l, err := s.Pull(ctx, from)
	return imageStatus(l), err
}

// PushImage implements control.Images.
func (d *daemon) PushImage(ctx context.Context, name, to string) error {
	s, err := d.store()
	if err != nil {
		return err
	}
	return s.Push(ctx, name, to)
}

// ImportImage implements control.Images.
func (d *daemon) ImportImage(ctx context.Context, archive io.Reader) (status.Image, error) {
	s, err := d.store()
	if err != nil {
		return status.Image{}, err
	}
	l, err := s.Import(ctx, archive)
	return imageStatus(l), err
}

// ExportImage implements control.Images.
func (d *daemon) ExportImage(ctx context.Context, name string, w io.Writer) error {
	s, err := d.store()
	if err != nil {
		return err
	}
	return s.Export(ctx, name, w)
}

// PruneImages implements control.Images.
func (d *daemon) PruneImages(ctx context.Context) (status.Freed, error) {
	s, err := d.store()
	if err != nil {
		return status.Freed{}, err
	}
	f, err := s.Prune(ctx)
	return status.Freed{Images: f.Images, Bytes: f.Bytes}, err
}

func imageStatus(l images.Listed) status.Image {
	return status.Image{
		App: l.App, Ref: l.Ref, Kind: string(l.Kind), Running: l.Running, Digest: l.Digest,
		Revision: l.Revision, Source: l.Source, Bytes: l.Bytes, Built: l.Built,
	}
}
