// Package status is what the daemon reports: one snapshot of the host and of
// every app, as plain data. It is the JSON of the control socket.
package status

import "time"

// Phase is where an app is in its life.
type Phase string

// The phases of an app.
const (
	Pending     Phase = "pending"     // waits for its dependencies or for the host VM
	Building    Phase = "building"    // source is fetched or built
	Starting    Phase = "starting"    // network, gateway and task are made
	Joining     Phase = "joining"     // the BEAM runs and is not connected yet
	Verifying   Phase = "verifying"   // connected; the application is not confirmed yet
	Healthy     Phase = "healthy"     // runs and passes its checks
	Unhealthy   Phase = "unhealthy"   // runs and fails a check
	Backoff     Phase = "backoff"     // ended; waits to be started again
	Stopping    Phase = "stopping"    // is being removed
	Failed      Phase = "failed"      // this revision cannot run; waits for the next commit or retry
	Broken      Phase = "broken"      // its app.config cannot be read
	Quarantined Phase = "quarantined" // stopped for what it sent
)

// Phases lists every phase.
func Phases() []Phase {
	return []Phase{Pending, Building, Starting, Joining, Verifying, Healthy, Unhealthy, Backoff, Stopping, Failed, Broken, Quarantined}
}

// Host is everything the daemon knows, at one moment.
type Host struct {
	HostNode   string    `json:"host_node"`
	HostUp     bool      `json:"host_up"`
	HostError  string    `json:"host_error,omitempty"` // why it is not
	HostOTP    string    `json:"host_otp,omitempty"`
	Macula     *Macula   `json:"macula,omitempty"` // nil: the host VM has no module macula
	Repo       string    `json:"repo"`
	Branch     string    `json:"branch,omitempty"`
	Commit     string    `json:"commit,omitempty"`
	Fetched    time.Time `json:"fetched,omitzero"`
	Error      string    `json:"error,omitempty"` // why the last pass stopped short
	Containerd string    `json:"containerd,omitempty"`
	Gateway    bool      `json:"gateway_up"`
	Settled    bool      `json:"settled"` // the last pass found nothing left to do
	Apps       []App     `json:"apps"`
	At         time.Time `json:"at"`
}

// App is one app of the repository, or one that still runs without it.
type App struct {
	Name      string            `json:"name"`
	Version   string            `json:"version,omitempty"`
	Isolation string            `json:"isolation,omitempty"`
	Phase     Phase             `json:"phase"`
	Reason    string            `json:"reason,omitempty"`   // "oom_killed", "exit_status_1", "build_failed", …
	Detail    string            `json:"detail,omitempty"`   // one line for a person
	Problems  []string          `json:"problems,omitempty"` // every line that is wrong in its app.config
	Node      string            `json:"node,omitempty"`
	Pid       uint32            `json:"pid,omitempty"`
	Address   string            `json:"address,omitempty"`
	Image     string            `json:"image,omitempty"`
	Revision  string            `json:"revision,omitempty"`
	Digest    string            `json:"digest,omitempty"`
	Notes     []string          `json:"notes,omitempty"` // what to know of what runs: a package in it that is retired
	Linked    bool              `json:"linked"`
	TLS       bool              `json:"tls,omitempty"` // the guest speaks TLS
	Started   time.Time         `json:"started,omitzero"`
	Restarts  int               `json:"restarts"`
	NextRetry time.Time         `json:"next_retry,omitzero"`
	Health    string            `json:"health,omitempty"`   // last answer of the health check
	Drops     map[string]uint64 `json:"drops,omitempty"`    // packets the firewall refused, by rule
	Refused   map[string]uint64 `json:"refused,omitempty"`  // messages the gateway refused, by rule
	Messages  string            `json:"messages,omitempty"` // "audit" or "trusted", when refused messages pass
	Refusals  []Refusal         `json:"refusals,omitempty"` // the last messages refused, oldest first

	Quarantine *Quarantine `json:"quarantine,omitempty"` // nil: it is not quarantined

	Memory    uint64   `json:"memory_bytes,omitempty"`
	DependsOn []string `json:"depends_on,omitempty"`
	Stages    []Stage  `json:"stages,omitempty"` // of the last deployment, in order

	Components []Component `json:"components,omitempty"` // what it shows in dashboards
}

// Refusal is one message that the gateway refused. To and Message are the
// sender's words, as Erlang would write them and cut off; they and Op are empty
// when too many came at once.
type Refusal struct {
	At      time.Time `json:"at"`
	ToGuest bool      `json:"to_guest,omitempty"` // the host VM sent it
	Rule    string    `json:"rule"`
	Op      string    `json:"op,omitempty"`
	To      string    `json:"to,omitempty"`
	Message string    `json:"message,omitempty"`
}

// Stage is one step of a deployment along the corridor.
type Stage struct {
	Name   string        `json:"name"` // image, network, gateway, task, joined, verified, healthy
	Took   time.Duration `json:"took_ns"`
	Detail string        `json:"detail,omitempty"`
}

// Step is one thing that a pass would do, for sandboxctl plan.
type Step struct {
	App    string `json:"app"`
	Action string `json:"action"` // deploy, upgrade, reconfigure, move, remove, keep
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
	Why    string `json:"why"`
}

// Event is one line of what happened, for followers.
type Event struct {
	At     time.Time `json:"at"`
	App    string    `json:"app,omitempty"`
	Kind   string    `json:"kind"` // stage, phase, commit, host_up, host_down, error, …
	Text   string    `json:"text"`
	Stage  *Stage    `json:"stage,omitempty"`
	Phase  Phase     `json:"phase,omitempty"`
	Commit string    `json:"commit,omitempty"`
}
