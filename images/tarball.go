package images

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// ErrDigest says that a download is not what its checksum names. It does not
// mend itself: the source or its sha256 must change.
var ErrDigest = errors.New("checksum mismatch")

// downloadTimeout bounds one download, and maxDownload its size in bytes.
const (
	downloadTimeout = 10 * time.Minute
	maxDownload     = 1 << 30
)

// releaseSource takes a release that somebody else built: a tarball over
// https or http, or a file of this machine, with a SHA-256 that is checked
// before the first byte is unpacked.
type releaseSource struct {
	transport http.RoundTripper // nil: Go's own
}

// resolve asks nobody: the checksum is the revision.
func (releaseSource) resolve(_ context.Context, r Recipe) (string, error) {
	sum := strings.ToLower(r.Source.SHA256)
	if _, err := hex.DecodeString(sum); err != nil || len(sum) != 2*sha256.Size {
		return "", fmt.Errorf("read the sha256 of the release: %.80q is not 64 hex digits", r.Source.SHA256)
	}
	return sum, nil
}

// extract downloads the tarball beside dir, verifies it and unpacks it.
func (s releaseSource) extract(ctx context.Context, r Recipe, revision, dir string) error {
	body, err := s.open(ctx, r.Source.URL)
	if err != nil {
		return err
	}
	defer body.Close()
	return extractVerified(body, stripUser(r.Source.URL), revision, dir)
}

// open starts the download.
func (s releaseSource) open(ctx context.Context, address string) (io.ReadCloser, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("read the address of the release: %w", err)
	}
	switch u.Scheme {
	case "file":
		f, err := os.Open(filepath.FromSlash(u.Path))
		if err != nil {
			return nil, fmt.Errorf("open the release: %w", err)
		}
		return f, nil
	case "https", "http":
		return s.get(ctx, address)
	}
	return nil, fmt.Errorf("download %s: the address begins neither with https:// nor with http:// nor with file:///", stripUser(address))
}

// get answers with the body; closing it ends the download.
func (s releaseSource) get(ctx context.Context, address string) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("download %s: %w", stripUser(address), err)
	}
	// A transport that unpacks by itself would change what the checksum names.
	req.Header.Set("Accept-Encoding", "identity")
	client := &http.Client{Transport: s.transport, CheckRedirect: staySecure}
	res, err := client.Do(req)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("download the release: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		cancel()
		return nil, fmt.Errorf("download %s: the server answered %s", stripUser(address), res.Status)
	}
	return download{res.Body, cancel}, nil
}

// staySecure follows ten redirects, and none from https to anything else.
func staySecure(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("more than 10 redirects")
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("it leads from https to %s", req.URL.Scheme)
	}
	return nil
}

type download struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (d download) Close() error {
	defer d.cancel()
	return d.ReadCloser.Close()
}

// extractVerified keeps what body holds in a file beside dir, checks its
// SHA-256 (lower-case hex) and only then unpacks it below dir.
func extractVerified(body io.Reader, from, sum, dir string) error {
	f, err := os.CreateTemp(filepath.Dir(dir), "download-")
	if err != nil {
		return fmt.Errorf("download %s: %w", from, err)
	}
	defer f.Close()
	defer os.Remove(f.Name()) //nolint:errcheck // the work folder goes anyway
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(body, maxDownload+1))
	if err != nil {
		return fmt.Errorf("download %s: %w", from, err)
	}
	if n > maxDownload {
		return fmt.Errorf("download %s: it is larger than %d MB", from, maxDownload>>20)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return fmt.Errorf("verify %s: %w: its sha256 is %s, the source says %s", from, ErrDigest, got, sum)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("unpack %s: %w", from, err)
	}
	if err := untar(f, dir); err != nil {
		return fmt.Errorf("unpack %s: %w", from, err)
	}
	return nil
}

// untar unpacks a tar archive, gzipped or plain, below the empty folder dir.
// Devices, hard links, links out of the tree, paths out of the tree and
// archives beyond the bounds are refused; owners and times are not kept.
func untar(r io.Reader, dir string) error {
	buffered := bufio.NewReaderSize(r, 64<<10)
	magic, err := buffered.Peek(2)
	if err != nil {
		return fmt.Errorf("read the archive: %w", err)
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return extract(dir, members(tar.NewReader(buffered)))
	}
	z, err := gzip.NewReader(buffered)
	if err != nil {
		return fmt.Errorf("read the archive: %w", err)
	}
	defer z.Close() //nolint:errcheck // reading it all told what was wrong
	return extract(dir, members(tar.NewReader(z)))
}

// members yields the files and links of an archive. Each must be read before
// the next one is asked for.
func members(t *tar.Reader) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for count := 0; ; count++ {
			h, err := t.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && count > 4*maxFiles {
				err = fmt.Errorf("it has more than %d members", 4*maxFiles)
			}
			if err != nil {
				yield(entry{}, fmt.Errorf("read the archive: %w", err))
				return
			}
			e, ok, err := member(t, h)
			if !ok {
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// member turns one header into an entry; folders (ok is false) come with
// their files.
func member(t *tar.Reader, h *tar.Header) (e entry, ok bool, err error) {
	e = entry{path: strings.TrimPrefix(h.Name, "./"), mode: fs.FileMode(h.Mode).Perm(), size: h.Size}
	switch h.Typeflag {
	case tar.TypeDir:
		// One that leaves the tree tells of a hostile archive.
		p := path.Clean(h.Name)
		return e, p != "." && !fs.ValidPath(p), checkFolder(p)
	case tar.TypeReg:
		e.open = func() (io.ReadCloser, error) { return io.NopCloser(t), nil }
	case tar.TypeSymlink:
		e.mode |= fs.ModeSymlink
		e.size = int64(len(h.Linkname))
		e.open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(h.Linkname)), nil }
	case tar.TypeXGlobalHeader:
		return e, false, nil
	default:
		return e, true, fmt.Errorf("%.200q is neither a file, a folder nor a symbolic link (type %q)", h.Name, h.Typeflag)
	}
	return e, true, nil
}

func checkFolder(p string) error {
	if p == "." || fs.ValidPath(p) {
		return nil
	}
	return fmt.Errorf("the folder %.200q is not local to the tree", p)
}
