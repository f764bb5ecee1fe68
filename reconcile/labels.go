package reconcile

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"beamsandbox/distribution/term"
	"beamsandbox/images"
	"beamsandbox/reconcile/app"
	"beamsandbox/runtime"
)

// The labels of a task: all that a restarted daemon needs to know of it
// besides the commit.
const (
	labelRun      = "run"
	labelVersion  = "version"
	labelDir      = "dir"
	labelDepends  = "depends_on"
	labelEnvKeys  = "env_keys"
	labelImage    = "image"
	labelBuild    = "build"
	labelRevision = "revision"
	labelRelease  = "release"
	labelNotes    = "notes"
)

// maxLabel is the longest value kept; containerd refuses a label of more than
// 4096 bytes, key included.
const maxLabel = 3840

func (w *worker) labels() map[string]string {
	depends := make([]string, 0, len(w.spec.DependsOn))
	for _, d := range w.spec.DependsOn {
		depends = append(depends, string(d))
	}
	release, err := json.Marshal(bootable(w.image.Release))
	if err != nil { // strings always marshal
		release = nil
	}
	labels := map[string]string{
		labelRun:      w.spec.RunDigest(),
		labelVersion:  w.spec.Version,
		labelDir:      w.spec.Dir,
		labelDepends:  strings.Join(depends, ","),
		labelEnvKeys:  strings.Join(slices.Sorted(maps.Keys(w.spec.Env)), ","),
		labelImage:    w.image.Ref,
		labelBuild:    w.spec.BuildDigest(),
		labelRevision: w.image.Revision,
		labelRelease:  string(release),
	}
	if notes := noted(w.image.Notes); notes != "" {
		labels[labelNotes] = notes
	}
	if w.tls {
		labels[labelTLS] = "1"
	}
	// What is left out costs a restart of the guest at most.
	maps.DeleteFunc(labels, func(_, v string) bool { return len(v) > maxLabel })
	return labels
}

// noted is as many notes as a label holds, one a line.
func noted(notes []string) string {
	for n := len(notes); n > 0; n-- {
		if text := strings.Join(notes[:n], "\n"); len(text) <= maxLabel {
			return text
		}
	}
	return ""
}

func notesOf(t runtime.Task) []string {
	if t.Labels[labelNotes] == "" {
		return nil
	}
	return strings.Split(t.Labels[labelNotes], "\n")
}

func imageOf(t runtime.Task) (images.Image, bool) {
	var r runtime.Release
	if err := json.Unmarshal([]byte(t.Labels[labelRelease]), &r); err != nil || t.Labels[labelImage] == "" {
		return images.Image{}, false
	}
	i := images.Image{Name: t.Name, Ref: t.Labels[labelImage], Revision: t.Labels[labelRevision], Notes: notesOf(t), Cached: true,
		Release: images.Release{Name: r.Name, Version: r.Version, ERTS: r.ERTS, Root: r.Root}}
	if r.Entry != nil {
		i.Release.Entry = &images.Entry{Args: r.Entry.Args, Env: r.Entry.Env, Dir: r.Entry.Dir}
	}
	return i, true
}

// haveOfTask is what a restarted daemon knows of a guest.
func haveOfTask(t runtime.Task) Have {
	h := Have{Digest: t.Digest, RunDigest: t.Labels[labelRun], Version: t.Labels[labelVersion],
		Isolation: app.VM, Dir: t.Labels[labelDir], Pid: t.Pid, Env: map[string]term.Term{}}
	for _, k := range fields(t.Labels[labelEnvKeys]) {
		h.Env[k] = term.Atom("undefined")
	}
	for _, d := range fields(t.Labels[labelDepends]) {
		h.DependsOn = append(h.DependsOn, app.Name(d))
	}
	return h
}

func fields(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
