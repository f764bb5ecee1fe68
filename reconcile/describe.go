package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"beamsandbox/distribution"
	"beamsandbox/distribution/term"
	"beamsandbox/policy"
	"beamsandbox/reconcile/app"
	"beamsandbox/reconcile/status"
)

// maxValue bounds the text of one value of an app.config, in bytes.
const maxValue = 500

// Describe is everything that is known of one app. The gateway is asked; when
// it does not answer, its part is left out.
func (r *Reconciler) Describe(ctx context.Context, name app.Name) (status.Description, error) {
	var d status.Description
	i := slices.IndexFunc(r.Status().Apps, func(a status.App) bool { return a.Name == string(name) })
	if i < 0 {
		return d, fmt.Errorf("no app %s on this host; sandboxctl status lists them", name)
	}
	d.App = r.Status().Apps[i]
	err := r.ask(ctx, func(s *state) {
		if rec := s.history[name]; rec.Reason != "" {
			d.Failure = &status.Failure{Count: rec.Failures, Reason: rec.Reason, Detail: rec.Detail, NextRetry: rec.NextRetry}
		}
		if spec, wanted := s.set.Specs[name]; wanted {
			d.Spec, d.Grants = specFields(spec), reasons(r.rules.ExplainApp(spec))
		}
	})
	if err != nil {
		return d, err
	}
	d.Events, d.Exits = r.recent.of(string(name))
	members, _ := r.Members(ctx) //nolint:errcheck // status says that the gateway does not answer
	for _, m := range members {
		if m.App == string(name) {
			d.Gateway = &m
		}
	}
	return d, nil
}

// Members asks the gateway for every guest that it serves, by name.
func (r *Reconciler) Members(ctx context.Context) ([]status.Member, error) {
	nodes, err := r.rooms.Nodes.List(ctx)
	out := make([]status.Member, 0, len(nodes))
	for _, n := range nodes {
		out = append(out, member(n))
	}
	slices.SortFunc(out, func(a, b status.Member) int { return cmp.Compare(a.App, b.App) })
	return out, err
}

func member(n distribution.Node) status.Member {
	m := status.Member{
		App: string(n.Name), Node: n.Node, Mode: string(cmp.Or(n.Mode, policy.Enforce)), Registered: n.Registered, Up: n.Up,
		Since: n.Since, Error: n.Error, Refused: n.Refused, Atoms: n.Atoms, AtomBudget: n.AtomBudget, Rights: n.Rights,
		Closed: n.Closed, NextTry: n.NextTry,
	}
	for _, r := range n.Recent {
		m.Refusals = append(m.Refusals, status.Refusal(r))
	}
	if q := n.Quarantine; q != nil {
		m.Quarantine = &status.Quarantine{At: q.At, Rule: q.Rule, Closed: q.Closed}
	}
	return m
}

// Explain says what an app of the commit may have and say, or whether one
// message of it passes, and why.
func (r *Reconciler) Explain(ctx context.Context, name app.Name, q status.Question) ([]status.Reason, error) {
	var spec app.Spec
	var wanted bool
	if err := r.ask(ctx, func(s *state) { spec, wanted = s.set.Specs[name] }); err != nil {
		return nil, err
	}
	if !wanted {
		return nil, fmt.Errorf("no app %s in the commit that is followed; sandboxctl status lists them", name)
	}
	if q.Kind == "" {
		return reasons(r.rules.ExplainApp(spec)), nil
	}
	grant, err := r.rules.Grant(spec)
	if err != nil {
		return nil, err
	}
	if spec.Isolation != app.VM {
		return nil, fmt.Errorf("%s is embedded: it runs inside the host VM, nobody judges its messages", name)
	}
	e, what, err := explain(grant.Messages, q)
	return []status.Reason{{What: what, Allowed: e.Allowed, Why: e.Why}}, err
}

// explain answers a question about one message.
func explain(m policy.Messages, q status.Question) (policy.Explanation, string, error) {
	if q.Kind == "broadcast" {
		return m.ExplainBroadcast(q.To, q.Message), "broadcast of " + q.Message + " through " + q.To, nil
	}
	kind := policy.Kind(q.Kind)
	if kind != policy.Call && kind != policy.Cast && kind != policy.Info {
		return policy.Explanation{}, "", fmt.Errorf("%q is no kind of message: choose call, cast, info or broadcast", q.Kind)
	}
	text := strings.TrimSuffix(strings.TrimSpace(cmp.Or(q.Message, "'_'")), ".")
	terms, err := term.Parse([]byte(text + " ."))
	if err != nil || len(terms) != 1 {
		return policy.Explanation{}, "", fmt.Errorf("read message %q: write one term in Erlang's syntax, as in '{get, uptime}'", q.Message)
	}
	return m.Explain(kind, q.To, terms[0]), q.Kind + " of " + term.Brief(terms[0], maxValue) + " to " + q.To, nil
}

func reasons(all []policy.Reason) []status.Reason {
	out := make([]status.Reason, 0, len(all))
	for _, r := range all {
		out = append(out, status.Reason(r))
	}
	return out
}

// specFields is an app.config as keys and values; what is not set is left out.
// Values whose keys say that they are secret are not shown.
func specFields(s app.Spec) []status.Field {
	var all []status.Field
	add := func(key, value string) {
		if value != "" && value != "0" {
			all = append(all, status.Field{Key: key, Value: value})
		}
	}
	add("folder", s.Dir)
	add("version", s.Version)
	add("description", s.Description)
	add("isolation", string(s.Isolation))
	add("source", strings.TrimSpace(string(s.Source.Type)+" "+s.Source.URL+s.Source.Name+s.Source.MCID))
	add("source.ref", s.Source.Ref)
	add("source.sha256", s.Source.SHA256)
	add("vm_config.memory_limit", strconv.Itoa(s.VM.MemoryLimit))
	add("vm_config.scheduler_limit", strconv.Itoa(s.VM.SchedulerLimit))
	add("vm_config.extra_args", strings.Join(s.VM.ExtraArgs, " "))
	add("vm_config.code_loading", string(s.VM.CodeLoading))
	for _, key := range slices.Sorted(maps.Keys(s.Env)) {
		add("env."+key, shownValue(key, s.Env[key]))
	}
	if h := s.Health; h != nil {
		add("health", strings.TrimSpace(fmt.Sprintf("%s port %d %s%s every %s", h.Type, h.Port, h.Path, h.Module, h.Interval)))
	}
	for _, dep := range s.DependsOn {
		add("depends_on", string(dep))
	}
	return all
}

// shownValue hides a value that is called secret, or has such a thing inside.
func shownValue(key string, v term.Term) string {
	text := strings.ToLower(key + " " + term.Format(v))
	for _, word := range []string{"secret", "password", "passwd", "token", "cookie", "private", "credential", "_key"} {
		if strings.Contains(text, word) {
			return "(not shown)"
		}
	}
	return term.Brief(v, maxValue)
}
