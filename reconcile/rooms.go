package reconcile

import (
	"cmp"
	"context"
	"iter"
	"net/netip"
	"os"
	"time"

	"beamsandbox/distribution"
	"beamsandbox/distribution/term"
	"beamsandbox/images"
	"beamsandbox/netns"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/git"
	"beamsandbox/reconcile/telemetry"
	"beamsandbox/runtime"
)

// A Room keeps one kind of thing as asked. Ensure makes it so and changes
// nothing the second time; Remove of what is not there succeeds; List reads
// what is really there.
type Room[C, S any] interface {
	Ensure(ctx context.Context, c C) (S, error)
	Remove(ctx context.Context, name app.Name) error
	List(ctx context.Context) ([]S, error)
}

// Rooms are the parts of the world that a deployment walks through.
type Rooms struct {
	Images   Room[images.Recipe, images.Image]
	Networks Networks
	Nodes    Nodes
	Tasks    Tasks
	Embedded Room[runtime.EmbeddedConfig, runtime.EmbeddedApp]
}

// Networks is the netns room.
type Networks interface {
	Room[netns.Config, netns.Network]
	// Listen opens a listening TCP socket inside name's namespace.
	Listen(ctx context.Context, name app.Name, addr netip.AddrPort) (*os.File, error)
	Drops(ctx context.Context, name app.Name) ([]netns.Drops, error)
}

// Nodes is the distribution room: the gateway's members, and the calls that
// it makes to guests for us.
type Nodes interface {
	Room[distribution.Member, distribution.Node]
	Watch(ctx context.Context) iter.Seq2[distribution.Event, error]
	// Lift lets a quarantined guest in again, member or not.
	Lift(ctx context.Context, name app.Name) error
	// Call is rpc:call in the guest, made by the gateway's hidden node.
	Call(ctx context.Context, name app.Name, module, function string, args ...term.Term) (term.Term, error)
	// ProbeHTTP and ProbeTCP connect to the guest's port from the gateway.
	ProbeHTTP(ctx context.Context, name app.Name, port uint16, path string) (status int, err error)
	ProbeTCP(ctx context.Context, name app.Name, port uint16) error
	// Rekey changes cookies of a member; its link stays.
	Rekey(ctx context.Context, name app.Name, k distribution.Keys) error
}

// Tasks is the room of running guests.
type Tasks interface {
	Room[runtime.Config, runtime.Task]
	Watch(ctx context.Context) iter.Seq2[runtime.Event, error]
	// Relabel replaces labels of a running task (reconfigure in place).
	Relabel(ctx context.Context, name app.Name, digest string, labels map[string]string) error
	Memory(ctx context.Context, name app.Name) (uint64, error) // bytes in use
	// SetCookie replaces the cookie's file in a guest, if there is a guest.
	SetCookie(ctx context.Context, name app.Name, cookie app.Secret) error
	// SetTLS replaces a guest's certificate, if there is a guest with one.
	SetTLS(ctx context.Context, name app.Name, given runtime.TLS) (changed bool, err error)
}

// HostVM is the host BEAM node, asked over our own hidden node.
type HostVM interface {
	Call(ctx context.Context, module, function string, args ...term.Term) (term.Term, error)
	// Watch tells when the connection to the host VM comes (true) and goes.
	Watch(ctx context.Context) iter.Seq[bool]
}

// Repo hands out the newest commit of one branch.
type Repo interface {
	Fetch(ctx context.Context) (git.Commit, error)
}

// Cookies keeps the cluster's cookie and one for every guest. Where a name is
// asked for, "" is the cluster.
type Cookies interface {
	Cluster() (app.Secret, error)
	Guest(name app.Name) (app.Secret, error) // made when missing
	Forget(name app.Name) error

	// Begin makes and keeps a cookie that is to replace another one; Next is
	// that cookie until Commit makes it the only one, or Abandon drops it.
	Begin(name app.Name) (app.Secret, error)
	Next(name app.Name) (app.Secret, error) // empty: no rotation is under way
	Commit(name app.Name) error
	Abandon(name app.Name) error
	Pending() ([]app.Name, error) // those with a Next
	// Outside: the cluster's cookie is also written where only the operator
	// can change it.
	Outside() bool
}

// Config is what a Reconciler is told once. Zero durations and counts mean the
// defaults.
type Config struct {
	HostNode   string // 'demo_web@myhost'
	Hostname   string // "myhost", the short name of the machine
	NodePrefix string
	AppsDir    string
	Interval   time.Duration // between two looks at the repository; 1 minute
	StopGrace  time.Duration // how long a guest may take to stop by itself; 10 seconds

	RepoURL    string // for status only, without a password
	Branch     string // for status only
	Containerd string // version, for status only
	Root       string // folder of the history file; "" keeps none
	AllowEmpty bool   // a commit without the apps folder removes every app
	Builds     int    // builds at once; 4
	Starts     int    // guests being made at once; 16
	TLS        TLS

	// Observe is told what happens, from any goroutine; it must not wait. Nil
	// tells nobody.
	Observe func(telemetry.Event)
}

func (c Config) withDefaults() Config {
	c.AppsDir = cmp.Or(c.AppsDir, "apps")
	c.Interval = cmp.Or(c.Interval, time.Minute)
	c.StopGrace = cmp.Or(c.StopGrace, 10*time.Second)
	c.Builds = cmp.Or(c.Builds, 4)
	c.Starts = cmp.Or(c.Starts, 16)
	return c
}
