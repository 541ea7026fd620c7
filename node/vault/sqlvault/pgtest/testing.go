package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

// T is what Shared needs of testing.TB.
type T interface {
	Helper()
	Skip(args ...any)
	Fatal(args ...any)
	Error(args ...any)
	Cleanup(func())
	Context() context.Context
}

var (
	once     sync.Once
	shared   *Server
	startErr error
	number   atomic.Int64
)

// Shared returns the server that the tests of one program share, and starts it on
// the first call. Without PostgreSQL it skips the test, or fails it where
// RequireEnv is set. CloseShared belongs at the end of TestMain.
func Shared(t T) *Server {
	t.Helper()
	once.Do(func() { shared, startErr = Start(context.Background()) })
	judge(t, startErr)
	return shared
}

// Own starts a server that one test has to itself.
func Own(t T) *Server {
	t.Helper()
	s, err := Start(t.Context())
	judge(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func judge(t T, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, ErrMissing) && os.Getenv(RequireEnv) == "":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// CloseShared stops the shared server, if there is one.
func CloseShared() error {
	if shared == nil {
		return nil
	}
	return shared.Close()
}

// Database is where the spaces of NewSpace are.
const Database = "postgres"

// NewSpace makes an empty schema of Database and an account of the same name,
// which finds that schema without naming it and may look into it, no more. Its
// password is its name.
func (s *Server) NewSpace(t T) string {
	t.Helper()
	name := fmt.Sprintf("test%d", number.Add(1))
	err := s.Exec(t.Context(), Database,
		"CREATE SCHEMA "+name, "CREATE ROLE "+name+" LOGIN PASSWORD '"+name+"'",
		"GRANT USAGE ON SCHEMA "+name+" TO "+name, "ALTER ROLE "+name+" SET search_path = "+name)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
