package executor

// limits bound what one call may do. They are part of the protocol: two nodes
// with different limits would fork.
type limits struct {
	calls      int // calls of the stub
	readBytes  int // keys and values read
	rangeRows  int // rows that iterators passed
	writes     int // distinct keys written
	writeBytes int // keys and values written
	value      int // one value or event
	key        int // one key
	response   int // what the contract returns
}

// transactionLimits leave room for a batch of a thousand access requests.
var transactionLimits = limits{
	calls:      50_000,
	readBytes:  32 << 20,
	rangeRows:  10_000,
	writes:     8_192,
	writeBytes: 4 << 20,
	value:      256 << 10,
	key:        512,
	response:   256 << 10,
}

// readLimits bound a read call. They concern one node only.
var readLimits = limits{
	calls:     20_000,
	readBytes: 32 << 20,
	rangeRows: 20_000,
	key:       1024,
	response:  8 << 20,
}

// maxMessage bounds the text of a refusal that a node keeps for people.
const maxMessage = 256
