package judge

import (
	"math"
	"time"
)

// bucket holds a sender to a rate with bursts of one second's worth, or of
// burst where that is set. Time is told to it; it never goes back.
type bucket struct {
	rate, level float64 // a second; negative: no limit
	burst       float64
	last        time.Time
}

// burstOf is a full bucket for so many at once, then rate of them a second.
func burstOf(burst, rate float64) bucket { return bucket{rate: rate, burst: burst, level: burst} }

func (b *bucket) set(rate float64) {
	if b.rate == 0 {
		b.level = rate
	}
	b.rate = rate
	if rate >= 0 {
		b.level = min(b.level, rate)
	}
}

// take takes n out and returns how long to wait until it is no longer
// overdrawn.
func (b *bucket) take(now time.Time, n float64) time.Duration {
	if b.rate < 0 {
		return 0
	}
	if passed := now.Sub(b.last).Seconds(); passed > 0 {
		b.level = math.Min(max(b.rate, b.burst), b.level+passed*b.rate)
		b.last = now
	}
	b.level -= n
	if b.level >= 0 || b.rate == 0 {
		return 0
	}
	return time.Duration(-b.level / b.rate * float64(time.Second))
}

// allow is take for what is lost when it comes too fast: nothing is overdrawn.
func (b *bucket) allow(now time.Time) bool {
	if b.take(now, 1) == 0 {
		return true
	}
	b.level++
	return false
}
