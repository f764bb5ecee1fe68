package hex

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The four parts of a package tarball (package_tarball.md, version 3).
const (
	partVersion  = "VERSION"
	partChecksum = "CHECKSUM"
	partMetadata = "metadata.config"
	partContents = "contents.tar.gz"
)

// An Archive is a package tarball whose checksums hold. Its contents are
// still somebody's files: Check, Walk and Unpack hold them to the rules.
type Archive struct {
	Metadata Metadata
	Inner    []byte // SHA-256 over VERSION, metadata.config and contents.tar.gz
	contents []byte
}

// Open holds raw against outer, the SHA-256 that a signed registry answer or
// a lock file gives for it, before anything in it is read; then against its
// own inner checksum. Errors: ErrChecksum, ErrTooLarge, ErrMalformed.
func Open(raw, outer []byte) (*Archive, error) {
	if len(raw) > MaxTarball {
		return nil, fmt.Errorf("%w: the tarball has more than %d MB", ErrTooLarge, MaxTarball>>20)
	}
	if sum := sha256.Sum256(raw); !bytes.Equal(sum[:], outer) {
		return nil, fmt.Errorf("%w: the tarball's SHA-256 is %x, the registry's or lock file's %.32x", ErrChecksum, sum, outer)
	}
	a, err := open(raw)
	if err != nil {
		return nil, fmt.Errorf("open package tarball: %w", err)
	}
	return a, nil
}

func open(raw []byte) (*Archive, error) {
	parts, err := readParts(raw)
	if err != nil {
		return nil, err
	}
	if v := string(parts[partVersion]); v != "3" {
		return nil, fmt.Errorf("%w: its VERSION is %.10q instead of 3", ErrMalformed, v)
	}
	h := sha256.New()
	for _, name := range []string{partVersion, partMetadata, partContents} {
		h.Write(parts[name])
	}
	a := &Archive{Inner: h.Sum(nil), contents: parts[partContents]}
	if !strings.EqualFold(hex.EncodeToString(a.Inner), string(parts[partChecksum])) {
		return nil, fmt.Errorf("%w: its own CHECKSUM is %.64q, its parts give %X", ErrChecksum, parts[partChecksum], a.Inner)
	}
	a.Metadata, err = ParseMetadata(parts[partMetadata])
	if err != nil {
		return nil, err
	}
	return a, nil
}

// readParts reads the four parts, each exactly once and nothing else.
func readParts(raw []byte) (map[string][]byte, error) {
	limits := map[string]int64{partVersion: 16, partChecksum: 64, partMetadata: MaxMetadata, partContents: MaxTarball}
	parts := make(map[string][]byte, len(limits))
	t := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		limit, known := limits[h.Name]
		switch {
		case !known || h.Typeflag != tar.TypeReg || parts[h.Name] != nil:
			return nil, fmt.Errorf("%w: it has %.100q, which is not one of its four files, or there twice", ErrMalformed, h.Name)
		case h.Size > limit:
			return nil, fmt.Errorf("%w: its %s has %d bytes, more than %d", ErrTooLarge, h.Name, h.Size, limit)
		}
		// Sparse entries claim what they do not hold.
		b, err := io.ReadAll(io.LimitReader(t, limit))
		if err != nil {
			return nil, fmt.Errorf("%w: read %s: %w", ErrMalformed, h.Name, err)
		}
		parts[h.Name] = b
	}
	if len(parts) != len(limits) {
		return nil, fmt.Errorf("%w: it has %d of its four files", ErrMalformed, len(parts))
	}
	return parts, nil
}
