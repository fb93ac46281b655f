package devicesim

import (
	"context"
	"fmt"
	"log/slog"
)

// transportLogger passes the library's messages on, without its debug output,
// which shows what is sent.
type transportLogger struct{ log *slog.Logger }

func (l transportLogger) Errorf(format string, v ...any) { l.print(slog.LevelError, format, v) }

func (l transportLogger) Warnf(format string, v ...any) { l.print(slog.LevelWarn, format, v) }

func (l transportLogger) Infof(format string, v ...any) { l.print(slog.LevelInfo, format, v) }

// Debugf drops the message.
func (transportLogger) Debugf(string, ...any) {}

func (l transportLogger) print(level slog.Level, format string, v []any) {
	l.log.Log(context.Background(), level, fmt.Sprintf(format, v...))
}
