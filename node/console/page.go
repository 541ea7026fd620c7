package console

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/assent-network/assent/node/api"
)

//go:embed pages
var templates embed.FS

// pages are the parsed templates: each page with the layout and the parts.
type pages struct{ byName map[string]*template.Template }

func parsePages() (*pages, error) {
	base, err := template.New("base").Funcs(words).ParseFS(templates, "pages/base.html", "pages/part-*.html")
	if err != nil {
		return nil, err
	}
	entries, err := templates.ReadDir("pages")
	if err != nil {
		return nil, err
	}
	p := &pages{map[string]*template.Template{}}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".html")
		if name == "base" || strings.HasPrefix(name, "part-") {
			continue
		}
		t, err := base.Clone()
		if err == nil {
			_, err = t.ParseFS(templates, path.Join("pages", e.Name()))
		}
		if err != nil {
			return nil, err
		}
		p.byName[name] = t
	}
	return p, nil
}

// frame is what the layout shows around a page.
type frame struct {
	Page    string
	Network string
	Member  string
	Visitor *visitor
	Body    any
}

// show writes a page. It is complete before its first byte leaves, so a template that
// fails leaves no half page.
func (c *Console) show(w http.ResponseWriter, r *http.Request, status int, name string, v *visitor, body any) {
	var out bytes.Buffer
	err := c.pages.byName[name].ExecuteTemplate(&out, "base", &frame{name, c.cfg.Network, c.cfg.Member, v, body})
	if err != nil {
		c.cfg.Logger.Error("console: page failed", "page", name, "err", err)
		http.Error(w, "The page could not be made. The node's log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = out.WriteTo(w) // the browser may have gone
}

// part renders one template of a page alone, for what replaces itself.
func (c *Console) part(page, name string, body any) ([]byte, error) {
	var out bytes.Buffer
	err := c.pages.byName[page].ExecuteTemplate(&out, name, body)
	return out.Bytes(), err
}

// problem says what is wrong and what to do.
func (c *Console) problem(w http.ResponseWriter, r *http.Request, status int, what, remedy string) {
	v, _ := c.who(r, false) // signed in or not
	c.show(w, r, status, "problem", v, struct{ What, Remedy string }{what, remedy})
}

// failed shows an error of the node.
func (c *Console) failed(w http.ResponseWriter, r *http.Request, err error) {
	var told *api.Error
	switch {
	case r.Context().Err() != nil: // the browser has gone
	case errors.As(err, &told):
		c.problem(w, r, http.StatusNotFound, told.What, told.Advice())
	default:
		c.cfg.Logger.Error("console: cannot read", "page", r.Pattern, "err", err)
		c.problem(w, r, http.StatusInternalServerError, "The node could not read this", "Its log says why; assentd doctor on its machine says what to do.")
	}
}

// words are what templates say with.
var words = template.FuncMap{
	"when":  when,
	"ago":   ago,
	"short": short,
	"hex":   func(h interface{ Hex() string }) string { return h.Hex() },
	"join": func(items any) string {
		return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(items)), ", "), "[]")
	},
	"badge": badge,
	"path":  func() string { return Path },
}

// when is a ledger time in full, UTC.
func when(ms any) string {
	n := int64(0)
	switch t := ms.(type) {
	case int64:
		n = t
	case uint64:
		n = int64(t)
	}
	if n == 0 {
		return "—"
	}
	return time.UnixMilli(n).UTC().Format("2006-01-02 15:04:05 UTC")
}

// ago is how long something took or has lasted, roughly.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// short is the beginning of a key or hash, for people.
func short(h any) string {
	s := fmt.Sprint(h)
	if len(s) <= 14 {
		return s
	}
	return s[:10] + "…"
}

// badge is the colour of a word of the ledger: good, bad, or neither.
func badge(word any) string {
	switch fmt.Sprint(word) {
	case "Authorised", "PERMIT", "ANSWERED", "OK", "APPLIED":
		return "good"
	case "Revoked", "Rejected", "DENY", "REFUSED", "OVERDUE":
		return "bad"
	case "OPEN", "AwaitingAuthorisation", "Expired", "WITHHELD", "PENDING":
		return "warn"
	}
	return "plain"
}
