package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/controlplane"
)

// directories are the places the demo writes to. work holds data, keys and
// manifests and is always removed; logs holds no credential.
type directories struct {
	work, logs string
	// logsGiven: the user named the folder for logs, so it is the user's.
	logsGiven bool
}

func newDirectories(keepLogs string) (*directories, error) {
	work, err := os.MkdirTemp("", "devicetwin-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	d := &directories{work: work, logs: keepLogs, logsGiven: keepLogs != ""}
	if d.logsGiven {
		err = errors.Join(os.MkdirAll(d.logs, 0o755), removeOldLogs(d.logs))
	} else {
		d.logs, err = os.MkdirTemp("", "devicetwin-demo-logs-")
	}
	if err == nil {
		d.logs, err = filepath.Abs(d.logs)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the folder for logs: %w", err), os.RemoveAll(work))
	}
	return d, nil
}

// removeOldLogs removes what an earlier run left in a folder it was given: the
// audit log of another cluster would be taken for ours.
func removeOldLogs(dir string) error {
	var err error
	for _, name := range []string{"etcd.log", "kube-apiserver.log", "hubemulator.log", "manager.log", "devicesim.log", controlplane.AuditLogName} {
		if e := os.Remove(filepath.Join(dir, name)); !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// in returns a path below the working folder.
func (d *directories) in(elements ...string) string {
	return filepath.Join(append([]string{d.work}, elements...)...)
}

// remove deletes the working folder, and the logs when they are not needed.
func (d *directories) remove(logsToo bool) error {
	err := os.RemoveAll(d.work)
	if logsToo && !d.logsGiven {
		err = errors.Join(err, os.RemoveAll(d.logs))
	}
	return err
}
