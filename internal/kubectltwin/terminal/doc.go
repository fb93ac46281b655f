// Package terminal writes what people read: tables that fit a terminal, colours where there is one, and how far
// something is that takes a while.
package terminal
