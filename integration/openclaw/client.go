package openclaw

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Client is somebody who holds the token of a gateway on the loopback.
type Client struct {
	Port  int
	Token string
}

// client makes a connection for each request, so that none outlives a gateway.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func (c Client) url(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", c.Port, path)
}

// Healthy reports whether the gateway says that it is.
func (c Client) Healthy() bool {
	response, err := client.Get(c.url("/healthz"))
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Ask says something, in a session of that name, and gives what is answered.
func (c Client) Ask(session, message string) (string, error) {
	request, err := c.Request(session, message, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	var answer struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal(data, &answer); err != nil || len(answer.Choices) == 0 {
		return "", fmt.Errorf("OpenClaw answered %s: %s", response.Status, data)
	}
	return answer.Choices[0].Message.Content, nil
}

// Request prepares what Ask does; more is added to its body.
func (c Client) Request(session, message string, more map[string]any) (*http.Request, error) {
	body := map[string]any{"model": "openclaw", "user": session, "messages": []any{map[string]any{"role": "user", "content": message}}}
	lay(body, more)
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(http.MethodPost, c.url("/v1/chat/completions"), bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.Token)
	request.Header.Set("Content-Type", "application/json")
	return request, nil
}
