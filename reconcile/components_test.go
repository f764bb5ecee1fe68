package reconcile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/status"
)

// showing is an app.config's env with one component.
func showing(id, title string) string {
	return fmt.Sprintf(`, env => #{liveview_components => [#{id => %s, module => 'Elixir.Show', title => <<"%s">>}]}`, id, title)
}

// listed is the host VM's list of components, one "app id title" each.
func (b *bench) listed() []string {
	var out []string
	list, _ := b.world.Host.Env("bc_gitops", "liveview_components").(term.List)
	for _, e := range list.Elems {
		m, _ := e.(term.Map)
		text := func(key string) string { v, _ := m.Get(term.Atom(key)); t, _ := term.Text(v); return t }
		out = append(out, strings.TrimSpace(text("app")+" "+text("id")+" "+text("title")))
	}
	return out
}

func (b *bench) wantListed(want ...string) {
	b.Helper()
	if got := b.listed(); !slices.Equal(got, want) {
		b.Errorf("the host VM lists %q, want %q", got, want)
	}
}

func (b *bench) component(name string) status.Component {
	b.Helper()
	a := b.app(name)
	if len(a.Components) != 1 {
		b.Fatalf("%s shows %+v", name, a.Components)
	}
	return a.Components[0]
}

// TestComponents: the host VM's list follows what runs, through everything that
// happens to apps, to the host VM and to us, and others' entries stay.
func TestComponents(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.world.Host.SetEnv("bc_gitops", "liveview_components", term.List{Elems: []term.Term{
			term.Map{{Key: term.Atom("id"), Value: term.Atom("clock")}}}})
		one, two := guest("one", "1.0.0", showing("a", "A")), embedded("two", "1.0.0", showing("b", "B"))
		b.commit(map[string]string{"one": one, "two": two, "plain": guest("plain", "1.0.0", "")})
		b.start()
		b.after(5 * time.Second)
		b.wantListed("clock", "one a A", "two b B")
		if c := b.component("one"); !c.Published || !c.Loadable || c.Title != "A" || c.Problem != "" {
			b.Errorf("status has %+v", c)
		}

		b.commit(map[string]string{"one": guest("one", "1.0.0", showing("a", "Other")), "two": two})
		b.after(5 * time.Second)
		b.wantListed("clock", "one a Other", "two b B")

		b.world.Host.Set(false) // a host VM that comes back knows nothing
		b.after(time.Second)
		if c := b.component("one"); c.Published || c.Problem == "" {
			b.Errorf("without a host VM: %+v", c)
		}
		b.world.Host.Set(true)
		b.after(10 * time.Second)
		b.wantListed("one a Other", "two b B")

		b.world.Host.SetEnv("bc_gitops", "liveview_components", term.List{})
		b.after(2 * time.Minute)
		b.wantListed("one a Other", "two b B")

		b.commit(map[string]string{"two": two})
		b.after(time.Minute)
		b.wantListed("two b B")
		b.commit(map[string]string{})
		b.after(time.Minute)
		b.wantListed()
		if v := b.world.Host.Env("bc_gitops", "liveview_components"); v != nil {
			b.Errorf("%s is left", term.Format(v))
		}
	})
}

// TestComponentsOverARestart: a daemon that starts changes nothing that is as
// it should be, also when an app.config cannot be read any more.
func TestComponentsOverARestart(t *testing.T) {
	inWorld(t, func(b *bench) {
		one := guest("one", "1.0.0", showing("a", "A"))
		two := embedded("two", "1.0.0", showing("b", "B"))
		b.commit(map[string]string{"one": one, "two": two})
		b.start()
		b.after(5 * time.Second)
		b.wantListed("one a A", "two b B")
		b.halt()
		b.diary()
		b.start()
		b.after(5 * time.Minute)
		b.halt()
		b.commit(map[string]string{"one": one + "broken", "two": two})
		b.start()
		b.after(5 * time.Minute)
		b.wantListed("one a A", "two b B")
		for _, line := range b.diary() {
			if strings.Contains(line, "env bc_gitops") {
				b.Errorf("the list was written: %s", line)
			}
		}
	})
}

// TestComponentsModuleMissing: status says what the host VM lacks, and notices
// when it has it.
func TestComponentsModuleMissing(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.world.Host.Lack("Elixir.Show", true)
		b.commit(map[string]string{"one": guest("one", "1.0.0", showing("a", "A"))})
		b.start()
		b.after(5 * time.Second)
		if c := b.component("one"); !c.Published || c.Loadable || !strings.Contains(c.Problem, "cannot load Elixir.Show") {
			b.Errorf("status has %+v", c)
		}
		b.world.Host.Lack("Elixir.Show", false)
		b.after(2 * time.Minute)
		if c := b.component("one"); !c.Loadable || c.Problem != "" {
			b.Errorf("status has %+v", c)
		}
	})
}
