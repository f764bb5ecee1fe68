// Package images turns an app's source into an OCI image in the content
// store: fetch, verify, build in a sandbox, layer, import.
package images

import (
	"context"
	"io"
	"net"
	"time"

	"beamsandbox/reconcile/app"
)

// Recipe is what an image is made from. Two recipes with equal fields give
// the same image digest.
type Recipe struct {
	Name    app.Name
	Version string
	Source  app.Source
	// Code asks for code directories on the host's file system instead of a
	// guest image (embedded apps); OTP is then the release the host VM runs, "25".
	Code bool
	OTP  string
}

// Image is a built app.
type Image struct {
	Name      app.Name
	Ref       string  // name in containerd's image store; "" for code
	Digest    string  // manifest digest, "sha256:…"
	Revision  string  // what the source resolved to: a commit, a checksum
	Release   Release // how to boot it
	CodePaths []string
	Notes     []string // what its owner should know: `recon 2.5.1 is retired: security: "take 2.5.6"`
	Cached    bool     // nothing was fetched or built
	Built     time.Time
}

// Release is what direct start through erlexec needs to know; it is kept in
// the image's labels.
type Release struct {
	Name    string   // "pulse"
	Version string   // "1.0.0"
	ERTS    string   // "13.1.5"
	Root    string   // ROOTDIR inside the image, "/app"
	Apps    []string // applications of the release, "pulse-1.0.0"
	// Entry is how an image that holds no release of ours starts; the other
	// fields are then empty.
	Entry *Entry `json:",omitempty"`
}

// Entry is the command that an image brings (OCI image-spec, config.md).
type Entry struct {
	Args []string // entrypoint and command
	Env  []string // "KEY=value"
	Dir  string   // working directory
}

// Job is one command in a builder guest.
type Job struct {
	Name    string // unique while it runs
	Image   string // containerd image name of the builder
	Args    []string
	Env     []string
	Dir     string // working directory inside
	Mounts  []Mount
	Memory  int64 // bytes
	Pids    int64
	Timeout time.Duration
	// Proxy serves the connections that the job makes to 127.0.0.1:ProxyPort;
	// nothing else answers.
	ProxyPort uint16
	Proxy     func(ctx context.Context, l Listener) error
	Log       io.Writer
}

// Mount shows a folder of the host to the job.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Listener is what a Job's proxy accepts connections on.
type Listener = net.Listener

// Sandbox runs jobs behind a guest's walls; cmd/sandboxd makes one from the
// runtime and netns rooms.
type Sandbox interface {
	Run(ctx context.Context, job Job) (exit int, err error)
}
