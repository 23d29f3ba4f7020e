// Package webtest tests the dashboard in a browser. It has nothing to import.
package webtest
