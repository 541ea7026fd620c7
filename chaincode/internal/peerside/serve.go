package peerside

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// cursor is an open range or history.
type cursor struct {
	results []proto.Message
}

// serve does what a simulation asks for. The peer's lock is held.
func (p *Peer) serve(sim *Simulation, msg *peer.ChaincodeMessage) ([]byte, error) {
	s, payload := p.state(sim.Channel), msg.GetPayload()
	switch msg.GetType() {
	case peer.ChaincodeMessage_GET_STATE:
		m := new(peer.GetState)
		if err := unmarshal(payload, m, m.GetCollection); err != nil {
			return nil, err
		}
		return sim.get(s, m.GetKey()), nil
	case peer.ChaincodeMessage_GET_STATE_MULTIPLE:
		m := new(peer.GetStateMultiple)
		if err := unmarshal(payload, m, m.GetCollection); err != nil {
			return nil, err
		}
		out := new(peer.GetStateMultipleResult)
		for _, key := range m.GetKeys() {
			out.Values = append(out.Values, sim.get(s, key))
		}
		return proto.Marshal(out)
	case peer.ChaincodeMessage_PUT_STATE:
		m := new(peer.PutState)
		if err := unmarshal(payload, m, m.GetCollection); err != nil {
			return nil, err
		}
		return nil, sim.put(m.GetKey(), m.GetValue())
	case peer.ChaincodeMessage_DEL_STATE:
		m := new(peer.DelState)
		if err := unmarshal(payload, m, m.GetCollection); err != nil {
			return nil, err
		}
		return nil, sim.put(m.GetKey(), nil)
	case peer.ChaincodeMessage_WRITE_BATCH_STATE:
		return nil, sim.putBatch(s, payload)
	case peer.ChaincodeMessage_GET_STATE_METADATA, peer.ChaincodeMessage_PUT_STATE_METADATA:
		return sim.meta(s, msg)
	}
	return p.serveQuery(sim, s, msg)
}

func (p *Peer) serveQuery(sim *Simulation, s *state, msg *peer.ChaincodeMessage) ([]byte, error) {
	payload := msg.GetPayload()
	switch msg.GetType() {
	case peer.ChaincodeMessage_GET_STATE_BY_RANGE:
		m := new(peer.GetStateByRange)
		if err := unmarshal(payload, m, m.GetCollection); err != nil {
			return nil, err
		}
		return p.openRange(sim, s, m)
	case peer.ChaincodeMessage_GET_HISTORY_FOR_KEY:
		m := new(peer.GetHistoryForKey)
		if err := proto.Unmarshal(payload, m); err != nil {
			return nil, err
		}
		c := new(cursor)
		for _, h := range slices.Backward(s.history[m.GetKey()]) { // newest first
			c.results = append(c.results, &queryresult.KeyModification{TxId: h.TxID, Value: h.Value, IsDelete: h.Delete})
		}
		return p.batch(sim, sim.add(c))
	case peer.ChaincodeMessage_QUERY_STATE_NEXT:
		m := new(peer.QueryStateNext)
		if err := proto.Unmarshal(payload, m); err != nil {
			return nil, err
		}
		return p.batch(sim, m.GetId())
	case peer.ChaincodeMessage_QUERY_STATE_CLOSE:
		m := new(peer.QueryStateClose)
		if err := proto.Unmarshal(payload, m); err != nil {
			return nil, err
		}
		delete(sim.open, m.GetId())
		return proto.Marshal(&peer.QueryResponse{Id: m.GetId()})
	}
	return nil, fmt.Errorf("this peer does not serve %s", msg.GetType())
}

// unmarshal reads a request about public state. collection is read afterwards.
func unmarshal(payload []byte, m proto.Message, collection func() string) error {
	if err := proto.Unmarshal(payload, m); err != nil {
		return fmt.Errorf("unmarshal failed: %w", err)
	}
	if collection() != "" {
		return errors.New("this peer has no private data")
	}
	return nil
}

func (s *Simulation) get(st *state, key string) []byte {
	s.reads = append(s.reads, read{key, st.versionOf(key)})
	return st.rows[key].value
}

func (s *Simulation) put(key string, value []byte) error {
	if why := checkKey(key); why != "" {
		return errors.New(why)
	}
	s.Writes[key] = value
	return nil
}

func (s *Simulation) putBatch(st *state, payload []byte) error {
	m := new(peer.WriteBatchState)
	if err := proto.Unmarshal(payload, m); err != nil {
		return err
	}
	for _, r := range m.GetRec() {
		var err error
		switch r.GetType() {
		case peer.WriteRecord_PUT_STATE:
			err = s.put(r.GetKey(), r.GetValue())
		case peer.WriteRecord_DEL_STATE:
			err = s.put(r.GetKey(), nil)
		case peer.WriteRecord_PUT_STATE_METADATA:
			s.putMeta(st, r.GetKey(), r.GetMetadata())
		default:
			err = fmt.Errorf("this peer does not serve %s", r.GetType())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Simulation) meta(st *state, msg *peer.ChaincodeMessage) ([]byte, error) {
	if msg.GetType() == peer.ChaincodeMessage_PUT_STATE_METADATA {
		m := new(peer.PutStateMetadata)
		if err := unmarshal(msg.GetPayload(), m, m.GetCollection); err != nil {
			return nil, err
		}
		s.putMeta(st, m.GetKey(), m.GetMetadata())
		return nil, nil
	}
	m := new(peer.GetStateMetadata)
	if err := unmarshal(msg.GetPayload(), m, m.GetCollection); err != nil {
		return nil, err
	}
	out := new(peer.StateMetadataResult)
	for name, value := range st.metadata[m.GetKey()] {
		out.Entries = append(out.Entries, &peer.StateMetadata{Metakey: name, Value: value})
	}
	return proto.Marshal(out)
}

func (s *Simulation) putMeta(st *state, key string, m *peer.StateMetadata) {
	all := map[string][]byte{}
	for name, value := range st.metadata[key] {
		all[name] = value
	}
	for name, value := range s.metadata[key] {
		all[name] = value
	}
	all[m.GetMetakey()] = m.GetValue()
	s.metadata[key] = all
}

func (p *Peer) openRange(sim *Simulation, s *state, m *peer.GetStateByRange) ([]byte, error) {
	page := new(peer.QueryMetadata)
	if err := proto.Unmarshal(m.GetMetadata(), page); err != nil {
		return nil, err
	}
	start := m.GetStartKey()
	if page.GetBookmark() != "" {
		start = page.GetBookmark()
	}
	keys, paged, next := s.keys(start, m.GetEndKey()), page.GetPageSize() > 0, ""
	if paged && len(keys) > int(page.GetPageSize()) {
		next = keys[page.GetPageSize()]
		keys = keys[:page.GetPageSize()]
	}
	seen, c := &scan{start: start, end: m.GetEndKey()}, new(cursor)
	for _, key := range keys {
		seen.seen = append(seen.seen, read{key, s.versionOf(key)})
		c.results = append(c.results, &queryresult.KV{Namespace: p.ccid, Key: key, Value: s.rows[key].value})
	}
	if !paged {
		sim.scans = append(sim.scans, seen) // pages are for queries: Fabric validates none
		return p.batch(sim, sim.add(c))
	}
	results, err := wrap(c.results)
	if err != nil {
		return nil, err
	}
	meta, err := proto.Marshal(&peer.QueryResponseMetadata{FetchedRecordsCount: int32(len(keys)), Bookmark: next})
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&peer.QueryResponse{Results: results, Metadata: meta})
}

func (s *Simulation) add(c *cursor) string {
	id := strconv.Itoa(len(s.open) + len(s.scans))
	for s.open[id] != nil {
		id += "+"
	}
	s.open[id] = c
	return id
}

// batch answers with the next rows of a cursor.
func (p *Peer) batch(sim *Simulation, id string) ([]byte, error) {
	c := sim.open[id]
	if c == nil {
		return nil, errors.New("query iterator not found")
	}
	n := min(p.cfg.PageRows, len(c.results))
	results, err := wrap(c.results[:n])
	if err != nil {
		return nil, err
	}
	c.results = c.results[n:]
	more := len(c.results) > 0
	if !more {
		delete(sim.open, id)
	}
	return proto.Marshal(&peer.QueryResponse{Results: results, HasMore: more, Id: id})
}

func wrap(results []proto.Message) ([]*peer.QueryResultBytes, error) {
	out := make([]*peer.QueryResultBytes, len(results))
	for i, r := range results {
		b, err := proto.Marshal(r)
		if err != nil {
			return nil, err
		}
		out[i] = &peer.QueryResultBytes{ResultBytes: b}
	}
	return out, nil
}
