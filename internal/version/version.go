// Package version says what this program was built from. It imports the standard library only.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the Makefile's linker flags to the content of the file VERSION. A plain
// go build may be of any source, and does not claim to be a release.
var version = "devel"

// Get is the release that this program is, such as 0.1.0; "devel" where it was not built by the Makefile.
func Get() string { return version }

// Line is what the program called name prints for --version: release, commit, Go version and platform.
func Line(name string) string {
	var settings []debug.BuildSetting
	if info, ok := debug.ReadBuildInfo(); ok {
		settings = info.Settings
	}
	return fmt.Sprintf("%s %s (commit %s, %s, %s/%s)", name, version, commit(settings), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// commit is what the Go command noted of the repository, with -dirty after it where files differed from it; "unknown"
// where it found none.
func commit(settings []debug.BuildSetting) string {
	revision, suffix := "unknown", ""
	for _, setting := range settings {
		switch setting.Key {
		case "vcs.revision":
			revision = setting.Value
		case "vcs.modified":
			if setting.Value == "true" {
				suffix = "-dirty"
			}
		}
	}
	return revision + suffix
}
