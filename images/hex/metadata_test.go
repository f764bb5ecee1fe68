package hex

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseMetadata(t *testing.T) {
	const text = `%% a comment
{<<"name">>,<<"my_app">>}. {<<"version">>,<<"1.2.3">>}. {<<"app">>,<<"my">>}.
{<<"build_tools">>,[<<"rebar3">>,<<"mix">>]}.
{<<"licenses">>,[<<"MIT">>]}.
{<<"elixir">>,<<"~> 1.12">>}.
{<<"description">>,<<"gr\x{fc}n, größer"/utf8>>}.
{<<"extra">>,#{a => [1|2]}}.
{<<"requirements">>,`
	old := Dependency{Package: "recon", App: "recon", Requirement: "~> 2.5", Optional: true}
	for form, want := range map[string][]Dependency{
		`[]`:  nil,
		`#{}`: nil,
		`[{<<"recon">>,[{<<"app">>,<<"recon">>},{<<"optional">>,true},{<<"requirement">>,<<"~> 2.5">>}]}]`: {old},
		`#{<<"recon">> => #{<<"optional">> => true, <<"requirement">> => <<"~> 2.5">>}}`:                   {old},
		`[{<<"a">>,<<">= 0.0.0">>}]`: {{Package: "a", App: "a", Requirement: ">= 0.0.0"}},
		`[[{<<"name">>,<<"b">>},{<<"app">>,<<"bb">>},{<<"repository">>,<<"acme">>},{<<"requirement">>,<<"1.0.0">>}]]`: {{Package: "b", App: "bb", Requirement: "1.0.0", Repository: "acme"}},
		`[{<<"c">>,[{<<"requirement">>,nil},{<<"app">>,undefined}]}]`:                                                 {{Package: "c", App: "c"}},
	} {
		m, err := ParseMetadata([]byte(text + form + "}."))
		if err != nil {
			t.Errorf("%s: %v", form, err)
		}
		whole := Metadata{
			Name: "my_app", Version: "1.2.3", App: "my", Description: "grün, größer", Elixir: "~> 1.12",
			BuildTools: []string{"rebar3", "mix"}, Licenses: []string{"MIT"}, Requirements: want,
		}
		if diff := cmp.Diff(whole, m); diff != "" {
			t.Errorf("%s: %s", form, diff)
		}
	}
}

func TestOldMetadata(t *testing.T) {
	const minimal = "{<<\"name\">>,<<\"a\">>}.\n{<<\"version\">>,<<\"1.0.0\">>}.\n"
	for _, text := range []string{
		minimal + "{<<\"description\">>,<<\"gr\xfcn\">>}.", // the file is Latin-1
		minimal + `{<<"description">>,<<"grün">>}.`,        // the binary is
		minimal + `{<<"description">>,<<"grün"/utf8>>}.`,
		"{<<\"description\">>,\"grün\"}.\n" + minimal,
	} {
		m, err := ParseMetadata([]byte(text))
		if err != nil || m.Description != "grün" || m.App != "a" {
			t.Errorf("%q: %q %v", text, m.Description, err)
		}
	}
}

func TestBadMetadata(t *testing.T) {
	const good = "{<<\"name\">>,<<\"a\">>}. {<<\"version\">>,<<\"1.0.0\">>}. "
	for _, text := range []string{
		"", "name.", "{<<\"name\">>,<<\"a\">>}.", good + "{1,2,3}.", good + "{<<\"requirements\">>,[x|", good + `{<<"requirements">>,[{<<"../b">>,[]}]}.`,
		good + `{<<"requirements">>,[{<<"b">>,17}]}.`, good + `{<<"requirements">>,[[]]}.`, good + strings.Repeat("[", 100), good + "\xff\xfe",
		good + strings.Repeat("x. ", MaxMetadata/8),
	} {
		if m, err := ParseMetadata([]byte(text)); !errors.Is(err, ErrMalformed) || m.Name != "" {
			t.Errorf("%.100q: %v", text, err)
		}
	}
	if _, err := ParseMetadata(make([]byte, MaxMetadata+1)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{<<"name">>,<<"a">>}. {<<"version">>,<<"1.0.0">>}. {<<"requirements">>,[{<<"b">>,[{<<"requirement">>,<<"1.0.0">>}]}]}.`))
	f.Add([]byte("{<<\"name\">>,\"a\"}. {<<\"version\">>,a}. {<<\"description\">>,<<\"\xff\">>}. {<<\"requirements\">>,#{a => #{}}}."))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseMetadata(text)
		if err != nil {
			if m.Name != "" || m.Requirements != nil {
				t.Fatalf("%v beside %v", m, err)
			}
			return
		}
		for _, d := range m.Requirements {
			if CheckName(d.Package) != nil || d.App == "" {
				t.Fatalf("%v", d)
			}
		}
	})
}
