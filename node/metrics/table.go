package metrics

import "fmt"

// Row describes one metric. Every metric of the package is in Table, and
// node/OPERATIONS.md shows the same rows to people.
type Row struct {
	Name   string
	Kind   string // counter, gauge or histogram
	Labels []string
	Help   string
}

// Table lists every metric but those of the Go runtime and the process (go_*,
// process_*), which the Prometheus library documents.
var Table = []Row{
	{"assent_build_info", "gauge", []string{"version"}, "1; the version of the program."},

	{"assent_height", "gauge", nil, "Newest block: certified and synced to this node's disk."},
	{"assent_executed_height", "gauge", nil, "Newest block whose transactions this node has executed."},
	{"assent_certified_height", "gauge", nil, "Newest height whose state root a certificate covers."},
	{"assent_halted_height", "gauge", nil, "Height at which the node halted over a result that the others do not share, and which it has not passed since; 0: none. Any other value is an alarm."},
	{"assent_block_age_seconds", "gauge", nil, "Time since the newest block. An idle network makes none."},
	{"assent_config_seq", "gauge", nil, "Number of the configuration in force."},
	{"assent_validators", "gauge", nil, "Validators of the configuration in force."},
	{"assent_quorum_margin", "gauge", nil, "How many validators that this node reaches (itself included) may fail before none can order; negative: too few already."},
	{"assent_view", "gauge", nil, "View of the ordering engine; it rises by one with every change of leader that is tried."},
	{"assent_leader", "gauge", nil, "Number of the leading validator; 0: none known."},
	{"assent_leader_changes_total", "counter", nil, "Changes of leader that this node has seen since it started."},
	{"assent_engine_decided_total", "counter", nil, "Blocks that this node's ordering engine decided; those of catching up are not among them."},
	{"assent_engine_catch_ups_total", "counter", nil, "How often the engine found itself behind and had the node catch up."},
	{"assent_engine_view_changes_total", "counter", nil, "Views the engine entered after its first, each a change of leader that was carried through."},
	{"assent_engine_restarts_total", "counter", nil, "How often the engine was started again from its log, because its memory and the log had come apart."},
	{"assent_engine_reliefs_total", "counter", nil, "How often the ordering library waited for what could not come any more and was helped on."},
	{"assent_engine_repeats_total", "counter", nil, "How often messages on an undecided proposal were sent again."},
	{"assent_engine_messages_total", "counter", []string{"result"}, "Messages of the engine: sent, received, refused (malformed, or from a stranger), held (taken later than they came, by a validator that was behind)."},
	{"assent_engine_log_records_total", "counter", nil, "Records synced to the ordering log."},
	{"assent_engine_log_bytes_total", "counter", nil, "Bytes of them."},
	{"assent_pool_requests", "gauge", nil, "Requests that wait to be ordered."},
	{"assent_view_age_seconds", "gauge", nil, "How old this node's state can be at most; -1: never established."},
	{"assent_ready", "gauge", []string{"check"}, "1 where /readyz is content, else 0, condition by condition."},

	{"assent_contradictions_total", "counter", []string{"validator", "kind"}, "How often another validator contradicted itself, since the start: proven (two votes for one height and view, signed), two-votes and two-proposals (seen here, not provable). Any is an alarm."},

	{"assent_blocks_executed_total", "counter", nil, "Blocks executed since the start, those of catching up included."},
	{"assent_transactions_total", "counter", []string{"code"}, "Executed transactions by outcome code."},
	{"assent_decisions_total", "counter", []string{"code"}, "Access requests decided, each of a batch too, by code: PERMIT, or why not."},
	{"assent_receipts_total", "counter", []string{"outcome"}, "Receipts of providers on the ledger, by outcome."},
	{"assent_commit_seconds", "histogram", nil, "From a client's Submit at this node to the executed outcome, for clients that wait."},
	{"assent_admission_refusals_total", "counter", []string{"why"}, "Transactions of this node's clients that it did not take into its pool."},
	{"assent_admission_total", "counter", []string{"result"}, "Transactions that clients sent here and other nodes forwarded, by what the pool did: admitted, busy (the member's share was full), invalid, not_now (their time), stranger (forwarded, signed by a key its member has not registered), overdue (of another node's clients, dropped after a long wait)."},
	{"assent_pool_units", "gauge", []string{"member"}, "Units of a member's requests that wait to be ordered: one for each, and one more for each KiB; absent while none waits."},
	{"assent_pool_limit_units", "gauge", nil, "Units that the pool takes now, of all members together."},
	{"assent_ordering_units_per_second", "gauge", nil, "Units that the network orders in a second, as measured lately."},

	{"assent_api_requests_total", "counter", []string{"method", "code"}, "API calls by method and code."},
	{"assent_api_request_seconds", "histogram", []string{"method"}, "Duration of API calls, waiting included; of an event stream, its life."},
	{"assent_api_refused_total", "counter", []string{"limit"}, "Calls and connections turned away because of a limit, transactions with a wrong signature (bad_transactions), and event streams cut because they were read too slowly (slow_readers)."},

	{"assent_peer_connected", "gauge", []string{"peer", "member"}, "1 while another node of the ledger is connected."},
	{"assent_peer_rtt_seconds", "gauge", []string{"peer", "member"}, "Round trip to a connected node; absent until measured."},
	{"assent_peer_queue_messages", "gauge", []string{"peer", "class"}, "Messages waiting to be sent to a node."},
	{"assent_peer_dropped_total", "counter", []string{"peer", "class"}, "Messages to a node that were dropped here: its queue was full."},
	{"assent_peer_throttled_total", "counter", []string{"peer", "class"}, "Messages from a node that were dropped here: it exceeded its rate."},
	{"assent_peer_garbage_total", "counter", nil, "Requests from other nodes that no honest node forwards."},
	{"assent_peer_shuns_total", "counter", nil, "How often another node was not listened to for a while, because of such requests."},
	{"assent_peer_costly_dropped_total", "counter", nil, "Config updates and seals from other nodes that were dropped because there were too many."},

	{"assent_store_bytes", "gauge", []string{"part"}, "Size on disk: blocks, state, wal, private."},
	{"assent_state_memory_bytes", "gauge", []string{"part"}, "Memory of state that is not on disk yet (unflushed) and of older states for proofs (past)."},
	{"assent_disk_free_bytes", "gauge", nil, "Space left on the data directory's file system."},

	{"assent_key_ends_seconds", "gauge", []string{"kind", "key"}, "Until a client key or data key of this member ends, negative once it has; absent for keys without an end and for revoked ones."},
	{"assent_overdue", "gauge", []string{"what"}, "What this member owes since a date that has passed: erasure (receipts of erasure), deletion (a lender's deletion receipts), dispute (answers to requests for correction); counted to 1,000."},

	{"assent_outbox_items", "gauge", nil, "Sealed parts, answers and receipts on their way."},
	{"assent_outbox_oldest_seconds", "gauge", nil, "How long the oldest of them has been waiting, counted from the start of the node at most; 0: none waits."},
	{"assent_answers_total", "counter", []string{"outcome"}, "What this node's own answering came to."},
	{"assent_leak_account_refusals_total", "counter", nil, "Answers refused because a customer's leak account was used up."},
	{"assent_vault_lookup_seconds", "histogram", []string{"product"}, "Duration of look-ups in the member's own database."},
	{"assent_vault_errors_total", "counter", []string{"product", "kind"}, "Look-ups that failed: unavailable, schema, ambiguous, account (it may write)."},
	{"assent_vault_ok", "gauge", []string{"product"}, "1 while the product's database was in order when it was last used or looked at; see assentd doctor."},
}

func row(name string) Row {
	for _, r := range Table {
		if r.Name == name {
			return r
		}
	}
	panic(fmt.Sprintf("metrics: %s is not in the table", name))
}
