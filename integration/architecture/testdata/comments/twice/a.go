// Package twice may import nothing and never does.
package twice
