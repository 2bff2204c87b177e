package policy

import (
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"
)

// Document is a valid policy together with where each of its values was
// written.
type Document struct {
	Policy  *Policy
	File    string
	origins map[string]position
}

// Parse turns the bytes of one policy file into a policy or into everything
// that is wrong with it, in the order of the file: never both. file is only a
// name for the problems.
func Parse(file string, data []byte) (*Policy, []Problem) {
	doc, problems := Read(file, data)
	if doc == nil {
		return nil, problems
	}
	return doc.Policy, nil
}

// Read is Parse for who wants the positions as well.
func Read(file string, data []byte) (*Document, []Problem) {
	d := newDecoder(file)
	p, ok := readRoot(d, data, policyFile, false)
	if ok {
		keepAgentsUp(&p, d.origins)
		for _, check := range rules {
			check(&p, d.further)
		}
		settle(&p)
	}
	if problems := d.finish(); len(problems) > 0 {
		return nil, problems
	}
	return &Document{Policy: &p, File: file, origins: d.origins}, nil
}

// readRoot reads the one mapping of a file. It reports false when there was
// none to read.
func readRoot[P any](d *decoder, data []byte, o object[P], mayBeEmpty bool) (P, bool) {
	n := d.parseYAML(data)
	if n == nil || n.Tag == "!!null" && n.Value == "" {
		if len(d.problems) == 0 && !mayBeEmpty {
			d.wholeFile(faultf("start with apiVersion: "+APIVersion, "the file declares nothing"))
		}
		return o.defaults(), len(d.problems) == 0
	}
	return o.read(d, "", n), true
}

// settle fills in the defaults that depend on other keys.
func settle(p *Policy) {
	if p.Workdir == "" {
		p.Workdir = defaultWorkdir(p)
	}
	for i, c := range p.Credentials {
		if c.OnExpiry == "" && leased(c.Provider) {
			p.Credentials[i].OnExpiry = OnExpiryEnd
		}
	}
}

func defaultWorkdir(p *Policy) string {
	for _, m := range p.Mounts {
		if m.Kind == MountWorkspace {
			return m.Target
		}
	}
	return "/"
}

// Review is Policy.Review with files and positions.
func (doc *Document) Review(now time.Time, strict bool) []Problem {
	return doc.locate(doc.Policy.Review(now, strict))
}

// Conflicts is Policy.Conflicts with files and positions.
func (doc *Document) Conflicts(c *Config) []Problem {
	return doc.locate(doc.Policy.Conflicts(c))
}

func (doc *Document) locate(problems []Problem) []Problem {
	for i := range problems {
		where := place(doc.origins, problems[i].Key)
		problems[i].File, problems[i].Line, problems[i].Column = doc.File, where.line, where.column
	}
	sortProblems(problems)
	return problems
}

// Explain lists every effective value and where it came from, in the order of
// the schema. What is off is "none".
func (doc *Document) Explain() []Setting {
	var settings []Setting
	var walk func(path string, n *yaml.Node)
	walk = func(path string, n *yaml.Node) {
		switch {
		case n.Kind == yaml.MappingNode && len(n.Content) > 0:
			for i := 0; i+1 < len(n.Content); i += 2 {
				walk(join(path, n.Content[i].Value), n.Content[i+1])
			}
		case n.Kind == yaml.SequenceNode && len(n.Content) > 0:
			for i, item := range n.Content {
				walk(element(path, i), item)
			}
		default:
			settings = append(settings, Setting{Key: path, Value: explained(n), Origin: doc.origin(path)})
		}
	}
	walk("", policyFile.write(*doc.Policy))
	return settings
}

// explained is a value on one line: text that could be mistaken for several
// words, or for nothing, is quoted.
func explained(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return "none"
	}
	if quoted := strconv.Quote(n.Value); len(quoted) != len(n.Value)+2 || n.Value == "" || n.Value == "none" {
		return quoted
	}
	return n.Value
}

func (doc *Document) origin(path string) string {
	where, written := doc.origins[path]
	if !written {
		return "default"
	}
	return doc.File + ":" + strconv.Itoa(where.line)
}

// Show is the policy with every default written out, as canonical YAML that
// Parse reads back into an equal policy.
func (p *Policy) Show() ([]byte, error) {
	n := policyFile.write(*p)
	dropNulls(n)
	return yaml.Dump(n, yaml.WithV4Defaults(), yaml.WithLineWidth(-1))
}

// dropNulls leaves out the keys of what is off: a file says so by silence.
func dropNulls(n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		kept := n.Content[:0]
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i+1].Tag != "!!null" {
				kept = append(kept, n.Content[i], n.Content[i+1])
			}
		}
		n.Content = kept
	}
	for _, child := range n.Content {
		dropNulls(child)
	}
}
