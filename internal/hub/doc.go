// Package hub talks to the service API of Azure IoT Hub: it reads device twins, changes them under their etag and asks
// queries. It is the only package of the project that does, so every rule about credentials, hosts, time limits and
// rates holds in one place. The client library behind it never shows through: callers see the types of this package and
// errors of type *Error only.
package hub
