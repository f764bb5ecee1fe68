package hex

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// resourceFile is where the cache keeps the last answer about name: its ETag,
// a newline, and the answer. The name is a digest, so that equal names of
// other repositories and file systems without case keep apart.
func (r *Repository) resourceFile(name string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", r.URL, r.Name, name))
	return filepath.Join(r.Cache, "packages", hex.EncodeToString(sum[:]))
}

func (r *Repository) tarballFile(outer []byte) string {
	return filepath.Join(r.Cache, "tarballs", hex.EncodeToString(outer)+".tar")
}

func (r *Repository) readResource(name string) (raw []byte, etag string, ok bool) {
	b, ok := readBounded(r.resourceFile(name), MaxResource+512)
	tag, raw, found := bytes.Cut(b, []byte("\n"))
	return raw, cleanETag(string(tag)), ok && found
}

func (r *Repository) keepResource(name string, res Resource) error {
	if r.Cache == "" {
		return nil
	}
	return writeFile(r.resourceFile(name), append([]byte(res.ETag+"\n"), res.Raw...))
}

// readTarball gives what the cache holds under outer, if that is what it is.
func (r *Repository) readTarball(outer []byte) ([]byte, bool) {
	if r.Cache == "" {
		return nil, false
	}
	b, ok := readBounded(r.tarballFile(outer), MaxTarball)
	sum := sha256.Sum256(b)
	return b, ok && bytes.Equal(sum[:], outer)
}

func (r *Repository) keepTarball(outer, raw []byte) error {
	if r.Cache == "" {
		return nil
	}
	return writeFile(r.tarballFile(outer), raw)
}

// readBounded reads a file of at most limit bytes; a cache that cannot be
// read is an empty one.
func readBounded(name string, limit int64) ([]byte, bool) {
	f, err := os.Open(name)
	if err != nil {
		return nil, false
	}
	defer f.Close() //nolint:errcheck // opened to read
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	return b, err == nil && int64(len(b)) <= limit
}

// writeFile makes the file appear at once and whole.
func writeFile(name string, b []byte) (err error) {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep in cache: %w", err)
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("keep in cache: %w", err)
	}
	_, err = f.Write(b)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name()) //nolint:errcheck // the first error tells more
		return fmt.Errorf("keep in cache: %w", err)
	}
	return nil
}
