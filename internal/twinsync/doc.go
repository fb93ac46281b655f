// Package twinsync brings one twin to its declaration, and clears what was written to it when
// the declaration goes: read, plan, record, write on the condition of the etag that was
// read.
//
// It never writes to a twin that is not as it was planned for, and never before the record
// of what is written is stored.
package twinsync
