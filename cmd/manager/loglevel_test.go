package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	uberzap "go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// TestNoLevelLogsBodies: with level 8, client-go would log the Secrets that it reads.
func TestNoLevelLogsBodies(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for given, want := range map[int]zapcore.Level{0: 0, 1: -1, 7: -7, 8: -7, 100: -7} {
		asked := uberzap.NewAtomicLevelAt(zapcore.Level(-given))
		g.Expect(newLogLevel(zap.Options{Level: asked}).Level()).To(Equal(want), "%d", given)
	}
	g.Expect(newLogLevel(zap.Options{}).Level()).To(Equal(zapcore.InfoLevel))
	g.Expect(newLogLevel(zap.Options{Development: true}).Level()).To(Equal(zapcore.DebugLevel))
}

func TestTheLevelIsChangedWhileItRuns(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	level := newLogLevel(zap.Options{})
	ask := func(method, body string) (int, string) {
		w := httptest.NewRecorder()
		level.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, logLevelPath, strings.NewReader(body)))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	for _, tt := range []struct {
		method, body, answer string
		status               int
		level                zapcore.Level
	}{
		{http.MethodGet, "", `{"level":"info"}`, http.StatusOK, zapcore.InfoLevel},
		{http.MethodPut, `{"level":"debug"}`, `{"level":"debug"}`, http.StatusOK, zapcore.DebugLevel},
		{http.MethodPut, `{"level":"5"}`, `{"level":"5"}`, http.StatusOK, -5},
		{http.MethodPut, `{"level":7}`, `{"level":"7"}`, http.StatusOK, -7},
		{http.MethodPut, `{"level":"8"}`, "8 is above 7, from where on bodies of requests would be logged", http.StatusBadRequest, -7},
		{http.MethodPut, `{"level":"panic"}`, `"panic" is no level: debug, info, error, or a number from 1 to 7`, http.StatusBadRequest, -7},
		{http.MethodPut, `{}`, `"" is no level: debug, info, error, or a number from 1 to 7`, http.StatusBadRequest, -7},
		{http.MethodPut, `debug`, `the body has to be {"level":"debug"}`, http.StatusBadRequest, -7},
		{http.MethodPost, `{"level":"debug"}`, "GET or PUT", http.StatusMethodNotAllowed, -7},
		{http.MethodPut, `{"level":"error"}`, `{"level":"error"}`, http.StatusOK, zapcore.ErrorLevel},
	} {
		status, answer := ask(tt.method, tt.body)
		g.Expect(status).To(Equal(tt.status), "%s %s", tt.method, tt.body)
		g.Expect(answer).To(Equal(tt.answer))
		g.Expect(level.Level()).To(Equal(tt.level), "%s %s", tt.method, tt.body)
	}
}

// TestTheLevelIsNotForEveryone: without authorization it is not served.
func TestTheLevelIsNotForEveryone(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	g.Expect(metricsOptions(options{secureMetrics: true}).ExtraHandlers).To(HaveKey(logLevelPath))
	g.Expect(metricsOptions(options{}).ExtraHandlers).To(BeEmpty())
}
