//go:build !linux

package process

import "syscall"

// childAttributes keeps a Ctrl-C in the terminal away from the child, which is
// stopped in order instead.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
