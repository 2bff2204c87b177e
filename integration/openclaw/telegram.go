package openclaw

import (
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Telegram stands in for the server of Telegram's Bot API (core.telegram.org/bots/api):
// what OpenClaw takes for proven about a sender comes from there.
type Telegram struct {
	Token string

	mu      sync.Mutex
	updates []map[string]any
	sent    map[int64]string // what the bot said, by chat
	told    map[int64]string // all that it told a chat, in whatever form
	next    int
	more    chan struct{} // closed when there is another update
}

// NewTelegram gives a server with one bot.
func NewTelegram(token string) *Telegram {
	return &Telegram{Token: token, sent: map[int64]string{}, told: map[int64]string{}, more: make(chan struct{})}
}

// Say has somebody say something, in a group where chat is negative, or else
// to the bot alone.
func (g *Telegram) Say(from, chat int64, text string) {
	where := map[string]any{"id": chat, "type": "private", "first_name": "Somebody"}
	if chat < 0 {
		where = map[string]any{"id": chat, "type": "supergroup", "title": "A group"}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next++
	g.updates = append(g.updates, map[string]any{"update_id": g.next, "message": map[string]any{
		"message_id": g.next, "date": time.Now().Unix(), "chat": where, "text": text,
		"from": map[string]any{"id": from, "is_bot": false, "first_name": "Somebody"},
	}})
	close(g.more)
	g.more = make(chan struct{})
}

// Said is all that the bot said in a chat.
func (g *Telegram) Said(chat int64) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sent[chat]
}

// Told is all that a chat was sent: texts, captions, buttons, reactions.
func (g *Telegram) Told(chat int64) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.told[chat]
}

// ServeHTTP implements http.Handler.
func (g *Telegram) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method, ok := strings.CutPrefix(r.URL.Path, "/bot"+g.Token+"/")
	if !ok {
		http.NotFound(w, r)
		return
	}
	values, err := arguments(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"ok": true, "result": g.result(r, strings.ToLower(method), values)})
}

// arguments reads them in each of the forms that the API allows.
func arguments(r *http.Request) (url.Values, error) {
	kind, parameters, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	values := url.Values{}
	switch kind {
	case "application/json":
		var body map[string]json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil && err != io.EOF {
			return nil, err
		}
		for name, raw := range body {
			var s string
			if json.Unmarshal(raw, &s) != nil {
				s = string(raw)
			}
			values.Set(name, s)
		}
		return values, nil
	case "multipart/form-data":
		form, err := multipart.NewReader(r.Body, parameters["boundary"]).ReadForm(1 << 20)
		if err != nil {
			return nil, err
		}
		return url.Values(form.Value), nil
	}
	err := r.ParseForm()
	return r.Form, err
}

func (g *Telegram) result(r *http.Request, method string, values url.Values) any {
	g.keep(values)
	switch method {
	case "getme":
		return map[string]any{"id": 4242, "is_bot": true, "first_name": "Claw", "username": "claw_bot", "can_join_groups": true, "can_read_all_group_messages": true}
	case "getupdates":
		return g.wait(r, values)
	case "getwebhookinfo":
		return map[string]any{"url": "", "has_custom_certificate": false, "pending_update_count": 0}
	case "sendmessage", "editmessagetext":
		chat, _ := strconv.ParseInt(values.Get("chat_id"), 10, 64)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.next++
		g.sent[chat] += values.Get("text") + "\n"
		return map[string]any{"message_id": g.next, "date": time.Now().Unix(), "chat": map[string]any{"id": chat, "type": "private"}, "text": values.Get("text")}
	case "getmycommands":
		return []any{}
	}
	return true
}

// keep notes what a method tells a chat, be it a text, a caption or a button.
func (g *Telegram) keep(values url.Values) {
	chat, err := strconv.ParseInt(values.Get("chat_id"), 10, 64)
	if err != nil {
		return // it is for no chat
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, value := range values {
		if name != "chat_id" {
			g.told[chat] += strings.Join(value, "\n") + "\n"
		}
	}
}

// wait gives the updates from an offset on, as soon as there is one or the
// time that was asked for is over.
func (g *Telegram) wait(r *http.Request, values url.Values) any {
	offset, _ := strconv.Atoi(values.Get("offset"))
	seconds, _ := strconv.Atoi(values.Get("timeout"))
	over := time.After(time.Duration(seconds) * time.Second)
	for {
		g.mu.Lock()
		found, more := []any{}, g.more
		for _, update := range g.updates {
			if update["update_id"].(int) >= offset {
				found = append(found, update)
			}
		}
		g.mu.Unlock()
		if len(found) > 0 {
			return found
		}
		select {
		case <-more:
		case <-over:
			return found
		case <-r.Context().Done():
			return found
		}
	}
}
