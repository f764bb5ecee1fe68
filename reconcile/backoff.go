package reconcile

import (
	"errors"
	"fmt"
	"time"

	"beamsandbox/policy"
	"beamsandbox/reconcile/status"
	"beamsandbox/runtime"
)

// How long an app waits before it is started again: one second, doubled at
// every end up to a minute, and from the start again once it has been healthy
// for a minute. Builds take much of the machine, so they wait longer.
const (
	restartFirst = time.Second
	restartMost  = time.Minute
	restartReset = time.Minute
	buildFirst   = 5 * time.Second
	buildMost    = 10 * time.Minute
)

// stageError is a stage of the corridor that could not be done.
type stageError struct {
	stage string // image, network, gateway, task, embedded
	err   error
}

func (e *stageError) Error() string { return e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

// endError says that a guest ended.
type endError struct{ exit runtime.Exit }

func (e *endError) Error() string {
	switch {
	case e.exit.OOMKilled:
		return "the guest used more memory than memory_limit allows"
	case e.exit.Status > 128:
		return fmt.Sprintf("the guest was ended by signal %d", e.exit.Status-128)
	}
	return fmt.Sprintf("the guest ended with status %d", e.exit.Status)
}

func (e *endError) reason() string {
	switch {
	case e.exit.OOMKilled:
		return "oom_killed"
	case e.exit.Status > 128:
		return fmt.Sprintf("signal_%d", e.exit.Status-128)
	}
	return fmt.Sprintf("exit_status_%d", e.exit.Status)
}

// sickError says that an app failed its own health check too often.
type sickError struct{ last error }

func (e *sickError) Error() string { return "its health check keeps failing: " + e.last.Error() }
func (e *sickError) Unwrap() error { return e.last }

// errStopped says that the node lives and the application in it does not.
var errStopped = errors.New("the application stopped")

// ErrNotReady is wrapped by a room that lacks something of the machine, such as
// a program that is not installed: it is asked again soon, for nothing tells
// when that is mended.
var ErrNotReady = errors.New("not ready")

// notReadyMost is the longest wait for a room that is not ready.
const notReadyMost = 15 * time.Second

// stageReasons are the words of status for a stage that failed.
var stageReasons = map[string]string{
	"image":    "build_failed",
	"network":  "network_failed",
	"gateway":  "gateway_failed",
	"task":     "start_failed",
	"embedded": "load_failed",
	"remove":   "remove_failed",
}

// verdict is what an error means for the app it happened to.
type verdict struct {
	phase     status.Phase
	reason    string
	first     time.Duration // first wait before the next try
	most      time.Duration
	permanent bool // only another commit can help
}

func judge(err error) verdict {
	var end *endError
	var stage *stageError
	var sick *sickError
	var refused *policy.Violation
	var barred *quarantineError
	v := verdict{phase: status.Backoff, reason: "error", first: restartFirst, most: restartMost}
	switch {
	case errors.As(err, &refused):
		v.phase, v.reason, v.permanent = status.Failed, "policy_refused", true
	case errors.As(err, &barred):
		v.phase, v.reason, v.permanent = status.Quarantined, reasonQuarantined, true
	case errors.As(err, &end):
		v.reason = end.reason()
	case errors.As(err, &sick):
		v.reason = "health_check_failed"
	case errors.Is(err, errStopped):
		v.reason = "stopped"
	case errors.As(err, &stage):
		v.reason = stageReasons[stage.stage]
		if stage.stage == "image" {
			v.phase, v.first, v.most = status.Failed, buildFirst, buildMost
		}
	}
	if errors.Is(err, ErrNotReady) {
		v.phase, v.first, v.most = status.Backoff, restartFirst, notReadyMost
	}
	return v
}

// wait is how long the try after the n-th failure in a row waits.
func (v verdict) wait(n int) time.Duration {
	d := v.first
	for ; n > 1 && d < v.most; n-- {
		d *= 2
	}
	return min(d, v.most)
}
