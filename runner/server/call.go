package server

import (
	"container/list"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// call is one connection: a request, and its answer.
type call struct {
	server *Server
	conn   *api.Conn
	peer   Peer
	uid    uint32 // of the process that connected: whom its share is counted to
	socket socketKind
	large  *limiter    // of messages over largeMessage, being received there
	ended  atomic.Bool // the last message was sent, or nobody is there to read it

	seats   *seats        // of which it has one
	idle    *list.Element // there, while another may take that
	evicted bool          // another has
}

// serve answers one request.
func (c *call) serve() {
	request, files, err := c.receive()
	if request == nil {
		if err != nil {
			c.fail(err)
		}
		return
	}
	if err := c.answer(request, files); err != nil {
		c.fail(err)
	}
}

// answer owns files until the route does.
func (c *call) answer(request *api.Request, files []*os.File) error {
	var found *route
	ctx, stop, err := c.authenticate(c.server.ctx, request)
	if err == nil {
		defer stop()
		found, err = c.permitted(request, files)
	}
	if err != nil {
		for _, file := range files {
			file.Close()
		}
		return err
	}
	return found.serve(ctx, c, request, files)
}

// privileged says whether the caller has a share in what is kept for admins. No
// token gives one.
func (c *call) privileged() bool { return c.socket != tokenSocket && c.server.isAdmin(c.peer.UID) }

// watch reads what the client sends from now on, handing each Control to
// accept (nil accepts none), and cancels the context that it returns when
// the client leaves or sends what it may not. The caller calls stop when it
// has answered; closing the connection, which comes next, ends the reading.
func (c *call) watch(ctx context.Context, accept func(context.Context, api.Control) error) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	c.conn.MaxReceive = api.MaxControl
	go func() {
		for {
			err := c.control(ctx, accept)
			if err == nil {
				continue
			}
			if err == io.EOF {
				c.ended.Store(true)
			} else if ctx.Err() == nil {
				c.fail(badFrame(err))
			}
			cancel(ErrCallerGone)
			return
		}
	}()
	return ctx, func() { cancel(context.Canceled) }
}

func (c *call) control(ctx context.Context, accept func(context.Context, api.Control) error) error {
	var control api.Control
	if _, err := c.conn.Receive(&control); err != nil {
		return err
	}
	if accept == nil {
		return api.BadRequest("", "only exec takes messages after the request")
	}
	return accept(ctx, control)
}

// send writes one message, within the time a client has to take it.
func (c *call) send(event *api.Event) error {
	switch event.Type {
	case api.EventExited, api.EventError, api.EventReply, api.EventEnd:
		if c.ended.Swap(true) {
			return nil
		}
	}
	return c.conn.Send(event)
}

// fail sends an error as the last message, if none was sent. A peer that has
// left already is not worth a line in the log.
func (c *call) fail(err error) {
	sendErr := c.send(&api.Event{Type: api.EventError, Error: internal(err)})
	if sendErr != nil && !errors.Is(sendErr, unix.EPIPE) && !errors.Is(sendErr, net.ErrClosed) {
		c.server.options.Log("answer uid %d: %v", c.uid, sendErr)
	}
}

func (c *call) reply(reply any) error {
	body, err := json.Marshal(reply)
	if err != nil {
		return fmt.Errorf("encode reply: %w", err)
	}
	if len(body) > api.MaxMessage-replyOverhead {
		return fmt.Errorf("send reply: %w: %d bytes", api.ErrTooLarge, len(body))
	}
	return c.send(&api.Event{Type: api.EventReply, Reply: body})
}

// replyOverhead is more than an Event adds to its reply.
const replyOverhead = 1 << 10
