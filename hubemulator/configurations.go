package hubemulator

import (
	"context"
	"time"
)

// firstEvaluation is how long a written configuration waits for its first
// evaluation. IoT Hub documents that to be shortly after.
const firstEvaluation = 10 * time.Second

// maxFreeConfigurations is how many configurations a free IoT Hub holds.
const maxFreeConfigurations = 10

// maxConfigurations is 0 for as many as the store allows by default.
func maxConfigurations(tier string) int {
	if tier == "F1" {
		return maxFreeConfigurations
	}
	return 0
}

// Evaluation is what one evaluation of all configurations came to.
type Evaluation struct {
	// Configurations is how many there were.
	Configurations int `json:"configurations"`
	// TwinsWritten is how many twins did not hold what they should, and do now.
	TwinsWritten int `json:"twinsWritten"`
	// TwinsRefused is how many devices or modules could not take what they
	// should hold, for instance because it would be too large; Refusal is why,
	// of the last one.
	TwinsRefused int    `json:"twinsRefused"`
	Refusal      string `json:"refusal,omitempty"`
}

// EvaluateConfigurations evaluates all configurations now, rather than when it
// is time, and returns when it is done: what they want is in the twins then,
// their status too, and their metrics are counted.
func (s *Server) EvaluateConfigurations(ctx context.Context) (Evaluation, error) {
	done, err := s.store.EvaluateConfigurations(ctx)
	result := Evaluation{Configurations: done.Configurations, TwinsWritten: done.Written, TwinsRefused: done.Refused}
	if done.Refusal != nil {
		result.Refusal = done.Refusal.Error()
	}
	return result, err
}

// keepEvaluating evaluates configurations when it is time, until ctx ends. It
// sleeps while there are none.
func (s *Server) keepEvaluating(ctx context.Context) error {
	interval := s.opts.ConfigurationInterval
	due := s.opts.Clock.Now().Add(interval)
	for {
		written, isDue := s.awaitEvaluation(ctx, due)
		now := s.opts.Clock.Now()
		switch {
		case ctx.Err() != nil:
			return nil
		case written:
			if soon := now.Add(min(firstEvaluation, interval)); soon.Before(due) || !now.Before(due) {
				due = soon
			}
		case isDue:
			if err := s.evaluateOnTime(ctx); err != nil {
				return err
			}
			due = s.opts.Clock.Now().Add(interval)
		}
	}
}

// awaitEvaluation waits until configurations are written or due, or ctx ends.
func (s *Server) awaitEvaluation(ctx context.Context, due time.Time) (written, isDue bool) {
	var timeout <-chan time.Time // never, without configurations
	if s.store.HasConfigurations() {
		timer := s.opts.Clock.NewTimer(due.Sub(s.opts.Clock.Now()))
		defer timer.Stop()
		timeout = timer.C()
	}
	select {
	case <-ctx.Done():
		return false, false
	case <-s.store.ConfigurationsWritten():
		return true, false
	case <-timeout:
		return false, true
	}
}

func (s *Server) evaluateOnTime(ctx context.Context) error {
	result, err := s.EvaluateConfigurations(ctx)
	if result.TwinsRefused > 0 {
		s.opts.Logger.Warn("Twins cannot take what configurations want", "twins", result.TwinsRefused, "last", result.Refusal)
	}
	if ctx.Err() != nil {
		return nil // the hub stops
	}
	return err
}
