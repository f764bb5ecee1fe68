package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	goruntime "runtime"
	"slices"
	"strings"
	"time"

	core "github.com/containerd/containerd/v2/core/images"
)

// ErrBuilder says that the configured builder image does not do.
var ErrBuilder = errors.New("the configured builder image does not do")

// byDigest is an image's address that always names the same one.
var byDigest = regexp.MustCompile(`^[^@\s]+@sha256:[0-9a-f]{64}$`)

// checkBuilderAddress refuses what may be another image tomorrow; an archive is
// read whole and has a checksum of its own.
func checkBuilderAddress(address string) error {
	if _, archive := archivePath(address); address == "" || archive || byDigest.MatchString(address) {
		return nil
	}
	return fmt.Errorf("open builder image %.200q: it is neither registry/name@sha256:… nor an archive's file:///…", address)
}

// planConfigured names the configured builder after its digest and the Erlang
// that it must hold. One image serves both kinds.
func (s *Store) planConfigured() (builder, error) {
	seen := times{}
	if path, ok := archivePath(s.builderFrom); ok {
		info, err := os.Stat(path)
		if err != nil {
			return builder{}, fmt.Errorf("open the builder image: %w", err)
		}
		seen[path] = info.ModTime()
	}
	revision, err := s.resolveImage(context.Background(), s.builderFrom) // asks nobody
	if err != nil {
		return builder{}, err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []string{"builder image", revision, goruntime.GOARCH, s.otp.release, s.otp.erts}))
	key := hex.EncodeToString(sum[:])
	return builder{ref: refPrefix + "builder:" + key[:12], key: key, revision: revision, seen: seen}, nil
}

// obtainBuilder brings the configured builder into the store and tries it; its
// label comes last, and tells that it did well.
func (s *Store) obtainBuilder(ctx context.Context, b builder) (core.Image, error) {
	i := core.Image{Name: b.ref, Labels: map[string]string{labelSource: short("image " + s.builderFrom)}}
	if err := s.fetchBuilder(ctx, b, i); err != nil {
		return i, fmt.Errorf("fetch builder image %s: %w", s.builderFrom, err)
	}
	offers, err := s.tryBuilder(ctx, b)
	if err != nil {
		return i, errors.Join(err, s.depot.remove(context.WithoutCancel(ctx), false, b.ref))
	}
	if i, err = s.depot.client.ImageService().Get(s.depot.in(ctx), b.ref); err != nil {
		return i, fmt.Errorf("find builder image %s again: %w", s.builderFrom, err)
	}
	i.Labels[labelBuilder], i.Labels[labelOffers] = b.key, strings.Join(offers, " ")
	s.log.Info("took the configured builder image", "image", s.builderFrom, "offers", i.Labels[labelOffers])
	return i, s.depot.name(s.depot.in(ctx), i)
}

func (s *Store) fetchBuilder(ctx context.Context, b builder, i core.Image) error {
	ctx, done, err := s.depot.client.WithLease(s.depot.in(ctx))
	if err != nil {
		return fmt.Errorf("lease content: %w", err)
	}
	defer func() { _ = done(context.WithoutCancel(ctx)) }() // it expires by itself
	target, err := s.fetchImage(ctx, s.builderFrom, b.revision)
	if err != nil {
		return err
	}
	return s.depot.adopt(ctx, target, i, nil)
}

// tryBuilder asks the image itself, behind the walls of a build, whether it has
// what builds call, and returns which tools it offers.
func (s *Store) tryBuilder(ctx context.Context, b builder) (offers []string, err error) {
	work, err := s.workDir("builder")
	if err != nil {
		return nil, err
	}
	defer work.remove() //nolint:errcheck // New clears what is left
	said := &bytes.Buffer{}
	exit, err := s.sandbox.Run(ctx, Job{
		Name: work.job(), Image: b.ref, Args: []string{"/usr/bin/sh", "-c", trial()}, Env: builderEnv(), Dir: "/build/src",
		Mounts: []Mount{{Source: work.guest, Target: "/build"}}, Memory: s.memory, Pids: builderPids, Timeout: time.Minute,
		ProxyPort: proxyPort, Proxy: (&proxy{name: "builder", log: said, allowed: map[string]bool{}}).serve, Log: said,
	})
	if err != nil {
		return nil, fmt.Errorf("try builder image %s: %w: it must run /usr/bin/sh: %s", s.builderFrom, ErrBuilder, printable(err.Error()))
	}
	return s.judgeBuilder(exit, said.String())
}

// builderNeeds are the programs that a builder must hold.
func builderNeeds() []string {
	all := append([]string{"erl", "erlc", "escript", "rebar3"}, tools...)
	return slices.DeleteFunc(all, func(t string) bool { return slices.Contains(optional, t) })
}

// trial is what is asked: each line of the answer is a word and what it is
// about.
func trial() string {
	return `for t in ` + strings.Join(builderNeeds(), " ") + `; do command -v $t >/dev/null || echo "lacks $t"; done
[ -x "$(git --exec-path)/git-remote-http" ] || echo "lacks git-remote-http"
command -v mix >/dev/null && command -v elixir >/dev/null && echo "offers mix"
command -v gcc >/dev/null && echo "offers gcc"
erl -noshell -eval 'io:format("holds ~s ~s~n", [erlang:system_info(otp_release), erlang:system_info(version)]), halt().'`
}

func (s *Store) judgeBuilder(exit int, said string) (offers []string, err error) {
	about := map[string][]string{}
	for line := range strings.Lines(said) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		about[word] = append(about[word], rest)
	}
	holds := strings.Join(about["holds"], " ")
	switch {
	case about["lacks"] != nil:
		return nil, fmt.Errorf("try builder image %s: %w: it lacks %s in /usr/bin", s.builderFrom, ErrBuilder, printable(strings.Join(about["lacks"], ", ")))
	case exit != 0 || holds == "":
		return nil, fmt.Errorf("try builder image %s: %w: erl ended with status %d: %s", s.builderFrom, ErrBuilder, exit, printable(said))
	case holds != s.otp.release+" "+s.otp.erts:
		return nil, fmt.Errorf("try builder image %s: %w: it holds OTP and ERTS %s, this machine's Erlang, which guests run on, is %s %s",
			s.builderFrom, ErrBuilder, printable(holds), s.otp.release, s.otp.erts)
	}
	return append([]string{"rebar3"}, about["offers"]...), nil
}

// offers says what a builder lacks for a kind of project, nil when it has all.
func (s *Store) offers(i core.Image, kind string) error {
	if s.builderFrom != "" && kind == elixirBuilder && !slices.Contains(strings.Fields(i.Labels[labelOffers]), "mix") {
		return fmt.Errorf("%w: %s has no elixir and mix in /usr/bin, which mix projects need", ErrBuilder, s.builderFrom)
	}
	return nil
}
