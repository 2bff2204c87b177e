package openclaw

import (
	_ "embed"
	"encoding/json"
)

// shipped is the configuration to start from.
//
//go:embed openclaw.json
var shipped []byte

// Configuration is what is shipped, with others laid over it.
func Configuration(over ...map[string]any) ([]byte, error) {
	var config map[string]any
	if err := json.Unmarshal(shipped, &config); err != nil {
		return nil, err
	}
	for _, one := range over {
		lay(config, one)
	}
	return json.MarshalIndent(config, "", "  ")
}

// StandIn is laid over a configuration for the provider "standin" among some,
// and for OpenClaw's HTTP API.
func StandIn(providers map[string]any) map[string]any {
	return map[string]any{
		"gateway": map[string]any{"http": map[string]any{"endpoints": map[string]any{"chatCompletions": map[string]any{"enabled": true}}}},
		"agents":  map[string]any{"defaults": map[string]any{"skipBootstrap": true, "model": map[string]any{"primary": "standin/standin"}}},
		"models":  map[string]any{"providers": providers},
	}
}

// Provider is one at a URL, whose key is in a variable of the environment.
func Provider(url, key string) map[string]any {
	zeros := map[string]any{"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}
	return map[string]any{
		"baseUrl": url, "apiKey": "${" + key + "}", "api": "openai-completions",
		"models": []any{map[string]any{"id": "standin", "name": "standin", "reasoning": false, "input": []any{"text"},
			"cost": zeros, "contextWindow": 1000000, "maxTokens": 4096}},
	}
}

// lay replaces the values of base that over has, and adds those it has more.
func lay(base, over map[string]any) {
	for key, value := range over {
		if inner, ok := value.(map[string]any); ok {
			if existing, ok := base[key].(map[string]any); ok {
				lay(existing, inner)
				continue
			}
		}
		base[key] = value
	}
}
