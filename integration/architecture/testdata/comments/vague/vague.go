// This is a package.
package vague
