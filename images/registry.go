package images

import (
	"context"
	"errors"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	core "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ociHosts talks to OCI registries (distribution-spec): over https, and
// over http with the machine itself only.
type ociHosts struct {
	// auth gives the credentials for a host, "" for none; nil: none at all.
	auth func(host string) (user, secret string, err error)
}

func (r ociHosts) resolver() remotes.Resolver {
	var opts []docker.AuthorizerOpt
	if r.auth != nil {
		opts = append(opts, docker.WithAuthCreds(r.auth))
	}
	return docker.NewResolver(docker.ResolverOptions{Hosts: docker.ConfigureDefaultRegistries(
		docker.WithPlainHTTP(docker.MatchLocalhost), docker.WithAuthorizer(docker.NewDockerAuthorizer(opts...)))})
}

// pull fetches what name ("registry.example/app:1") had the digest of, for
// this machine's platform, into the content store. The caller holds a lease.
func (r ociHosts) pull(ctx context.Context, d depot, name, digest string) (ocispec.Descriptor, error) {
	ref := name + "@" + digest
	i, err := d.client.Fetch(ctx, ref, containerd.WithResolver(r.resolver()),
		containerd.WithPlatformMatcher(platforms.Only(platforms.DefaultSpec())),
		containerd.WithImageHandlerWrapper(bounded))
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("pull %s: %w", ref, err)
	}
	// The lease holds its parts; its name is for those who call it so.
	if err := d.client.ImageService().Delete(ctx, i.Name); err != nil && !errdefs.IsNotFound(err) {
		return ocispec.Descriptor{}, fmt.Errorf("pull %s: %w", ref, err)
	}
	return i.Target, nil
}

// bounded refuses an image before parts that are too large are fetched.
func bounded(next core.Handler) core.Handler {
	return core.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if !core.IsLayerType(desc.MediaType) && desc.Size > maxConfigBlob {
			return nil, fmt.Errorf("%w: %s has %d bytes, at most %d are read", ErrImage, desc.MediaType, desc.Size, maxConfigBlob)
		}
		children, err := next.Handle(ctx, desc)
		var total int64
		for _, c := range children {
			if c.Size < 0 || total+c.Size > maxImage {
				return nil, errors.Join(err, fmt.Errorf("%w: it is larger than %d MB", ErrImage, maxImage>>20))
			}
			total += c.Size
		}
		return children, err
	})
}

// push sends an image to name, a registry's reference with a tag.
func (r ociHosts) push(ctx context.Context, d depot, name string, target ocispec.Descriptor) error {
	if err := d.client.Push(d.in(ctx), name, target, containerd.WithResolver(r.resolver())); err != nil {
		return fmt.Errorf("push %s: %w", name, err)
	}
	return nil
}
