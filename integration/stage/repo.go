package stage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Repo is a git repository in the stage's folder.
type Repo struct{ Dir string }

// NewRepo makes a repository called name out of a folder's files and commits
// them on branch main.
func (s *Stage) NewRepo(name, from string) (*Repo, error) {
	r := &Repo{Dir: s.Path("repos", name)}
	if err := os.RemoveAll(r.Dir); err != nil {
		return nil, err
	}
	if err := os.CopyFS(r.Dir, os.DirFS(from)); err != nil {
		return nil, fmt.Errorf("copy %s: %w", from, err)
	}
	if err := r.git("init", "-q", "-b", "main"); err != nil {
		return nil, err
	}
	return r, r.Commit("Start from " + filepath.Base(from))
}

// URL is the repository's address.
func (r *Repo) URL() string { return "file://" + r.Dir }

// Write puts a file into the work tree; nil data removes it.
func (r *Repo) Write(path string, data []byte) error {
	full := filepath.Join(r.Dir, path)
	if data == nil {
		return os.RemoveAll(full)
	}
	return errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, data, 0o644))
}

// Read reads a file of the work tree.
func (r *Repo) Read(path string) ([]byte, error) {
	return os.ReadFile(filepath.Join(r.Dir, path))
}

// Commit commits all there is.
func (r *Repo) Commit(message string) error {
	return errors.Join(r.git("add", "-A"), r.git("commit", "-q", "--allow-empty", "-m", message))
}

// Tag names the newest commit.
func (r *Repo) Tag(name string) error { return r.git("tag", name) }

// Git runs git in the repository.
func (r *Repo) Git(args ...string) error { return r.git(args...) }

func (r *Repo) git(args ...string) error {
	args = append([]string{"-c", "user.name=demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false"}, args...)
	if out, err := run(r.Dir, "git", args...); err != nil {
		return fmt.Errorf("git %v in %s: %w: %s", args[6:], r.Dir, err, out)
	}
	return nil
}

// Head is the newest commit's hash.
func (r *Repo) Head() (string, error) { return run(r.Dir, "git", "rev-parse", "HEAD") }
