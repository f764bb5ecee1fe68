//go:build integration

package integration

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"beamsandbox/integration/stage"
)

// trueNamespace is the containerd namespace, and the control group, of the
// empty container.
const trueNamespace = "bsbench"

// plainContainers starts containers as any client of containerd would.
type plainContainers struct {
	client  *containerd.Client
	image   containerd.Image
	options *runcoptions.Options
}

// containerTrue measures, n times, an empty static program in a container:
// from the making of the container and its file system to the news of its end.
func containerTrue(ctx context.Context, s *stage.Stage, n int) (all []time.Duration, err error) {
	ctx = namespaces.WithNamespace(ctx, trueNamespace)
	run := filepath.Join(s.RunDir, "containerd")
	client, err := containerd.New(filepath.Join(run, "containerd.sock"))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	p := plainContainers{client: client, options: &runcoptions.Options{
		BinaryName: filepath.Join(s.Bin, "runc"), Root: filepath.Join(run, "runc"),
	}}
	defer func() { err = errors.Join(err, p.clean(context.WithoutCancel(ctx))) }()
	if p.image, err = importTrue(ctx, client, s.Path()); err != nil {
		return nil, fmt.Errorf("make the empty image: %w", err)
	}
	for range n {
		took, err := p.once(ctx)
		if err != nil {
			return nil, fmt.Errorf("run the empty container: %w", err)
		}
		all = append(all, took)
	}
	return all, nil
}

func (p plainContainers) once(ctx context.Context) (took time.Duration, err error) {
	const id = "true"
	start := time.Now()
	c, err := p.client.NewContainer(ctx, id, containerd.WithNewSnapshot(id, p.image),
		containerd.WithRuntime("io.containerd.runc.v2", p.options),
		containerd.WithNewSpec(oci.WithImageConfig(p.image)))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Delete(ctx, containerd.WithSnapshotCleanup)) }()
	task, err := c.NewTask(ctx, cio.NullIO)
	if err != nil {
		return 0, err
	}
	defer func() {
		_, ended := task.Delete(ctx, containerd.WithProcessKill)
		err = errors.Join(err, ended)
	}()
	exit, err := task.Wait(ctx)
	if err != nil {
		return 0, err
	}
	if err := task.Start(ctx); err != nil {
		return 0, err
	}
	status := <-exit
	took = time.Since(start)
	if code := status.ExitCode(); code != 0 || status.Error() != nil {
		return 0, fmt.Errorf("it ended with status %d: %w", code, status.Error())
	}
	return took, nil
}

// clean takes the namespace away with all that is in it.
func (p plainContainers) clean(ctx context.Context) error {
	var errs []error
	if p.image != nil {
		errs = append(errs, p.client.ImageService().Delete(ctx, p.image.Name()))
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + trueNamespace)
	for _, g := range append(groups, "/sys/fs/cgroup/"+trueNamespace) {
		if err := os.Remove(g); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, err)...)
}

// importTrue builds the empty program and makes an image of one layer of it.
func importTrue(ctx context.Context, client *containerd.Client, dir string) (containerd.Image, error) {
	archive, err := trueArchive(ctx, dir)
	if err != nil {
		return nil, err
	}
	imported, err := client.Import(ctx, archive)
	if err != nil {
		return nil, err
	}
	if len(imported) != 1 {
		return nil, fmt.Errorf("%d images were imported, want one", len(imported))
	}
	image := containerd.NewImage(client, imported[0])
	return image, image.Unpack(ctx, "")
}

// trueArchive is the image as an archive that containerd imports.
func trueArchive(ctx context.Context, dir string) (io.Reader, error) {
	bin := filepath.Join(dir, "true")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "./testdata/true")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build it: %w: %s", err, out)
	}
	program, err := os.ReadFile(bin)
	if err != nil {
		return nil, err
	}
	var files bytes.Buffer
	t := tar.NewWriter(&files)
	if err := t.WriteHeader(&tar.Header{Name: "true", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	_, err = t.Write(program)
	if err := errors.Join(err, t.Close()); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(files.Bytes())), nil
	})
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	return packed(image)
}

// packed says how to start image and packs it.
func packed(image v1.Image) (io.Reader, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint = []string{"/true"}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, err
	}
	tag, err := name.NewTag("bench.local/true:latest")
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	return &archive, tarball.Write(tag, image, &archive)
}
