package reconciletest

import (
	"maps"

	"beamsandbox/distribution/term"
)

// Env is application:get_env/2 in the host VM; nil when there is no such key.
func (h *HostVM) Env(application, key string) term.Term {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.env[application+" "+key]
}

// SetEnv is application:set_env/3 in the host VM.
func (h *HostVM) SetEnv(application, key string, value term.Term) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.env = maps.Clone(h.env)
	if h.env == nil {
		h.env = map[string]term.Term{}
	}
	h.env[application+" "+key] = value
}

// Lack says whether the host VM cannot load a module.
func (h *HostVM) Lack(module string, lacks bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.modules == nil {
		h.modules = map[string]bool{}
	}
	h.modules[module] = lacks
}

// environment answers calls about applications' environment and about code.
func (h *HostVM) environment(module, function string, args []term.Term) (term.Term, bool) {
	text := func(i int) string { t, _ := term.Text(args[i]); return t }
	switch module + ":" + function {
	case "application:get_env":
		if v := h.Env(text(0), text(1)); v != nil {
			return term.Tuple{term.Atom("ok"), v}, true
		}
		return term.Atom("undefined"), true
	case "application:set_env":
		h.world.Diary.Write("host: set_env %s %s", text(0), text(1))
		h.SetEnv(text(0), text(1), args[2])
		return term.Atom("ok"), true
	case "application:unset_env":
		h.world.Diary.Write("host: unset_env %s %s", text(0), text(1))
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.env, text(0)+" "+text(1))
		return term.Atom("ok"), true
	case "code:ensure_loaded":
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.modules[text(0)] {
			return term.Tuple{term.Atom("error"), term.Atom("nofile")}, true
		}
		return term.Tuple{term.Atom("module"), args[0]}, true
	}
	return nil, false
}
