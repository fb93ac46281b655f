package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	uberzap "go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// logLevelPath is where those who may change the level of the log do: beside the metrics, to clients that the API
// server authorizes for the path.
const logLevelPath = "/log-level"

// mostVerbose is the last level at which client-go logs no bodies of requests and answers,
// which may be Secrets, or tokens of service accounts.
const mostVerbose = 7

// logLevel is the level of the log, which can be changed while the program runs.
type logLevel struct{ uberzap.AtomicLevel }

// newLogLevel begins with the level that the flags ask for, and with zap's default without one.
func newLogLevel(logging zap.Options) logLevel {
	level := zapcore.InfoLevel
	if logging.Development {
		level = zapcore.DebugLevel
	}
	if asked, ok := logging.Level.(uberzap.AtomicLevel); ok {
		level = asked.Level()
	}
	return logLevel{uberzap.NewAtomicLevelAt(max(level, -mostVerbose))}
}

// parseLevel reads a level as --zap-log-level takes it: a name, or how verbose it is to be.
func parseLevel(text string) (zapcore.Level, error) {
	if verbosity, err := strconv.ParseInt(text, 10, 8); err == nil && verbosity > 0 {
		if verbosity > mostVerbose {
			return 0, fmt.Errorf("%d is above %d, from where on bodies of requests would be logged", verbosity, mostVerbose)
		}
		return zapcore.Level(-verbosity), nil
	}
	if level, err := zapcore.ParseLevel(text); text != "" && err == nil && level <= zapcore.ErrorLevel {
		return level, nil
	}
	return 0, fmt.Errorf("%q is no level: debug, info, error, or a number from 1 to %d", text, mostVerbose)
}

// ServeHTTP tells the level, and takes another: {"level":"debug"}.
func (l logLevel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
	case http.MethodPut:
		var asked struct {
			Level json.RawMessage `json:"level"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&asked); err != nil {
			http.Error(w, `the body has to be {"level":"debug"}`, http.StatusBadRequest)
			return
		}
		text := string(asked.Level)
		_ = json.Unmarshal(asked.Level, &text) // a number stays as it is written
		level, err := parseLevel(text)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l.SetLevel(level)
	default:
		w.Header().Set("Allow", "GET, PUT")
		http.Error(w, "GET or PUT", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, "{\"level\":%q}\n", spell(l.Level())) // a client that went needs no answer
}

// spell is what parseLevel reads as the level.
func spell(level zapcore.Level) string {
	if level < zapcore.DebugLevel {
		return strconv.Itoa(-int(level))
	}
	return level.String()
}
