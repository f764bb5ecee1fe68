package links

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Plan is how much is measured; every figure is the median of its rounds.
type Plan struct {
	Rounds int
	Trips  int           // round trips a round
	Sizes  []int         // of messages, in bytes
	Each   time.Duration // about how long each flood is to take when linked directly
}

// Figures is what one way of linking gave.
type Figures struct {
	P50, P99 float64      // of a round trip, in microseconds
	CPU      float64      // of the gateway for a round trip, in microseconds
	From, To map[int]Rate // messages of the guest, and to it, by their size
}

// Rate is how fast messages of one size pass.
type Rate struct {
	MB  float64 // a second, of 1e6 bytes
	CPU float64 // of the gateway for one message, in microseconds
}

// samples are the values of the rounds, by way and by what was measured.
type samples map[Way]map[string][]float64

func (s samples) add(way Way, what string, v float64) {
	if s[way] == nil {
		s[way] = map[string][]float64{}
	}
	s[way][what] = append(s[way][what], v)
}

func (s samples) median(way Way, what string) float64 {
	all := slices.Sorted(slices.Values(s[way][what]))
	if len(all) == 0 {
		return 0
	}
	return all[len(all)/2]
}

// Pair measures the ways in turns, so that all see the same machine.
func (r *Rig) Pair(ctx context.Context, p Plan, ways ...Way) (map[Way]Figures, error) {
	if err := r.startGuest(ctx); err != nil {
		return nil, err
	}
	s, counts := samples{}, map[string]int{}
	for range p.Rounds {
		for _, way := range ways {
			if err := r.link(ctx, way); err != nil {
				return nil, err
			}
			if err := r.round(ctx, p, way, s, counts); err != nil {
				return nil, fmt.Errorf("measure %s: %w", way, err)
			}
		}
	}
	all := map[Way]Figures{}
	for _, way := range ways {
		all[way] = s.figures(way, p.Sizes)
	}
	return all, nil
}

func (s samples) figures(way Way, sizes []int) Figures {
	f := Figures{
		P50: s.median(way, "p50"), P99: s.median(way, "p99"), CPU: s.median(way, "cpu"),
		From: map[int]Rate{}, To: map[int]Rate{},
	}
	for _, size := range sizes {
		f.From[size] = Rate{s.median(way, key("from", size)), s.median(way, "cpu "+key("from", size))}
		f.To[size] = Rate{s.median(way, key("to", size)), s.median(way, "cpu "+key("to", size))}
	}
	return f
}

func key(dir string, size int) string { return dir + strconv.Itoa(size) }

// round measures one way once.
func (r *Rig) round(ctx context.Context, p Plan, way Way, s samples, counts map[string]int) error {
	var trips []time.Duration
	cpu, err := r.spent(ctx, func() (err error) {
		trips, err = r.roundTrips(ctx, p.Trips)
		return err
	})
	if err != nil {
		return err
	}
	s.add(way, "p50", micro(trips[len(trips)/2]))
	s.add(way, "p99", micro(trips[len(trips)*99/100]))
	s.add(way, "cpu", micro(cpu)/float64(p.Trips+p.Trips/10))
	for _, size := range p.Sizes {
		for _, dir := range []string{"from", "to"} {
			if err := r.rate(ctx, p, way, dir, size, s, counts); err != nil {
				return err
			}
		}
	}
	return nil
}

// rate measures one flood; the first one of its kind says how many messages
// all others take.
func (r *Rig) rate(ctx context.Context, p Plan, way Way, dir string, size int, s samples, counts map[string]int) error {
	k := key(dir, size)
	if counts[k] == 0 {
		n := max(50, 10_000_000/(size+500))
		took, err := r.flood(ctx, dir, size, n)
		if err != nil {
			return err
		}
		counts[k] = max(20, int(float64(n)*float64(p.Each)/float64(took)))
	}
	n := float64(counts[k])
	var took time.Duration
	cpu, err := r.spent(ctx, func() (err error) {
		took, err = r.flood(ctx, dir, size, counts[k])
		return err
	})
	if err == nil {
		s.add(way, k, n*float64(size)/1e6/took.Seconds())
		s.add(way, "cpu "+k, micro(cpu)/n)
	}
	return err
}

// spent is the gateway's processor time while do runs.
func (r *Rig) spent(ctx context.Context, do func() error) (time.Duration, error) {
	pid, err := r.Pid(ctx)
	if err != nil {
		return 0, err
	}
	before, err := cpuOf(pid)
	if err == nil {
		err = do()
	}
	if err != nil {
		return 0, err
	}
	after, err := cpuOf(pid)
	return after - before, err
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// cpuOf is the processor time of a process's threads, by the scheduler's own
// account (proc(5), schedstat).
func cpuOf(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("read processor time of process %d: it has no threads", pid)
	}
	var sum time.Duration
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", f, err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}
