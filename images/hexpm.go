package images

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"beamsandbox/distribution/term"
	"beamsandbox/images/hex"
	"beamsandbox/reconcile/app"
)

// HexRepository is a Hex repository that apps and builds may take packages
// from.
type HexRepository struct {
	// Name is how projects and the registry call it: "hexpm", "acme", or
	// "hexpm:acme" for an organization of hex.pm.
	Name      string
	URL       string         // of the repository endpoint, "https://repo.hex.pm"
	PublicKey *rsa.PublicKey // of the registry, see hex.ReadPublicKey
	AuthToken app.Secret     // empty: none is sent
}

// Hexpm is hex.pm itself, with its published key.
func Hexpm() (HexRepository, error) {
	r, err := hex.HexPM()
	if err != nil {
		return HexRepository{}, err
	}
	return HexRepository{Name: r.Name, URL: r.URL, PublicKey: r.PublicKey}, nil
}

// A hexRegistry is a HexRepository with its client.
type hexRegistry struct {
	HexRepository
	pem    []byte // the public key, for the tools in the builder
	client *hex.Repository
}

// hexRegistries are asked in this order.
type hexRegistries []hexRegistry

var hexName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}(:[a-z][a-z0-9_-]{0,63})?$`)

// openHexes checks what is configured; cache keeps what they answer.
func openHexes(all []HexRepository, cache string) (hexRegistries, error) {
	var out hexRegistries
	for _, r := range all {
		if !hexName.MatchString(r.Name) {
			return nil, fmt.Errorf("open hex repository %.80q: name it by lower-case letters, digits, _ and -", r.Name)
		}
		if _, twice := out.named(r.Name); twice {
			return nil, fmt.Errorf("open hex repository %s: it is configured twice", r.Name)
		}
		if r.PublicKey == nil {
			return nil, fmt.Errorf("open hex repository %s: its public key is missing", r.Name)
		}
		key, err := x509.MarshalPKIXPublicKey(r.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("open hex repository %s: write its public key: %w", r.Name, err)
		}
		// An organization's answers carry its own name alone.
		_, organization, ok := strings.Cut(r.Name, ":")
		if !ok {
			organization = r.Name
		}
		client := &hex.Repository{Name: organization, URL: r.URL, PublicKey: r.PublicKey, AuthToken: r.AuthToken, Cache: cache}
		out = append(out, hexRegistry{r, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: key}), client})
	}
	return out, nil
}

func (rs hexRegistries) named(name string) (hexRegistry, bool) {
	n := slices.IndexFunc(rs, func(r hexRegistry) bool { return r.Name == name })
	if n < 0 {
		return hexRegistry{}, false
	}
	return rs[n], true
}

// proxied is where a builder finds the repository.
func (r hexRegistry) proxied() string {
	name, organization, ok := strings.Cut(r.Name, ":")
	if ok {
		name += "/repos/" + organization
	}
	return fmt.Sprintf("http://127.0.0.1:%d/hex/%s", proxyPort, name)
}

func atom(name string, value term.Term) term.Pair {
	return term.Pair{Key: term.Atom(name), Value: value}
}

// rebarConfig is rebar3's own configuration: these repositories and no other,
// each with its key, so that rebar3 verifies once more. For hexpm rebar3
// takes the address from HEX_CDN alone.
func (rs hexRegistries) rebarConfig() []byte {
	var repos term.List
	for _, r := range rs {
		repos.Elems = append(repos.Elems, term.Map{
			atom("name", term.Binary(r.Name)), atom("repo_url", term.Binary(r.proxied())),
			atom("repo_public_key", term.Binary(bytes.TrimSpace(r.pem))),
		})
	}
	choice := term.Tuple{term.Atom("repos"), term.Atom("replace"), repos}
	return term.WriteConsult(term.Tuple{term.Atom("hex"), term.List{Elems: []term.Term{choice}}})
}

// mixConfig is the hex.config of Hex for mix.
func (rs hexRegistries) mixConfig() []byte {
	repos := term.Map{}
	for _, r := range rs {
		repos = append(repos, term.Pair{Key: term.Binary(r.Name), Value: term.Map{
			atom("url", term.Binary(r.proxied())), atom("public_key", term.Binary(r.pem)),
			atom("auth_key", term.Atom("nil")), atom("trusted", term.Atom("true")),
		}})
	}
	return term.WriteConsult(term.Tuple{term.Atom("$repos"), repos})
}
