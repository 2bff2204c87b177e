package openclaw

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// untouched fails when a byte reached a service that the agent's policy does not
// name.
func (s *stage) untouched(t *testing.T) {
	t.Helper()
	for _, service := range s.others {
		if n, lines := service.Reached(); n > 0 {
			t.Errorf("%d bytes reached %s: %q", n, service.Address, lines)
		}
	}
}

// refusals are the lines of the journal on what OpenClaw itself may not reach.
func (s *stage) refusals(asked string) (found []string) {
	for line := range strings.Lines(s.Log()) {
		if strings.Contains(line, fmt.Sprintf("asked=%q", asked)) && strings.Contains(line, "policy=openclaw-agent") {
			found = append(found, line)
		}
	}
	return found
}

// TestOpenClawReachesItsProviderAndNothingElse has OpenClaw use its provider by
// the name that its policy has, and in places that it does not have.
func TestOpenClawReachesItsProviderAndNothingElse(t *testing.T) {
	s := start(t)
	if _, result := s.do(t, "exec", sh("echo fine")); !strings.Contains(result, "fine") {
		t.Fatalf("control: of its provider's call the model was told %q", result)
	}
	s.say(t, listed, listed, NewCall("exec", sh("echo fine"))) // the chat service is its control too
	for _, asked := range []string{providerName + ":443", telegramName + ":443"} {
		if lines := s.refusals(asked); len(lines) > 0 {
			t.Errorf("control: %s is refused: %q", asked, lines)
		}
	}
	for provider, asked := range map[string]string{
		"unlisted": unlistedName + ":443",
		"port":     providerName + ":8443",
		"address":  providerAddress + ":443",
		"metadata": "169.254.169.254:443",
		"plain":    unlistedName + ":80",
	} {
		t.Run(provider, func(t *testing.T) {
			call := touch()
			s.begin(t, provider, call)
			s.slowly(t, "it is refused", func() bool { return len(s.refusals(asked)) > 0 })
			if line := s.refusals(asked)[0]; !strings.Contains(line, "rule=http_request_denied") || !strings.Contains(line, "network.egress does not name it") {
				t.Errorf("the journal says %q", line)
			}
			if found := s.of(call); len(found) > 0 {
				t.Errorf("there were sandboxes: %+v", found)
			}
		})
	}
	s.untouched(t)
}

// TestRedirectOfTheProviderLeadsNowhere has the provider send OpenClaw, with the
// key it was given, to a name that the policy does not have. OpenClaw itself does
// not follow; that the proxy refuses it, too, is TestOtherWaysOutStayClosed's.
func TestRedirectOfTheProviderLeadsNowhere(t *testing.T) {
	s := start(t)
	s.begin(t, "redirected", touch())
	// The second time, OpenClaw is done with the first.
	s.slowly(t, "the provider has answered twice", func() bool { return s.redirected.Load() >= 2 })
	s.untouched(t)
}

// begin has OpenClaw ask a provider until the test ends: it tries for a minute.
func (s *stage) begin(t *testing.T, provider string, call Call) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	request := s.claw.Request("at-"+provider, call.Message(), nil).WithContext(ctx)
	request.Header.Set("X-OpenClaw-Model", provider+"/standin")
	done := make(chan struct{})
	go func() {
		defer close(done)
		if response, err := client.Do(request); err == nil {
			response.Body.Close()
		}
	}()
	t.Cleanup(func() { leave(); <-done })
}

// TestCommandsReachNothingThatOpenClawReaches has commands try the agent's ways,
// with no network and with OpenClaw as their gateway.
func TestCommandsReachNothingThatOpenClawReaches(t *testing.T) {
	s := start(t)
	gateway := fmt.Sprintf("127.0.0.1:%d", s.claw.Port)
	const curl = "curl -sS -k --max-time 20 "
	for network, controls := range map[string]bool{"": false, "network: {gateway: '" + gateway + "'}\n": true} {
		s.WritePolicy("exec-default", s.PolicyText("exec-default", credential+network))
		s.Reload()
		t.Cleanup(s.usual)
		_, result := s.do(t, "exec", sh(curl+"http://%s/healthz -o /dev/null -w %%{http_code}", gateway))
		if reached := strings.Contains(result, "200"); reached != controls {
			t.Errorf("control: with %q the gateway said %q", network, result)
		}
		before := len(s.model.Requests())
		for _, c := range []struct{ what, script, want string }{
			{"a variable", "env | grep -i proxy; echo found $?", "found 1"},
			{"by name", curl + "https://" + providerName + "/v1/models", "resolve host"},
			{"by address", curl + "https://" + providerAddress + "/v1/models", "connect to"},
			{"by the agent's proxy", curl + "-x http://127.0.0.1:3128 https://" + providerName + "/v1/models", "connect to"},
			{"by OpenClaw as a proxy", curl + "-p -x http://" + gateway + " https://" + providerName + "/v1/models", "curl: ("},
			{"the metadata service", curl + "http://169.254.169.254/", "connect to"},
		} {
			if _, result := s.do(t, "exec", sh("%s", c.script)); !strings.Contains(result, c.want) {
				t.Errorf("with %q, %s: the model was told %q, without %q", network, c.what, result, c.want)
			}
		}
		if sent := string(s.model.Requests()[before:]); strings.Contains(sent, http.MethodGet+" /v1/models") {
			t.Errorf("with %q a command reached the provider", network)
		}
	}
	s.untouched(t)
}
