package main

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
)

func TestParseOptions(t *testing.T) {
	t.Parallel()
	base := options{bin: "bin", assets: "/assets", root: "."}
	with := func(change func(*options)) options { o := base; change(&o); return o }
	for name, test := range map[string]struct {
		args []string
		want options
	}{
		"plain":          {nil, base},
		"check is idle":  {[]string{"--check"}, with(func(o *options) { o.check, o.idle = true, true })},
		"not after kill": {[]string{"--check", "--kill-after", "b"}, with(func(o *options) { o.check, o.killAfter = true, "b" })},
		"not when broken": {[]string{"--check", "--break=h"},
			with(func(o *options) { o.check, o.breakStep = true, "h" })},
		"asked for": {[]string{"--check", "--kill-after", "b", "--idle"},
			with(func(o *options) { o.check, o.killAfter, o.idle = true, "b", true })},
		"declined": {[]string{"--check", "--idle=false"}, with(func(o *options) { o.check = true })},
		"empty letters, as make passes them": {[]string{"--check", "--kill-after=", "--break="},
			with(func(o *options) { o.check, o.idle = true, true })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseOptions(append([]string{"--assets", "/assets"}, test.args...), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestParseOptionsRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args      []string
		complaint string
	}{
		"no assets":        {nil, "--assets"},
		"a letter too far": {[]string{"--assets=x", "--kill-after=k"}, "--kill-after"},
		"two letters":      {[]string{"--assets=x", "--break=ab"}, "--break"},
		"both":             {[]string{"--assets=x", "--break=a", "--kill-after=a"}, "separate"},
		"a cast checked":   {[]string{"--assets=x", "--cast=f", "--check"}, "--cast"},
		"an argument":      {[]string{"--assets=x", "more"}, "more"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseOptions(test.args, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.complaint) {
				t.Errorf("got %v, want a complaint about %s", err, test.complaint)
			}
		})
	}
}

func TestHelpNamesEveryBreak(t *testing.T) {
	t.Parallel()
	var help strings.Builder
	if _, err := parseOptions([]string{"--help"}, &help); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("got %v", err)
	}
	for _, letter := range letters {
		if !strings.Contains(help.String(), "\n  "+string(letter)+"  ") {
			t.Errorf("the help does not say what --break %c removes", letter)
		}
	}
}
