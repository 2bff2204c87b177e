// Package twice is described twice.
package twice
