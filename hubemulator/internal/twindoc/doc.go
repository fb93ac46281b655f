// Package twindoc is the content of a device's or module's twin as IoT Hub keeps
// it: the trees of tags, desired and reported properties with the metadata of
// each property, what a write makes of them, which content the hub refuses, and
// how a document looks as JSON, over the wire and in a file.
//
// It is pure. It must never do I/O, take a lock or read a clock: times come from
// the caller, and so does the exclusion of other goroutines where a Common is
// shared. It knows neither identities nor etags, and not how a refusal looks on
// the wire: those are the store's. Trees, sections and objects are never changed
// once they are made, so that a snapshot is a copy of a pointer.
package twindoc
