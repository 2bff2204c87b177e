package server

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/creel-sandbox/creel/runner/api"
)

// How many descriptors a request can bring: the streams of a command, or the
// value of a secret.
const (
	execDescriptors   = 3
	secretDescriptors = 1 // of a token too
)

// route is one row of the table below: who may call, with how many
// descriptors, and what answers.
type route struct {
	// everyone says that any uid may call it, on either socket. All other
	// routes are for admins, on the admin socket.
	everyone bool
	// holders says that whoever holds a token may call it, on the token socket,
	// where there is no other.
	holders bool
	// root says that admins other than root may not call it.
	root        bool
	descriptors int
	serve       func(ctx context.Context, c *call, request *api.Request, files []*os.File) error
}

// routes is the whole permission table. Which policies a caller may run is
// the backend's to decide: Exec and Policies are given the Peer. Of Ps and Kill
// a holder of a token gets what concerns its own sandboxes.
var routes = map[string]route{
	api.RouteExec:    {everyone: true, holders: true, descriptors: execDescriptors, serve: serveExec},
	api.RouteVersion: {everyone: true, holders: true, serve: answer(version)},
	api.RoutePolicy:  {everyone: true, holders: true, serve: answer(policies)},
	api.RoutePs:      {holders: true, serve: answer(ps)},
	api.RouteKill:    {holders: true, serve: answer(kill)},
	api.RouteInspect: {serve: answer(inspect)},
	api.RouteLogs:    {serve: serveLogs},
	api.RouteStats:   {serve: answer(stats)},
	api.RouteDoctor:  {serve: answer(doctor)},
	api.RouteRevoke:  {serve: answer(revoke)},
	api.RouteAgent:   {serve: answer(orderAgents)},
	api.RouteReload:  {root: true, serve: answer(reload)},
	// A canary is no secret, but whoever runs with one is no caller of the policy.
	api.RouteCanary: {root: true, descriptors: execDescriptors, serve: serveCanary},
	api.RoutePlaces: {root: true, serve: answer(places)},

	api.RouteSecretSet:    {root: true, descriptors: secretDescriptors, serve: serveSetSecret},
	api.RouteSecretRotate: {root: true, descriptors: secretDescriptors, serve: serveRotateSecret},
	api.RouteSecretRemove: {root: true, serve: answer(removeSecrets)},
	api.RouteSecretList:   {serve: answer(secrets)},

	api.RouteTokenCreate: {root: true, descriptors: secretDescriptors, serve: serveCreateToken},
	api.RouteTokenRotate: {root: true, descriptors: secretDescriptors, serve: serveRotateToken},
	api.RouteTokenRevoke: {serve: answer(revokeTokens)},
	api.RouteTokenList:   {serve: answer(tokens)},

	// Whoever writes guesses into a workspace is told by a search which of them
	// is a value: that is for root, who can read the values themselves.
	api.RouteCheck: {root: true, serve: serveCheck},
}

// permitted looks a request up and refuses what its caller may not have.
func (c *call) permitted(request *api.Request, files []*os.File) (*route, error) {
	found, ok := routes[request.Route]
	if !ok {
		return nil, api.BadRequest("use a creel of the same version as creeld: creel version",
			"there is no route %.40q", request.Route)
	}
	holder := c.socket == tokenSocket
	if holder && !found.holders {
		return nil, deniedToHolders(request.Route)
	}
	if found.root && c.peer.UID != 0 {
		return nil, c.deniedToOthers(request.Route)
	}
	if !holder && !found.everyone && (c.socket != adminSocket || !c.server.isAdmin(c.peer.UID)) {
		return nil, c.denied(request.Route)
	}
	if len(files) != found.descriptors {
		return nil, api.BadRequest("", "%q takes %d descriptors, and %d came", request.Route, found.descriptors, len(files))
	}
	return &found, nil
}

// none is the body of a request that says no more than its route.
type none struct{}

// answer makes a route of a function from a request's body to a reply.
func answer[Body, Reply any](f func(context.Context, *call, *Body) (*Reply, error)) func(context.Context, *call, *api.Request, []*os.File) error {
	return func(ctx context.Context, c *call, request *api.Request, _ []*os.File) error {
		var body Body
		if err := decodeBody(request, &body); err != nil {
			return err
		}
		reply, err := f(ctx, c, &body)
		if err != nil {
			return err
		}
		return c.reply(reply)
	}
}

func decodeBody(request *api.Request, body any) error {
	if len(request.Body) == 0 {
		return nil
	}
	if err := api.Decode(request.Body, body); err != nil {
		return badFrame(err)
	}
	return nil
}

func version(ctx context.Context, c *call, _ *none) (*api.VersionReply, error) {
	return c.server.options.Backend.Version(ctx), nil
}

func policies(ctx context.Context, c *call, _ *none) (*api.PolicyReply, error) {
	lister, ok := c.server.options.Backend.(PolicyLister)
	if !ok {
		return nil, &api.Error{Code: api.CodeUnsupported, Message: "this supervisor does not list policies"}
	}
	return lister.Policies(ctx, c.peer)
}

func ps(ctx context.Context, c *call, body *api.PsRequest) (*api.PsReply, error) {
	if c.peer.Holder != nil {
		keeper, err := c.tokenKeeper()
		if err != nil {
			return nil, err
		}
		return keeper.PsOf(ctx, c.peer.Holder, body.All)
	}
	return c.server.options.Backend.Ps(ctx, body.All)
}

func kill(ctx context.Context, c *call, body *api.KillRequest) (*api.KillReply, error) {
	if body.All == (len(body.IDs) > 0) {
		return nil, api.BadRequest("name sandboxes, or use --all", "kill takes either IDs or all")
	}
	if slices.Contains(body.IDs, "") {
		return nil, errNoID
	}
	if !validSignal(body.Signal) {
		return nil, api.BadRequest("a signal's number is 1 to 64", "there is no signal %d", body.Signal)
	}
	if c.peer.Holder != nil {
		keeper, err := c.tokenKeeper()
		if err != nil {
			return nil, err
		}
		return keeper.KillOf(ctx, c.peer.Holder, body)
	}
	return c.server.options.Backend.Kill(ctx, body)
}

func revoke(ctx context.Context, c *call, body *api.RevokeRequest) (*api.RevokeReply, error) {
	ways := 0
	for _, given := range []bool{len(body.IDs) > 0, body.Policy != "", body.All} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return nil, api.BadRequest("name sandboxes, a policy, or use --all", "revoke takes either IDs, a policy or all")
	}
	if slices.Contains(body.IDs, "") {
		return nil, errNoID
	}
	revoker, ok := c.server.options.Backend.(CredentialRevoker)
	if !ok {
		return nil, &api.Error{Code: api.CodeUnsupported, Message: "this supervisor keeps no leases"}
	}
	return revoker.RevokeCredentials(ctx, body)
}

func orderAgents(ctx context.Context, c *call, body *api.AgentRequest) (*api.AgentReply, error) {
	switch body.Order {
	case api.AgentStart, api.AgentStop, api.AgentRestart:
	default:
		return nil, api.BadRequest("orders are start, stop and restart", "there is no order %.40q for an agent", body.Order)
	}
	if len(body.Names) == 0 {
		return nil, api.BadRequest("`creel ps` lists the agents", "an order needs the name of an agent")
	}
	keeper, ok := c.server.options.Backend.(AgentKeeper)
	if !ok {
		return nil, &api.Error{Code: api.CodeUnsupported, Message: "this supervisor keeps no agents"}
	}
	return keeper.OrderAgents(ctx, body)
}

func reload(ctx context.Context, c *call, _ *none) (*api.ReloadReply, error) {
	if c.server.options.Reload == nil {
		return nil, &api.Error{Code: api.CodeUnsupported, Message: "this supervisor reads no files"}
	}
	return &api.ReloadReply{}, c.server.options.Reload(ctx)
}

// errNoID refuses the empty ID, which is a prefix of every other.
var errNoID = api.BadRequest("`creel ps` lists the IDs", "an ID is empty")

func places(ctx context.Context, c *call, body *api.PlacesRequest) (*api.PlacesReply, error) {
	planter, ok := c.server.options.Backend.(CanaryPlanter)
	if !ok {
		return nil, errNoCanaries
	}
	return planter.Places(ctx, body.Policy)
}

// errNoCanaries refuses what only a supervisor with credentials can do.
var errNoCanaries = &api.Error{Code: api.CodeUnsupported, Message: "this supervisor plants no canaries"}

func inspect(ctx context.Context, c *call, body *api.IDRequest) (*api.InspectReply, error) {
	if body.ID == "" {
		return nil, errNoID
	}
	return c.server.options.Backend.Inspect(ctx, body.ID)
}

func stats(ctx context.Context, c *call, body *api.StatsRequest) (*api.StatsReply, error) {
	if slices.Contains(body.IDs, "") {
		return nil, errNoID
	}
	return c.server.options.Backend.Stats(ctx, body.IDs)
}

func doctor(ctx context.Context, c *call, _ *none) (*api.DoctorReply, error) {
	return c.server.options.Backend.Doctor(ctx)
}

func serveLogs(ctx context.Context, c *call, request *api.Request, _ []*os.File) error {
	var body api.LogsRequest
	if err := decodeBody(request, &body); err != nil {
		return err
	}
	if body.ID == "" {
		return errNoID
	}
	ctx, stop := c.watch(ctx, nil)
	defer stop()
	err := c.server.options.Backend.Logs(ctx, &body, func(chunk api.LogChunk) error {
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("send log: %w", err)
		}
		return c.send(&api.Event{Type: api.EventLog, Log: &chunk})
	})
	if err != nil {
		return err
	}
	return c.send(&api.Event{Type: api.EventEnd})
}
