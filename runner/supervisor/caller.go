package supervisor

import "github.com/creel-sandbox/creel/runner/server"

// callerOf names a caller for people: its user, or its token.
func (s *Supervisor) callerOf(peer server.Peer) string {
	if peer.Holder != nil {
		return tokenCaller(peer.Holder.Name)
	}
	return s.users.name(peer.UID)
}

// tokenCaller is no user's name: those have no colon (passwd(5)).
func tokenCaller(name string) string { return "token:" + name }

// callerID tells apart whom a share is counted to: a user, with all of its
// agents, or the holder of a token, whose user counts for nothing.
type callerID struct {
	uid   uint32
	token string
}

func idOf(peer server.Peer) callerID {
	if peer.Holder != nil {
		return callerID{token: peer.Holder.Name}
	}
	return callerID{uid: peer.UID}
}
