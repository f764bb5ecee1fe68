package policy

import (
	"fmt"
	"strings"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

// Explanation says what becomes of one message of a guest, and why.
type Explanation struct {
	Allowed bool
	Rule    *Allow // the rule that lets it pass; nil when none does
	Why     string // "no rule allows casts to stats"
}

// Explain says whether a rule lets the guest send request, without its
// '$gen_call' or '$gen_cast', to a registered name. What passes without a rule
// (answers, PubSub, pg) is not looked at.
func (m Messages) Explain(kind Kind, to string, request term.Term) Explanation {
	if to == GlobalServer {
		return Explanation{Why: "global's traffic never crosses: the gateway answers it itself, in every mode"}
	}
	if m.Mode == Trusted {
		return Explanation{Allowed: true, Why: "the guest is trusted: its messages are not judged"}
	}
	why := "no rule allows messages to " + to + hint(to)
	for _, a := range m.Allow {
		if a.To != to {
			continue
		}
		if a.Kind != kind {
			why = "no rule allows messages of kind " + string(kind) + " to " + to
			continue
		}
		p, err := ParsePattern(a.Message)
		if err == nil && p.Match(request) {
			return Explanation{Allowed: true, Rule: &a, Why: "allowed by the rule for " + string(kind) + " to " + to + " with pattern " + p.String() + hint(to)}
		}
		why = "the message does not match " + p.String()
	}
	return m.refused(why)
}

// ExplainBroadcast says whether a broadcast of a topic through a PubSub that
// guest and host share passes, both ways.
func (m Messages) ExplainBroadcast(pubsub, topic string) Explanation {
	if m.Mode == Trusted {
		return Explanation{Allowed: true, Why: "the guest is trusted: its messages are not judged"}
	}
	why := "the PubSub " + pubsub + " is not shared"
	for _, p := range m.PubSubs {
		if p.Name != pubsub {
			continue
		}
		for _, t := range p.Topics {
			if prefix, ok := strings.CutSuffix(t, "*"); t == topic || ok && strings.HasPrefix(topic, prefix) {
				return Explanation{Allowed: true, Why: "topic " + t + " of " + pubsub + " is shared; the message inside must not pose as one of the system's"}
			}
		}
		why = "topic " + topic + " is none of those shared of " + pubsub + ": " + orNone(strings.Join(p.Topics, ", "))
	}
	return m.refused(why)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// refused is the explanation of a message that no rule lets pass.
func (m Messages) refused(why string) Explanation {
	if m.Mode == Audit {
		return Explanation{Allowed: true, Why: why + "; mode audit lets it pass and counts it"}
	}
	return Explanation{Why: why}
}

// hint warns of names that no rule should ever allow.
func hint(to string) string {
	if why := handsOver(to); why != "" {
		return ", and none should: " + why
	}
	return ""
}

// Reason is one thing that an app may have or say, or may not, and why.
type Reason struct {
	What    string // "2048 MB of memory", "call to stats"
	Allowed bool
	Why     string
}

// ExplainApp says what an app may have and say, and why, in the order of the
// corridor. A guest's own code is not looked at.
func (r Rules) ExplainApp(spec app.Spec) []Reason {
	g, err := r.Grant(spec)
	if err != nil {
		return []Reason{{"to run", false, err.Error()}}
	}
	if spec.Isolation != app.VM {
		return []Reason{{"everything", true, "isolation embedded: it runs inside the host VM, behind no walls; isolation vm makes it a guest"}}
	}
	all := []Reason{
		r.explainLimit("MB of memory", spec.VM.MemoryLimit, r.MaxMemory, "memory_limit", "max_memory"),
		r.explainLimit("CPUs", spec.VM.SchedulerLimit, r.MaxSchedulers, "scheduler_limit", "max_schedulers"),
		{fmt.Sprintf("%d tasks, %d open files, %d MB in /tmp", g.Privileges.Pids, g.Privileges.OpenFiles, g.Privileges.TmpBytes>>20), true, "what every guest of this host gets"},
	}
	for _, f := range g.Flows {
		all = append(all, explainFlow(f))
	}
	all = append(all, Reason{"connections of its own", false, "the firewall lets no guest connect anywhere but to its own port mapper and the host VM's stand-in"})
	return append(all, g.Messages.explain(Defaults(spec.Env))...)
}

func (r Rules) explainLimit(unit string, asked, most int, key, ceiling string) Reason {
	why := "vm_config." + key + " of its app.config"
	if most > 0 {
		why += fmt.Sprintf(", within %s %d of policy", ceiling, most)
	}
	if asked == 0 {
		return Reason{"all " + unit + " of the machine", true, "its app.config sets no vm_config." + key + ", and policy no " + ceiling}
	}
	return Reason{fmt.Sprintf("%d %s", asked, unit), true, why}
}

func explainFlow(f Flow) Reason {
	why := "every guest's, from the host alone"
	if f.Publish {
		why = "declared in its app.config; also at 127.0.0.1 of the host"
	}
	return Reason{fmt.Sprintf("port %d (%s)", f.Port, f.Purpose), true, why}
}

// explain says what a guest may say; own are the PubSubs of its components.
func (m Messages) explain(own []PubSub) []Reason {
	all := []Reason{m.explainMode(),
		{"answers to the host VM", true, "once each: results of calls, ends of what the host VM watches or linked, output under its group leader"}}
	for _, p := range m.PubSubs {
		all = append(all, explainPubSub(p, own))
	}
	for _, g := range m.Groups {
		all = append(all, explainGroups(g))
	}
	for _, a := range m.Allow {
		all = append(all, explainAllow(a))
	}
	all = append(all, m.Limits.explain())
	return append(all, Reason{"anything else to the host VM", m.Mode == Audit || m.Mode == Trusted, "no rule of policy allows it" + passesIn(m.Mode)})
}

func passesIn(mode Mode) string {
	if mode == Audit || mode == Trusted {
		return "; mode " + string(mode) + " lets it pass"
	}
	return ""
}

func (m Messages) explainMode() Reason {
	switch m.Mode {
	case Audit:
		return Reason{"mode audit", true, "policy: what would be refused passes and is counted"}
	case Trusted:
		return Reason{"mode trusted", true, "policy: nothing is judged, it can do to the host VM what it likes"}
	}
	return Reason{"mode enforce", true, "what no rule allows does not pass"}
}

func explainPubSub(p PubSub, own []PubSub) Reason {
	why := "policy"
	for _, o := range own {
		if o.Name == p.Name {
			why = "its own liveview_components"
			if len(o.Topics) != len(p.Topics) {
				why += " and policy"
			}
		}
	}
	dispatchers := orElse(strings.Join(p.Dispatchers, ", "), "Elixir.Phoenix.PubSub")
	return Reason{"broadcasts through " + p.Name, true, fmt.Sprintf("topics %s, dispatched by %s: %s", orNone(strings.Join(p.Topics, ", ")), dispatchers, why)}
}

func explainGroups(g Groups) Reason {
	may := "it may send nothing to their members on the host VM"
	if g.Message != "" {
		may = "it may send " + g.Message + " to their members on the host VM"
	}
	return Reason{"groups " + strings.Join(g.Names, ", ") + " of pg scope " + g.Scope, true, "policy; " + may}
}

func explainAllow(a Allow) Reason {
	why := "policy, any message"
	if a.Message != "" {
		why = "policy, messages like " + a.Message
	}
	if a.Rate > 0 {
		why += fmt.Sprintf(", at most %d a second", a.Rate)
	}
	if bad := handsOver(a.To); bad != "" {
		why += "; none should: " + bad
	}
	return Reason{string(a.Kind) + " to " + a.To, true, why}
}

func (l Limits) explain() Reason {
	d := l.WithDefaults()
	why := "defaults"
	if l != (Limits{}) {
		why = "policy, and defaults"
	}
	return Reason{fmt.Sprintf("messages of %s bytes and %s terms, %s of them and %s bytes a second, %s new atoms in its life, %s monitors, %s rights of a kind, %s handshakes a minute",
		limit(d.Frame), limit(d.Nodes), limit(d.Messages), limit(d.Bytes), limit(d.Atoms), limit(d.Monitors), limit(d.Grants), limit(d.Handshakes)), true, why}
}

func limit(n int) string {
	if n < 0 {
		return "any number of"
	}
	return fmt.Sprint(n)
}
