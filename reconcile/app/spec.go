// Package app defines Spec, what one app.config asks for, and how a tree of
// them is loaded, ordered and digested.
//
// The package is pure: no I/O beyond the fs.FS it is handed, no clock, and
// nothing but the standard library and a YAML reader. It is the one home of
// the domain types.
package app

import (
	"time"

	"beamsandbox/distribution/term"
)

// Name is the name of an OTP application: a lower-case letter followed by
// letters, digits and underscores, at most 64 bytes.
type Name string

// Isolation says where an app runs.
type Isolation string

// The two places an app can run in.
const (
	Embedded Isolation = "embedded" // inside the host VM (the default)
	VM       Isolation = "vm"       // a guest in walls of its own
)

// Spec is what one app.config asks for, checked and with defaults applied.
type Spec struct {
	Name        Name
	Version     string
	Description string
	Icon        *Icon
	Source      Source
	Isolation   Isolation
	VM          VMConfig
	Env         map[string]term.Term // application environment, by key
	Health      *Health              // nil: ping and which_applications only
	DependsOn   []Name
	Dir         string // folder of the tree the spec came from, "pulse"
}

// Icon is how a dashboard shows the app.
type Icon struct {
	Type  string // url, base64 or identicon
	Value string // the address or the encoded picture; "" for identicon
	MIME  string // media type, "image/png"; "" when it was not given
}

// SourceType names a way to fetch an app.
type SourceType string

// The source types of the specification, and path for sandboxctl run.
const (
	SourceHex     SourceType = "hex"
	SourceGit     SourceType = "git"
	SourceRelease SourceType = "release"
	SourceMesh    SourceType = "mesh"
	SourceImage   SourceType = "image"
	SourcePath    SourceType = "path" // a local folder; never accepted from a git repository
)

// Source says where an app's code comes from.
type Source struct {
	Type   SourceType
	URL    string // git, release, image: address; path: the folder
	Ref    string // git: branch, tag or commit, "HEAD" when none is given; hex: package version
	SHA256 string // release: lower-case hex digest of the tarball
	MCID   string // mesh: content identifier
	Name   string // hex: package name, when it is not the app's
}

// VMConfig is the vm_config of an isolated app; zero values mean unlimited
// memory, all CPUs of the host and the host's configured node prefix.
type VMConfig struct {
	MemoryLimit    int     // MB (2^20 bytes), 0: unlimited
	SchedulerLimit int     // CPUs, 0: as many as the host has
	NodePrefix     *string // nil: the configured default
	ExtraArgs      []string
	CodeLoading    CodeLoading // "": the runtime's default, interactive
}

// CodeLoading says when a guest's modules are loaded (code(3), "mode").
type CodeLoading string

// The two modes of code loading.
const (
	LoadInteractive CodeLoading = "interactive" // each on first use
	LoadEmbedded    CodeLoading = "embedded"    // all of them at the start
)

// HealthType names a kind of health check.
type HealthType string

// The health checks of the specification.
const (
	HealthHTTP   HealthType = "http"
	HealthTCP    HealthType = "tcp"
	HealthCustom HealthType = "custom"
)

// Health is how a running app is asked whether it is well.
type Health struct {
	Type     HealthType
	Port     uint16
	Path     string // http only, "/health"
	Module   string // custom only: Module:health_check/0
	Interval time.Duration
	Timeout  time.Duration
}
