//go:build race

package hubemulator_test

// raceDetector says that everything takes several times as long.
const raceDetector = true
