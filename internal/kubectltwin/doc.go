// Package kubectltwin is the kubectl plugin kubectl-twin: its root command, and how it ends.
package kubectltwin
