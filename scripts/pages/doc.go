// Package pages uses the pages that nodes serve as people do: a real browser
// (Chromium, headless) at a network of processes on which the demonstration has been
// told, so there are members, consents, permits and a denial to look at.
//
// Every page is looked at as a phone and as a desk shows it, light and dark, and
// checked for accessibility with axe-core (testdata/axe.min.js, version 4.14.1,
// Mozilla Public License 2.0, published by Deque Systems; used by tests alone). With
// -artifacts the tests keep their screenshots.
package pages
