package main

import (
	"errors"
	"fmt"

	"beamsandbox/distribution/term"
	"beamsandbox/images"
	"beamsandbox/images/hex"
)

// hexRepository is one entry of the key hex, before its files are read.
type hexRepository struct {
	name, url, publicKey, tokenFile string
}

// hexRepositories reads the key hex: a list of maps or property lists.
func (c *Config) hexRepositories(dir string) func(term.Term) bool {
	return func(t term.Term) bool {
		list, ok := t.(term.List)
		if !ok {
			return false
		}
		all, ok := list.Proper()
		if !ok {
			return false
		}
		c.Hex = []hexRepository{}
		for _, e := range all {
			r, ok := oneHexRepository(dir, e)
			if !ok {
				return false
			}
			c.Hex = append(c.Hex, r)
		}
		return true
	}
}

func oneHexRepository(dir string, t term.Term) (r hexRepository, ok bool) {
	pairs, ok := term.Proplist(t)
	if !ok {
		return r, false
	}
	keys := map[string]func(term.Term) bool{
		"name": text(&r.name), "url": text(&r.url), "public_key": path(dir, &r.publicKey), "auth_token_file": path(dir, &r.tokenFile),
	}
	for _, p := range pairs {
		key, _ := p.Key.(term.Atom)
		set, known := keys[string(key)]
		if !known || !set(p.Value) {
			return r, false
		}
	}
	return r, r.name != ""
}

// openHex reads keys and tokens of the configured repositories; without any
// configured it is hex.pm.
func (c Config) openHex() ([]images.HexRepository, error) {
	hexpm, err := images.Hexpm()
	if err != nil {
		return nil, err
	}
	if c.Hex == nil {
		return []images.HexRepository{hexpm}, nil
	}
	var out []images.HexRepository
	for _, r := range c.Hex {
		one, err := r.open(hexpm)
		if err != nil {
			return nil, fmt.Errorf("open hex repository %s: %w", r.name, err)
		}
		out = append(out, one)
	}
	return out, nil
}

// open takes what is not said from hex.pm, for hexpm alone.
func (r hexRepository) open(hexpm images.HexRepository) (out images.HexRepository, err error) {
	out = images.HexRepository{Name: r.name, URL: r.url}
	switch {
	case r.publicKey != "":
		out.PublicKey, err = hex.ReadPublicKey(r.publicKey)
	case r.name == hexpm.Name:
		out.PublicKey = hexpm.PublicKey
	default:
		err = errors.New("public_key is missing: give the file of its public key")
	}
	if err != nil {
		return out, err
	}
	if r.url == "" && r.name == hexpm.Name {
		out.URL = hexpm.URL
	}
	if out.URL == "" {
		return out, errors.New("url is missing")
	}
	if r.tokenFile != "" {
		out.AuthToken, err = hex.ReadToken(r.tokenFile)
	}
	return out, err
}
