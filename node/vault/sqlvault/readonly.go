package sqlvault

import (
	"fmt"
	"slices"
	"strings"
)

// writing are the words by which SQL changes something, or locks it, where a
// SELECT is expected. They are looked for outside quotes only.
var writing = []string{
	"ALTER", "ATTACH", "CALL", "COPY", "CREATE", "DELETE", "DROP", "EXECUTE", "GRANT", "INSERT", "INTO", "LOCK", "MERGE", "PRAGMA",
	"REVOKE", "TRUNCATE", "UPDATE", "VACUUM",
}

// effects are functions of the usual databases that change something, or run SQL
// of their own, inside a SELECT. A name ending in '*' stands for all that begin so.
var effects = []string{
	"dblink*", "get_lock", "lo_*", "load_extension", "load_file", "nextval", "pg_advisory*", "pg_cancel_backend", "pg_create_*", "pg_drop_*",
	"pg_logical_*", "pg_ls_*", "pg_notify", "pg_promote", "pg_read_*", "pg_reload_conf", "pg_replication_*", "pg_rotate_logfile",
	"pg_switch_wal", "pg_terminate_backend", "pg_try_advisory*", "query_to_xml*", "release_lock", "set_config", "setval", "writefile",
}

// checkReadOnly refuses SQL that is not read-only on its face. It is there for a
// clear word at the start; what enforces it is the database: a read-only account
// and read-only transactions.
func checkReadOnly(s string) error {
	words := words(s)
	for i, w := range words {
		upper, lower := strings.ToUpper(w.text), strings.ToLower(w.text)
		switch {
		case w.text == "$":
			return fmt.Errorf("must not hold '$' outside of quotes")
		case !w.qualified && slices.Contains(writing, upper): // v.update is a column
			return fmt.Errorf("is not read-only: it holds %s; map a SELECT that neither writes nor locks (a column of that name goes into double quotes)", upper)
		case upper == "SHARE" && i > 0 && (strings.EqualFold(words[i-1].text, "FOR") || strings.EqualFold(words[i-1].text, "KEY")):
			return fmt.Errorf("is not read-only: FOR SHARE locks rows; remove it")
		case w.called && slices.ContainsFunc(effects, func(e string) bool {
			head, open := strings.CutSuffix(e, "*")
			return lower == e || open && strings.HasPrefix(lower, head)
		}):
			return fmt.Errorf("is not read-only: it calls %s; map a SELECT without side effects", lower)
		}
	}
	return nil
}

// word is a name or keyword outside quotes.
type word struct {
	text      string
	qualified bool // follows a dot
	called    bool // an opening parenthesis follows
}

// words lists the names and keywords of SQL outside of strings and quoted names.
// A quote that is left open hides the rest, which the database then refuses.
func words(s string) []word {
	var out []word
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '\'' || c == '"' || c == '`':
			end := strings.IndexByte(s[i+1:], c)
			if end < 0 {
				return out
			}
			i += end + 2 // a doubled quote begins the next string at once
		case c == '$':
			out = append(out, word{text: "$"})
			i++
		case letter(c):
			j := i
			for j < len(s) && (letter(s[j]) || s[j] >= '0' && s[j] <= '9') {
				j++
			}
			rest := strings.TrimLeft(s[j:], " \t\r\n")
			out = append(out, word{text: s[i:j], qualified: i > 0 && s[i-1] == '.', called: strings.HasPrefix(rest, "(")})
			i = j
		default:
			i++
		}
	}
	return out
}

func letter(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
