package policy

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

func compile(t testing.TB, text []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("the schema is not valid JSON Schema: %v", err)
	}
	return s
}

// asJSON is the file as an editor's YAML reader hands it to a schema; false
// when it is not one YAML document without surprises.
func asJSON(file string, data []byte) (any, bool) {
	d := newDecoder(file)
	n := d.parseYAML(data)
	if n == nil || len(d.problems) > 0 {
		return nil, false
	}
	text, err := json.Marshal(plainValue(n))
	if err != nil {
		return nil, false
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	return v, err == nil
}

func plainValue(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plainValue(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		items := []any{}
		for _, item := range n.Content {
			items = append(items, plainValue(item))
		}
		return items
	case yaml.ScalarNode:
		if v, ok := jsonScalar(n).(json.Number); !ok || json.Valid([]byte(v)) {
			return jsonScalar(n)
		}
	}
	return n.Value
}

func TestCheckedInSchemasAreTheDecodersOwn(t *testing.T) {
	golden(t, "policy.schema.json", string(Schema()))
	golden(t, "config.schema.json", string(ConfigSchema()))
}

func TestSchemaAcceptsEveryGoodPolicy(t *testing.T) {
	s := compile(t, Schema())
	for _, file := range samples(t, "good", 5) {
		v, ok := asJSON(file, read(t, file))
		if !ok {
			t.Fatalf("%s is not plain YAML", file)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// The schema knows less than the decoder, never more: which bad files it
// catches is in a golden file, so that a loss is seen.
func TestSchemaCatchesTheBadPoliciesItIsKnownToCatch(t *testing.T) {
	s := compile(t, Schema())
	var report strings.Builder
	caught := 0
	for _, file := range samples(t, "bad", 60) {
		verdict := "passes"
		switch v, ok := asJSON(file, read(t, file)); {
		case !ok:
			verdict = "is not plain YAML"
		case s.Validate(v) != nil:
			verdict = "is caught"
			caught++
		}
		report.WriteString(strings.TrimSuffix(filepath.Base(file), ".yaml") + " " + verdict + "\n")
	}
	golden(t, filepath.Join("testdata", "schema-catches.txt"), report.String())
	if caught < 90 {
		t.Errorf("the schema catches only %d bad files", caught)
	}
}

func TestConfigSchemaAgreesWithTheDecoder(t *testing.T) {
	s := compile(t, ConfigSchema())
	for text, good := range map[string]bool{
		"{strict: true, admins: [ops, 1000]}": true,
		"{strict: 1}":                         false,
		"{runtime: docker}":                   false,
		"{unknown: 1}":                        false,
	} {
		v, ok := asJSON("creel.yaml", []byte(text))
		if !ok {
			t.Fatalf("%s is not plain YAML", text)
		}
		if err := s.Validate(v); (err == nil) != good {
			t.Errorf("%s: the schema says %v", text, err)
		}
		if c, problems := ParseConfig("creel.yaml", []byte(text)); (c != nil) != good {
			t.Errorf("%s: the decoder says %v", text, problems)
		}
	}
}
