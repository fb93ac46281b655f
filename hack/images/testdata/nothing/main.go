// Command nothing is what images are made of in tests.
package main

func main() {}
