// Package operations tests what operators and integrators rely on, on a network of
// real processes: the examples of the API's description, metrics, health, the
// doctors' findings, and that no log holds anything about a person. It also checks
// what is under scripts/deploy. It has no code outside its tests.
package operations
