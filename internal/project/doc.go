// Package project holds tests of the repository as a whole: which package may
// import which, what users link, that every exported name is documented, that the
// modules fit together, and that the code in the documentation compiles and runs.
package project
