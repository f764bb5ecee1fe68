// Package reconcile makes the host match the git repository.
//
// One goroutine, in Run, owns all state. Everything else, the look at the
// repository, the events of the rooms and one worker for every app, hands it
// functions to run. Read deploy.go for the way of one app.
package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// A Reconciler makes one host match one branch. Run it once; its other
// methods may be called from any goroutine at any time.
type Reconciler struct {
	cfg     Config
	rooms   Rooms
	host    HostVM
	repo    Repo
	cookies *clusterCookies
	rules   policy.Rules
	log     *slog.Logger

	inbox   chan func(*state)
	trigger chan struct{}
	stopped chan struct{}  // closed when Run has returned
	tasks   sync.WaitGroup // goroutines that Run waits for
	builds  chan struct{}
	starts  chan struct{}
	boards  chan board // the newest wish for the host VM's components

	snapshot   atomic.Pointer[status.Host]
	have       atomic.Pointer[map[app.Name]Have] // nil until it is known
	linkEvents atomic.Int64                      // counts what the gateway told
	followers  followers
	keys       keys
	recent     recent
}

// New returns a Reconciler that does nothing until Run.
func New(cfg Config, rooms Rooms, host HostVM, repo Repo, cookies Cookies, rules policy.Rules, log *slog.Logger) *Reconciler {
	cfg = cfg.withDefaults()
	r := &Reconciler{
		cfg: cfg, rooms: rooms, host: host, repo: repo, cookies: &clusterCookies{Cookies: cookies}, rules: rules, log: log,
		inbox:   make(chan func(*state)),
		trigger: make(chan struct{}, 1),
		stopped: make(chan struct{}),
		builds:  make(chan struct{}, cfg.Builds),
		starts:  make(chan struct{}, cfg.Starts),
		boards:  make(chan board, 1),
		keys:    keys{unfinished: make(chan struct{}, 1)},
	}
	r.snapshot.Store(&status.Host{HostNode: cfg.HostNode, Repo: cfg.RepoURL, Branch: cfg.Branch, Containerd: cfg.Containerd, At: time.Now()})
	return r
}

// Run follows the repository until ctx ends. Guests live on when it returns;
// Drain first to stop them.
func (r *Reconciler) Run(ctx context.Context) error {
	defer close(r.stopped)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := r.newState(ctx)
	r.watchHost(ctx)
	r.watchNodes(ctx)
	r.watchTasks(ctx)
	r.adopt(ctx)
	r.sample(ctx)
	r.publishComponents(ctx)
	r.run(func() { r.finishRotations(ctx) })
	r.run(func() { r.keepTLS(ctx) })
	tick := time.NewTicker(r.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.leaveMacula()
			r.wind(s, cancel)
			return nil
		case <-tick.C:
			s.pass()
			s.askMacula()
			s.askHeads()
			s.spawn(func() { r.resync(ctx) })
		case <-r.trigger:
			s.retryAll()
			s.pass()
			s.askMacula()
			s.askHeads()
		case change := <-r.inbox:
			change(s)
		}
		s.publish()
	}
}

// wind ends the loop: it takes what the goroutines still have to say and
// returns when all of them have ended.
func (r *Reconciler) wind(s *state, cancel context.CancelFunc) {
	cancel()
	idle := make(chan struct{})
	go func() { r.tasks.Wait(); close(idle) }()
	for {
		select {
		case <-idle:
			s.publish()
			return
		case change := <-r.inbox:
			change(s)
		}
	}
}

// post has the loop run change. It gives up when the loop has ended.
func (r *Reconciler) post(change func(*state)) {
	select {
	case r.inbox <- change:
	case <-r.stopped:
	}
}

// ask has the loop run change and waits until it has.
func (r *Reconciler) ask(ctx context.Context, change func(*state)) error {
	done := make(chan struct{})
	select {
	case r.inbox <- func(s *state) { change(s); close(done) }:
		<-done
		return nil
	case <-r.stopped:
		return errors.New("the reconciler has stopped")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Trigger looks at the repository now and lets apps that wait for another try
// have it. Many calls at once are one.
func (r *Reconciler) Trigger() {
	select {
	case r.trigger <- struct{}{}:
	default:
	}
}

// Status is the newest snapshot. It never waits; whoever gets it may keep it
// and must not change it.
func (r *Reconciler) Status() status.Host { return *r.snapshot.Load() }

// Plan fetches the newest commit and says what a pass would do with it,
// without doing it.
func (r *Reconciler) Plan(ctx context.Context) ([]status.Step, error) {
	c, err := r.repo.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	have := r.haves()
	if have == nil {
		return nil, errors.New("plan: what runs here is not known yet: try again in a moment")
	}
	want, err := r.load(c, have)
	if err != nil {
		return nil, err
	}
	var out []status.Step
	for _, step := range Plan(want, have) {
		out = append(out, step.Status())
	}
	return out, nil
}

// haves is what runs, nil until that is known.
func (r *Reconciler) haves() map[app.Name]Have {
	if have := r.have.Load(); have != nil {
		return *have
	}
	return nil
}

// Drain removes every app gracefully and returns when none is left or ctx
// ends. From then on the repository is not looked at any more.
func (r *Reconciler) Drain(ctx context.Context) error {
	gone := make(chan struct{})
	if err := r.ask(ctx, func(s *state) { s.drain(gone) }); err != nil {
		return err
	}
	select {
	case <-gone:
		return nil
	case <-r.stopped:
		return errors.New("drain: the reconciler stopped before all apps were removed")
	case <-ctx.Done():
		return errors.Join(errors.New("drain: "+r.leftovers()), ctx.Err())
	}
}

func (r *Reconciler) leftovers() string {
	text := "still there:"
	for _, n := range slices.Sorted(maps.Keys(r.haves())) {
		text += " " + string(n)
	}
	return text
}

// run starts a goroutine that Run waits for.
func (r *Reconciler) run(f func()) {
	r.tasks.Add(1)
	go func() {
		defer r.tasks.Done()
		f()
	}()
}

// sleep waits for d or for the end of ctx and reports whether ctx lives.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
