// Package runtime runs apps: guests as containerd tasks, embedded apps in
// the host VM.
package runtime

import (
	"net/netip"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
)

// Config is one guest to run.
type Config struct {
	Name       app.Name
	Digest     string // app.Spec.Digest, kept as a label
	Image      string // containerd image name
	Release    Release
	NetNS      string // path of the namespace
	Hostname   string // the machine's short name, as the guest sees its own
	Node       string // "pulse@myhost"
	Guest      netip.Addr
	DistPort   uint16
	VM         app.VMConfig
	Env        map[string]term.Term
	Cookie     app.Secret
	TLS        *TLS // nil: distribution is plain
	Privileges policy.Privileges
	Labels     map[string]string // kept on the container and returned by List
}

// TLS is what a guest proves in distribution, and whom it believes, as PEM.
type TLS struct {
	CA   string
	Node app.Secret // its certificate and key
}

// Release says how to boot the image; the same shape as images.Release.
type Release struct {
	Name, Version, ERTS, Root string
	// Entry is how an image starts that holds no release of ours; the other
	// fields are then empty.
	Entry *Entry `json:",omitempty"`
}

// Entry is the command that an image brings (OCI image-spec, config.md).
type Entry struct {
	Args []string // entrypoint and command
	Env  []string // "KEY=value"
	Dir  string   // working directory
}

// State is where a task is in its life.
type State string

// The states of a task.
const (
	Running State = "running"
	Stopped State = "stopped" // exited, not yet removed
)

// Task is one guest as containerd and the kernel know it.
type Task struct {
	Name      app.Name
	Digest    string
	State     State
	Pid       uint32
	Started   time.Time
	Exit      *Exit // set when State is Stopped
	LogPath   string
	CgroupDir string
	Labels    map[string]string
}

// Exit says how a guest ended.
type Exit struct {
	Status    uint32 // as waitpid gives it, 137 for SIGKILL
	OOMKilled bool   // by the cgroup's counter, never by the status alone
	At        time.Time
}

// Event is the end of a task.
type Event struct {
	Name app.Name
	Pid  uint32
	Exit Exit
}

// EmbeddedConfig is one app to run inside the host VM.
type EmbeddedConfig struct {
	Name      app.Name
	Version   string
	Digest    string
	CodePaths []string
	Env       map[string]term.Term
}

// EmbeddedApp is one app that was loaded into the host VM.
type EmbeddedApp struct {
	Name      app.Name
	Version   string
	Digest    string
	Running   bool
	CodePaths []string
}
