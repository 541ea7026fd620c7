package badinput

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// testPages: who has no session is shown the sign-in and nothing of the ledger, whatever
// they send; an API token opens none.
func testPages(t *testing.T, x *raw, bearer string) {
	ask := func(t *testing.T, method, path, contentType, body string, change func(*http.Request)) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+x.node.API+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		if change != nil {
			change(req)
		}
		resp, err := x.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(b)
	}
	for name, change := range map[string]func(*http.Request){
		"nothing":        nil,
		"an API token":   func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+bearer) },
		"a made cookie":  func(r *http.Request) { r.Header.Set("Cookie", "__Host-assent-console="+strings.Repeat("A", 52)) },
		"a large cookie": func(r *http.Request) { r.Header.Set("Cookie", "__Host-assent-console="+strings.Repeat("A", 8000)) },
	} {
		for _, path := range []string{"/", "/console/blocks", "/console/requests.csv?party=" + lender, "/console/health/report.json"} {
			t.Run(name+" at "+path, func(t *testing.T) {
				resp, body := ask(t, http.MethodGet, path, "", "", change)
				if resp.Request.URL.Path != "/console/sign-in" || resp.StatusCode != http.StatusOK || !strings.Contains(body, `id="sign-in"`) || strings.Contains(body, "Sign out") {
					t.Errorf("%d at %s:\n%s", resp.StatusCode, resp.Request.URL, body)
				}
			})
		}
	}
	for name, body := range map[string]string{
		"nothing": "", "no JSON": "{", "no token": `{}`, "an API token": `{"token":"` + bearer + `"}`, "garbage": `{"token":"a.b.c"}`,
		"too long": `{"token":"` + strings.Repeat("A", 100_000) + `"}`,
	} {
		t.Run("sign-in with "+name, func(t *testing.T) {
			resp, said := ask(t, http.MethodPost, "/console/session", "application/json", body, nil)
			if resp.StatusCode < 400 || resp.StatusCode > 499 || !strings.Contains(said, `"error":"`) || resp.Header.Get("Set-Cookie") != "" || strings.Contains(said, bearer) {
				t.Errorf("%d %s %v", resp.StatusCode, said, resp.Header)
			}
		})
	}
}
