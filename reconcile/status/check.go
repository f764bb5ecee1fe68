package status

// Verdict is how a check ended.
type Verdict string

// The verdicts, from good to bad.
const (
	OK   Verdict = "ok"
	Warn Verdict = "warn" // works, and should be looked at
	Fail Verdict = "fail"
)

// Check is one thing that was looked at, for sandboxctl doctor.
type Check struct {
	Name    string  `json:"check"`         // "epmd", "host_cookie", "guest_link"
	App     string  `json:"app,omitempty"` // empty: the machine or the host VM
	Verdict Verdict `json:"verdict"`
	Found   string  `json:"found"`          // one line
	Cure    string  `json:"cure,omitempty"` // what to do; empty when all is well
}

// Good is a check that found nothing to do.
func Good(name, found string) Check { return Check{Name: name, Verdict: OK, Found: found} }

// Doubtful is a check that found what should be looked at.
func Doubtful(name, found, cure string) Check {
	return Check{Name: name, Verdict: Warn, Found: found, Cure: cure}
}

// Bad is a check that found what does not work.
func Bad(name, found, cure string) Check {
	return Check{Name: name, Verdict: Fail, Found: found, Cure: cure}
}

// Worst is the worst verdict of all, OK of none.
func Worst(all []Check) Verdict {
	worst := OK
	for _, c := range all {
		if c.Verdict == Fail || c.Verdict == Warn && worst == OK {
			worst = c.Verdict
		}
	}
	return worst
}
