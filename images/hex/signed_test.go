package hex_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"beamsandbox/images/hex"
	"beamsandbox/images/hex/hextest"
)

// Correctly signed payloads that are not what they should be.
func TestMalformedPayloads(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	r := &hex.Repository{Name: "acme", PublicKey: &key.PublicKey}
	good := hextest.Payload(hex.Package{Name: "tiny", Repository: "acme", Releases: []hex.Release{{Version: "1.0.0", InnerChecksum: make([]byte, 32)}}})
	for name, c := range map[string]struct {
		payload []byte
		want    error
	}{
		"good":              {good, nil},
		"unknown fields":    {append(bytes.Clone(good), 0x20, 1, 0x2a, 1, 'x', 0x31, 0, 0, 0, 0, 0, 0, 0, 0, 0x3d, 0, 0, 0, 0), nil},
		"nothing":           {nil, hex.ErrRepository},
		"field zero":        {append(bytes.Clone(good), 0x02, 0), hex.ErrMalformed},
		"group":             {append(bytes.Clone(good), 0x23, 0x24), hex.ErrMalformed},
		"endless varint":    {append(bytes.Clone(good), bytes.Repeat([]byte{0xff}, 11)...), hex.ErrMalformed},
		"cut off":           {good[:len(good)-1], hex.ErrMalformed},
		"enormous length":   {append(bytes.Clone(good), 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), hex.ErrMalformed},
		"name as number":    {append(bytes.Clone(good), 0x10, 1), hex.ErrMalformed},
		"empty release":     {append(bytes.Clone(good), 0x0a, 0), hex.ErrMalformed},
		"short checksum":    {append(bytes.Clone(good), 0x0a, 6, 0x0a, 1, '1', 0x12, 1, 'x'), hex.ErrMalformed},
		"empty dependency":  {append(bytes.Clone(good), 0x0a, 5, 0x0a, 1, '1', 0x1a, 0), hex.ErrMalformed},
		"many dependencies": {append(bytes.Clone(good), bytes.Repeat([]byte{0x0a, 8, 0x0a, 1, '1', 0x1a, 3, 0x0a, 1, 'x'}, 60_000)...), hex.ErrTooLarge},
	} {
		signature, err := hextest.Sign(key, c.payload)
		if err != nil {
			t.Fatal(err)
		}
		p, err := r.Verify(hextest.Signed(c.payload, signature), "tiny")
		if !errors.Is(err, c.want) || err != nil && p.Name != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	signature, err := hextest.Sign(key, good)
	if err != nil {
		t.Fatal(err)
	}
	raw := hextest.Signed(good, signature)
	for name, raw := range map[string][]byte{
		"no gzip": good, "nothing": nil, "cut off": raw[:len(raw)-4], "trailing bytes": append(bytes.Clone(raw), "more"...),
		"no message": hextest.Gzip([]byte("text")), "empty": hextest.Gzip(nil),
	} {
		if _, err := r.Verify(raw, "tiny"); !errors.Is(err, hex.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Verify(hextest.Gzip(make([]byte, hex.MaxResourceText+1)), "tiny"); !errors.Is(err, hex.ErrTooLarge) {
		t.Error(err)
	}
}

func TestParsePublicKey(t *testing.T) {
	r, err := hextest.New("acme")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := r.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := hex.ParsePublicKey(text)
	if err != nil || !key.Equal(r.Repository().PublicKey) {
		t.Fatal(err)
	}
	old := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(key)})
	if again, err := hex.ParsePublicKey(old); err != nil || !again.Equal(key) {
		t.Error(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&curve.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "no pem": []byte("AAAA"), "another curve": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"garbage": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
		"private": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("x")}),
	} {
		if _, err := hex.ParsePublicKey(bad); !errors.Is(err, hex.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzPackage reads payloads behind the signature; what was read and written
// again reads the same.
func FuzzPackage(f *testing.F) {
	f.Add(hextest.Payload(hex.Package{Name: "tiny", Repository: "acme", Releases: []hex.Release{{
		Version: "1.0.0", InnerChecksum: make([]byte, 32), OuterChecksum: make([]byte, 32), Retired: &hex.Retirement{Reason: hex.RetiredRenamed, Message: "x"},
		Dependencies: []hex.Dependency{{Package: "a", Requirement: "~> 1.0", Optional: true, App: "b", Repository: "c"}},
	}}}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		p, err := hex.ReadPackage(payload)
		if err != nil {
			if p.Name != "" || p.Releases != nil {
				t.Fatalf("%v beside %v", p, err)
			}
			return
		}
		again, err := hex.ReadPackage(hextest.Payload(p))
		if err != nil || !cmp.Equal(p, again) {
			t.Fatalf("%v became %v (%v)", p, again, err)
		}
	})
}

// FuzzVerify reads whole answers: without the key nothing gets through.
func FuzzVerify(f *testing.F) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	r := &hex.Repository{Name: "acme", PublicKey: &key.PublicKey}
	payload := hextest.Payload(hex.Package{Name: "tiny", Repository: "acme"})
	f.Add(hextest.Signed(payload, make([]byte, 256)))
	f.Add(append([]byte{0x0a, byte(len(payload))}, payload...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, verify := range []func([]byte, string) (hex.Package, error){r.Verify, r.VerifySigned} {
			if p, err := verify(b, "tiny"); err == nil || p.Name != "" {
				t.Fatalf("%v was believed", p)
			}
		}
	})
}
