package sdk

// Away is how many transactions the client believes to be on their way.
func (c *Client) Away() int {
	n := 0
	for _, e := range c.nodes {
		e.carrier.mu.Lock()
		n += e.carrier.away
		e.carrier.mu.Unlock()
	}
	return n
}
