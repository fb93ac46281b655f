// Package dispatch decides who may talk to an IoT Hub and when: rate limits by
// class of operation, a bound on what is under way at once, a circuit breaker, the
// daily message meter, and one queue of objects that wait for a permit, by
// priority and age. Each party that uses a hub has a share of its dispatcher, to which
// what goes wrong at that party's own end is confined. It does no I/O and starts no
// goroutine that lasts.
package dispatch
