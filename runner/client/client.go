// Package client is the caller's side of the supervisor's sockets.
//
// It imports the standard library, x/sys, runner/api, runner/dump and
// runner/token/text; not package net, so that creel stays small and free of cgo
// however it is built. It never takes a token from an argument or the
// environment, and never hands the supervisor a descriptor of the caller's own: the commands it asks for
// run on pipes that it makes, and it copies between them and the caller.
package client

import (
	"context"
	"path/filepath"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
)

// The variables that point a client to another supervisor.
const (
	ExecSocketVariable  = "CREEL_SOCKET"
	AdminSocketVariable = "CREEL_ADMIN_SOCKET"
)

// sendTimeout bounds how long a supervisor may take to accept a connection
// or a message.
const sendTimeout = 10 * time.Second

// Client knows where a supervisor listens. Every call makes a connection of
// its own, so any number may run at once. The errors of its methods are
// *api.Error wherever a person can act on them.
type Client struct {
	ExecSocket, AdminSocket string
	// TokenFile holds a token. Where it is set, ExecSocket is that for callers
	// with one, and everything is asked there.
	TokenFile string
}

// New returns a Client for the sockets, and with the token, that getenv names,
// or else for the default ones.
func New(getenv func(string) string) *Client {
	c := &Client{ExecSocket: getenv(ExecSocketVariable), AdminSocket: getenv(AdminSocketVariable), TokenFile: getenv(TokenFileVariable)}
	if c.ExecSocket == "" {
		name := api.ExecSocketName
		if c.TokenFile != "" {
			name = api.TokenSocketName
		}
		c.ExecSocket = filepath.Join(api.DefaultDir, name)
	}
	if c.AdminSocket == "" {
		c.AdminSocket = filepath.Join(api.DefaultDir, api.AdminSocketName)
	}
	return c
}

// Version asks for the supervisor's build.
func (c *Client) Version(ctx context.Context) (*api.VersionReply, error) {
	return ask[api.VersionReply](ctx, c.execSocket(), api.RouteVersion, nil)
}

// Policies lists the policies that the caller may run.
func (c *Client) Policies(ctx context.Context) (*api.PolicyReply, error) {
	return ask[api.PolicyReply](ctx, c.execSocket(), api.RoutePolicy, nil)
}

// Ps lists sandboxes; with all, ended ones too.
func (c *Client) Ps(ctx context.Context, all bool) (*api.PsReply, error) {
	return ask[api.PsReply](ctx, c.adminSocket(), api.RoutePs, api.PsRequest{All: all})
}

// Kill signals sandboxes.
func (c *Client) Kill(ctx context.Context, req api.KillRequest) (*api.KillReply, error) {
	return ask[api.KillReply](ctx, c.adminSocket(), api.RouteKill, req)
}

// Revoke takes credentials back.
func (c *Client) Revoke(ctx context.Context, req api.RevokeRequest) (*api.RevokeReply, error) {
	return ask[api.RevokeReply](ctx, c.adminSocket(), api.RouteRevoke, req)
}

// OrderAgents starts, stops or restarts agents.
func (c *Client) OrderAgents(ctx context.Context, req api.AgentRequest) (*api.AgentReply, error) {
	return ask[api.AgentReply](ctx, c.adminSocket(), api.RouteAgent, req)
}

// Reload has the supervisor put what is on disk in force, and returns when it is;
// it is for root.
func (c *Client) Reload(ctx context.Context) error {
	_, err := ask[api.ReloadReply](ctx, c.adminSocket(), api.RouteReload, nil)
	return err
}

// Places tells where a run of a policy could leave something; it is for root.
func (c *Client) Places(ctx context.Context, policy string) (*api.PlacesReply, error) {
	return ask[api.PlacesReply](ctx, c.adminSocket(), api.RoutePlaces, api.PlacesRequest{Policy: policy})
}

// CheckWorkspaces has the workspaces of a policy searched for credentials, with
// the values that the supervisor knows among them; it is for root. The search
// ends with ctx.
func (c *Client) CheckWorkspaces(ctx context.Context, req api.CheckRequest) (*api.CheckReply, error) {
	return ask[api.CheckReply](ctx, c.adminSocket(), api.RouteCheck, req)
}

// Inspect tells everything known of one sandbox.
func (c *Client) Inspect(ctx context.Context, id string) (*api.InspectReply, error) {
	return ask[api.InspectReply](ctx, c.adminSocket(), api.RouteInspect, api.IDRequest{ID: id})
}

// Stats tells what sandboxes use now; no ids means all.
func (c *Client) Stats(ctx context.Context, ids []string) (*api.StatsReply, error) {
	return ask[api.StatsReply](ctx, c.adminSocket(), api.RouteStats, api.StatsRequest{IDs: ids})
}

// Doctor asks the supervisor to check itself and its host.
func (c *Client) Doctor(ctx context.Context) (*api.DoctorReply, error) {
	return ask[api.DoctorReply](ctx, c.adminSocket(), api.RouteDoctor, nil)
}

// Logs calls emit for each piece of kept output; with req.Follow it goes on
// until the sandbox or ctx ends.
func (c *Client) Logs(ctx context.Context, req api.LogsRequest, emit func(api.LogChunk) error) error {
	conn, done, err := request(ctx, c.adminSocket(), api.RouteLogs, req)
	if err != nil {
		return err
	}
	defer done()
	for {
		event, err := receive(ctx, conn)
		if err != nil {
			return err
		}
		switch {
		case event.Type == api.EventEnd:
			return nil
		case event.Type == api.EventLog && event.Log != nil:
			if err := emit(*event.Log); err != nil {
				return err
			}
		default:
			return errUnexpected(event.Type)
		}
	}
}

// ask sends a request and returns its one reply.
func ask[Reply any](ctx context.Context, to socket, route string, body any, descriptors ...int) (*Reply, error) {
	conn, done, err := request(ctx, to, route, body, descriptors...)
	if err != nil {
		return nil, err
	}
	defer done()
	event, err := receive(ctx, conn)
	if err != nil {
		return nil, err
	}
	if event.Type != api.EventReply {
		return nil, errUnexpected(event.Type)
	}
	var reply Reply
	if err := api.Decode(event.Reply, &reply); err != nil {
		return nil, errMalformed(err)
	}
	return &reply, nil
}

// request connects and sends a request. The connection closes when ctx ends
// or done is called.
func request(ctx context.Context, to socket, route string, body any, descriptors ...int) (_ *api.Conn, done func(), err error) {
	var token []byte
	if to.tokenFile != "" {
		if token, err = readToken(to.tokenFile); err != nil {
			return nil, nil, err
		}
		defer clear(token)
	}
	conn, err := dial(to)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	done = func() {
		stop()
		conn.Close()
	}
	if err = conn.Send(outgoing{token, route, body}, descriptors...); err != nil {
		err = sendError(ctx, conn, err)
		done()
		return nil, nil, err
	}
	return conn, done, nil
}

// outgoing is an api.Request whose body is encoded along with it.
type outgoing struct {
	Token []byte `json:"token,omitempty"`
	Route string `json:"route"`
	Body  any    `json:"body,omitempty"`
}

// receive returns the next event, or the error that an error event holds.
func receive(ctx context.Context, conn *api.Conn) (*api.Event, error) {
	var event api.Event
	if _, err := conn.Receive(&event); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, receiveError(err)
	}
	if event.Type == api.EventError && event.Error != nil {
		return nil, event.Error
	}
	return &event, nil
}
