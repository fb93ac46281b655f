package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const usage = `images makes the container images of the programs, and pushes them:

  images build --binaries dist/bin --out dist/images [flags]
  images push --from dist/images --registry registry.example.com/iot [flags]

In --binaries is a folder for each platform, such as linux/amd64, with the programs in it.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("say what to do: build or push")
	}
	switch args[0] {
	case "build":
		return runBuild(args[1:], out)
	case "push":
		return runPush(ctx, args[1:], out)
	default:
		return fmt.Errorf("unknown command %q: there are build and push", args[0])
	}
}

// commonFlags is a set of flags with the one that both commands have.
func commonFlags(command string) (*flag.FlagSet, *string) {
	flags := flag.NewFlagSet("images "+command, flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage+"\nFlags of "+command+":\n")
		flags.PrintDefaults()
	}
	return flags, flags.String("programs", "manager devicesim hubemulator kubectl-twin", "which, separated by spaces")
}

func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return nil
}

func runPush(ctx context.Context, args []string, out io.Writer) error {
	flags, names := commonFlags("push")
	from := flags.String("from", "", "folder that build has written to")
	registry := flags.String("registry", "", "host, and path if there is one, to push to")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *from == "" || *registry == "" {
		return errors.New("push needs --from and --registry")
	}
	list, err := find(strings.Fields(*names))
	if err != nil {
		return err
	}
	return push(ctx, *from, *registry, list, out)
}

func runBuild(args []string, out io.Writer) error {
	var r release
	flags, names := commonFlags("build")
	binaries := flags.String("binaries", "", "folder of the programs")
	dir := flags.String("out", "", "folder to write to")
	platforms := flags.String("platforms", "linux/amd64 linux/arm64", "which, separated by spaces")
	license := flags.String("license", "", "file with the licence's text")
	flags.StringVar(&r.version, "version", "", "version of the programs, which is the images' tag")
	flags.StringVar(&r.revision, "revision", "", "commit that they were built from")
	flags.StringVar(&r.registry, "registry", "", "host and path that the images are called after")
	if err := parse(flags, args); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"binaries": *binaries, "out": *dir, "license": *license, "version": r.version, "revision": r.revision, "registry": r.registry,
	} {
		if value == "" {
			return fmt.Errorf("build needs --%s", name)
		}
	}
	list, err := find(strings.Fields(*names))
	if err != nil {
		return err
	}
	if r.created, err = sourceDate(os.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return err
	}
	if r.license, err = os.ReadFile(*license); err != nil {
		return err
	}
	return build(r, list, strings.Fields(*platforms), *binaries, *dir, out)
}

// sourceDate is the time that everything in the images bears:
// https://reproducible-builds.org/specs/source-date-epoch/
func sourceDate(epoch string) (time.Time, error) {
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH has to be seconds since 1970, such as those of `git log -1 --format=%%ct`: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func build(r release, list []program, platforms []string, binaries, dir string, out io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	w := &writer{release: r, dir: dir}
	for _, p := range list {
		var images []platformImage
		for _, text := range platforms {
			platform, err := v1.ParsePlatform(text)
			if err != nil {
				return err
			}
			image, err := newImage(r, p, *platform, filepath.Join(binaries, filepath.FromSlash(text), p.name))
			if err != nil {
				return err
			}
			images = append(images, image)
		}
		if err := w.write(p, images, out); err != nil {
			return err
		}
	}
	return w.finish()
}
