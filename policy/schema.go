package policy

import (
	"bytes"
	"encoding/json"

	"go.yaml.in/yaml/v4"
)

// schema is the part of JSON Schema (draft 2020-12) that the tables need.
type schema struct {
	Schema        string             `json:"$schema,omitempty"`
	ID            string             `json:"$id,omitempty"`
	Title         string             `json:"title,omitempty"`
	Description   string             `json:"description,omitempty"`
	Type          string             `json:"type,omitempty"`
	Enum          []string           `json:"enum,omitempty"`
	Const         any                `json:"const,omitempty"`
	Default       any                `json:"default,omitempty"`
	Pattern       string             `json:"pattern,omitempty"`
	MinLength     int                `json:"minLength,omitempty"`
	MaxLength     int                `json:"maxLength,omitempty"`
	Minimum       json.Number        `json:"minimum,omitempty"`
	Maximum       json.Number        `json:"maximum,omitempty"`
	AnyOf         []*schema          `json:"anyOf,omitempty"`
	Not           *schema            `json:"not,omitempty"`
	If            *schema            `json:"if,omitempty"`
	Then          *schema            `json:"then,omitempty"`
	Else          *schema            `json:"else,omitempty"`
	Items         *schema            `json:"items,omitempty"`
	MinItems      int                `json:"minItems,omitempty"`
	MaxItems      int                `json:"maxItems,omitempty"`
	Properties    map[string]*schema `json:"properties,omitempty"`
	PropertyNames *schema            `json:"propertyNames,omitempty"`
	Required      []string           `json:"required,omitempty"`
	MinProperties int                `json:"minProperties,omitempty"`
	MaxProperties int                `json:"maxProperties,omitempty"`
	// Additional is the schema of keys that are not listed; Closed allows none.
	Additional *schema `json:"-"`
	Closed     bool    `json:"-"`
}

// MarshalJSON folds Additional and Closed into the one keyword they are in
// JSON Schema.
func (s *schema) MarshalJSON() ([]byte, error) {
	type plain schema
	var additional any
	if s.Closed {
		additional = false
	} else if s.Additional != nil {
		additional = s.Additional
	}
	return json.Marshal(struct {
		*plain
		AdditionalProperties any `json:"additionalProperties,omitempty"`
	}{(*plain)(s), additional})
}

// Schema is the JSON Schema of a policy file, for editors and reviewers'
// tools. It is generated from the decoder's own tables and knows less than
// Parse: what spans several keys only Parse can tell.
func Schema() []byte {
	return rootSchema(policyFile.schema(), "policy", "A creel policy: what one sandbox may see and do")
}

// ConfigSchema is the JSON Schema of creel.yaml.
func ConfigSchema() []byte {
	return rootSchema(configFile.schema(), "config", "The configuration of the creel supervisor")
}

func rootSchema(s *schema, name, title string) []byte {
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.ID = "https://github.com/creel-sandbox/creel/policy/" + name + ".schema.json"
	s.Title = title
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		panic("policy: the tables do not encode: " + err.Error()) // only a table row can cause it; a test runs every row
	}
	return out.Bytes()
}

// jsonScalar is the JSON value of a canonical scalar.
func jsonScalar(n *yaml.Node) any {
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return n.Value == "true"
	case "!!int", "!!float":
		return json.Number(n.Value)
	}
	return n.Value
}
