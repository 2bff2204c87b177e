package openclaw

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Model stands in for the provider of a model, at /v1/chat/completions. What it
// answers a user's message with is in that message; what a tool gave, it repeats.
// It keeps every request.
type Model struct {
	mu         sync.Mutex
	requests   [][]byte
	results    map[string]string
	authorized map[string]bool // by what
}

// Call is one call of a tool that a message has the model make.
type Call struct {
	ID   string         `json:"id"`
	Tool string         `json:"tool"`
	Args map[string]any `json:"args"`
}

// NewCall gives a call that no other has the ID of.
func NewCall(tool string, args map[string]any) Call {
	return Call{ID: "call" + rand.Text()[:12], Tool: tool, Args: args}
}

// Message is what a user says to have the model make the call. The call is
// encoded, so that what is looked for in what the model is told later, such as
// the command's output, is not there already.
func (c Call) Message() string {
	data, err := json.Marshal(c)
	if err != nil {
		panic(err) // the tests' own values
	}
	return "Please do this: <" + base64.RawURLEncoding.EncodeToString(data) + ">"
}

// asked finds a call in a message, and remarks what OpenClaw itself says in the
// user's name: it quotes messages that were answered.
var (
	asked   = regexp.MustCompile(`Please do this: <([A-Za-z0-9_-]+)>`)
	remarks = regexp.MustCompile(`(?s)<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>.*(<<<END_OPENCLAW_INTERNAL_CONTEXT>>>|$)`)
)

// Done is what the model says after a call.
func (c Call) Done() string { return "That was " + c.ID + "." }

// chat is what the stand-in understands of a request.
type chat struct {
	Stream   bool
	Messages []struct {
		Role       string
		Content    any
		ToolCallID string `json:"tool_call_id"`
	}
}

// text joins the parts of a message's content.
func text(content any) string {
	switch c := content.(type) {
	case string:
		return c
	case []any:
		var b strings.Builder
		for _, part := range c {
			if p, ok := part.(map[string]any); ok {
				s, _ := p["text"].(string)
				b.WriteString(s)
			}
		}
		return b.String()
	}
	return ""
}

// ServeHTTP implements http.Handler.
func (m *Model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	m.authorize(r)
	head := fmt.Sprintf("%s %s\n%v\n", r.Method, r.URL, r.Header)
	var request chat
	if r.URL.Path == "/v1/chat/completions" && json.Unmarshal(body, &request) != nil {
		http.Error(w, "not a request", http.StatusBadRequest)
		return
	}
	delta := m.answer(&request, append([]byte(head), body...))
	reason := "stop"
	if delta["tool_calls"] != nil {
		reason = "tool_calls"
	}
	if !request.Stream {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(completion("message", delta, reason))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, chunk := range []map[string]any{completion("delta", delta, nil), completion("delta", map[string]any{}, reason)} {
		data, _ := json.Marshal(chunk)
		fmt.Fprintf(w, "data: %s\n\n", data)
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func completion(kind string, message map[string]any, reason any) map[string]any {
	return map[string]any{
		"id": "answer", "object": "chat.completion.chunk", "created": 1, "model": "stand-in",
		"choices": []any{map[string]any{"index": 0, kind: message, "finish_reason": reason}},
	}
}

// answer keeps a request and gives the model's message.
func (m *Model) answer(request *chat, raw []byte) map[string]any {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, raw)
	for _, message := range slices.Backward(request.Messages) {
		switch message.Role {
		case "tool":
			if m.results == nil {
				m.results = map[string]string{}
			}
			m.results[message.ToolCallID] = text(message.Content)
			return map[string]any{"role": "assistant", "content": Call{ID: message.ToolCallID}.Done() + " It said: " + text(message.Content)}
		case "assistant":
			return map[string]any{"role": "assistant", "content": "There is nothing to do."}
		case "user":
			found := asked.FindStringSubmatch(remarks.ReplaceAllString(text(message.Content), ""))
			if found == nil {
				continue
			}
			return ask(found[1])
		}
	}
	return map[string]any{"role": "assistant", "content": "There is nothing to do."}
}

func ask(encoded string) map[string]any {
	var call Call
	data, err := base64.RawURLEncoding.DecodeString(encoded)
	if err == nil {
		err = json.Unmarshal(data, &call)
	}
	if err != nil {
		return map[string]any{"role": "assistant", "content": "I do not understand: " + err.Error()}
	}
	args, _ := json.Marshal(call.Args)
	return map[string]any{"role": "assistant", "content": nil, "tool_calls": []any{map[string]any{
		"index": 0, "id": call.ID, "type": "function", "function": map[string]any{"name": call.Tool, "arguments": string(args)},
	}}}
}

// authorize takes what the provider is to have out of a request.
func (m *Model) authorize(r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.authorized == nil {
		m.authorized = map[string]bool{}
	}
	m.authorized[r.Header.Get("Authorization")] = true
	r.Header.Del("Authorization")
}

// Authorized reports whether a request was authorized by this.
func (m *Model) Authorized(by string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.authorized[by]
}

// Result is what the model was told that a call gave, and whether it was.
func (m *Model) Result(c Call) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	result, ok := m.results[c.ID]
	return result, ok
}

// Requests are all that the model was sent, with their headers but Authorization.
func (m *Model) Requests() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Join(m.requests, []byte("\n"))
}
