package process

import "syscall"

// childAttributes keeps a Ctrl-C in the terminal away from the child, which is
// stopped in order instead, and has the kernel end it should this program be
// killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
