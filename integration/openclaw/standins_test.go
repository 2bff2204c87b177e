package openclaw

import (
	"net/http"
	"os"
	"path/filepath"
)

// What the policy of the stage names, as a user's would.
const (
	providerName = "api.provider.example"
	telegramName = "api.telegram.org" // where OpenClaw looks for it by itself
	unlistedName = "other.provider.example"
	furtherName  = "further.provider.example"
)

// The stand-ins' addresses.
const (
	providerAddress = "93.184.216.34"
	otherAddress    = "93.184.216.35"
)

// redirecting is the path of the provider below which everything is elsewhere.
const redirecting = "/elsewhere"

// serve puts the stand-ins on an Internet, behind TLS, and services that OpenClaw
// must not reach beside them.
func (s *stage) serve() {
	authority := s.net.NewAuthority()
	s.authority = filepath.Join(s.Dir, "authority")
	check(shared, os.Mkdir(s.authority, 0o755))
	check(shared, os.WriteFile(s.trusted(s.authority), authority.PEM(), 0o644))
	provider := http.NewServeMux()
	provider.Handle("/", s.model)
	provider.HandleFunc(redirecting+"/", func(w http.ResponseWriter, r *http.Request) {
		s.redirected.Add(1)
		http.Redirect(w, r, "https://"+furtherName+"/v1/chat/completions", http.StatusTemporaryRedirect)
	})
	s.net.Name(providerName, providerAddress)
	s.net.Handle(authority, providerAddress+":443", provider, providerName)
	s.net.Name(telegramName, "93.184.216.53")
	s.net.Handle(authority, "93.184.216.53:443", s.telegram, telegramName)
	s.net.Name(unlistedName, otherAddress)
	s.net.Name(furtherName, otherAddress)
	for _, address := range []string{providerAddress + ":8443", otherAddress + ":443", otherAddress + ":80", "169.254.169.254:80", "169.254.169.254:443"} {
		s.others = append(s.others, s.net.Serve(authority, address, false, providerName, unlistedName, furtherName))
	}
}

// trusted is the file of the authority that stands for those that Node.js knows.
func (s *stage) trusted(dir string) string { return filepath.Join(dir, "authority.pem") }

// providers are the one that the policy names, and the same in places that it
// does not name.
func providers() map[string]any {
	all := map[string]any{}
	for name, url := range map[string]string{
		"standin":    "https://" + providerName + "/v1",
		"unlisted":   "https://" + unlistedName + "/v1",
		"port":       "https://" + providerName + ":8443/v1",
		"address":    "https://" + providerAddress + "/v1",
		"metadata":   "https://169.254.169.254/v1",
		"plain":      "http://" + unlistedName + "/v1",
		"redirected": "https://" + providerName + redirecting + "/v1",
	} {
		all[name] = Provider(url, "PROVIDER_KEY")
		lay(all[name].(map[string]any), map[string]any{"request": map[string]any{"allowPrivateNetwork": true}}) // so that it is not OpenClaw that refuses
	}
	return all
}

// bot lets everybody talk to it, so that it is creel that refuses.
func bot() map[string]any {
	return map[string]any{
		"enabled": true, "botToken": "${BOT_TOKEN}", "dmPolicy": "open", "allowFrom": []any{"*"},
		"groupPolicy": "open", "groupAllowFrom": []any{"*"}, "groups": map[string]any{"*": map[string]any{"requireMention": false}},
	}
}
