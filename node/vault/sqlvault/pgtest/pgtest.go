// Package pgtest runs a private PostgreSQL server, for tests and the
// demonstration: its own cluster in a temporary directory, on a free port of
// loopback, as a user who is not root.
//
// It owns that directory and that process and promises to touch no other cluster
// of the machine. It is no way to run a database in earnest: nothing is synced to
// disk.
package pgtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
)

// RequireEnv is the environment variable with which a whole test run says that a
// missing server is a failure and not a reason to skip.
const RequireEnv = "ASSENT_REQUIRE_POSTGRES"

// ErrMissing means that PostgreSQL is not installed.
var ErrMissing = errors.New("pgtest: PostgreSQL is not installed: run 'apt-get install postgresql' (Debian, Ubuntu), or set ASSENT_POSTGRES_BIN to the directory of initdb")

// Admin is the superuser of a private server.
const Admin = "assent_admin"

// Server is a private server.
type Server struct {
	Dir  string // of the cluster, its sockets and its log
	Port int
	// PID of the server while it runs.
	PID int

	bin      string
	password string
	as       *syscall.Credential // nil: the user who runs this
	proc     *exec.Cmd
	done     chan struct{}
	ended    error
}

// binDir finds initdb and postgres.
func binDir() (string, error) {
	if dir := os.Getenv("ASSENT_POSTGRES_BIN"); dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
			return "", fmt.Errorf("pgtest: ASSENT_POSTGRES_BIN: %w", err)
		}
		return dir, nil
	}
	// Debian keeps the server's programs out of PATH; the newest version last.
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is well-formed
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	if p, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(p), nil
	}
	return "", ErrMissing
}

func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // no number sorts first
	return n
}

// Start makes a cluster and starts its server. It needs PostgreSQL's programs
// (ErrMissing) and, for root, one of the users postgres and nobody.
func Start(ctx context.Context) (_ *Server, err error) {
	bin, err := binDir()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin}
	var secret [16]byte
	rand.Read(secret[:])
	s.password = hex.EncodeToString(secret[:])
	if s.Dir, err = os.MkdirTemp("", "assent-pg-"); err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.as, err = Unprivileged(s.Dir); err != nil {
		return nil, err
	}
	if err := s.initdb(ctx); err != nil {
		return nil, err
	}
	if err := s.Up(ctx); err != nil {
		return nil, err
	}
	// As it is from version 15 on; before, every account may make tables there.
	return s, s.Exec(ctx, "postgres", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
}

// Unprivileged chooses who runs a database server, which refuses root, and gives
// them dir. Nil means the user who runs this.
func Unprivileged(dir string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32) // numbers, on every Unix
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			return nil, fmt.Errorf("pgtest: %w", err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("pgtest: a database server refuses to run as root, and there is no user postgres or nobody: run this as another user")
}

func (s *Server) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	// A group of its own: a Ctrl-C at the terminal ends whoever started it first.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.as}
	return cmd
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

// LogPath is the server's log.
func (s *Server) LogPath() string { return filepath.Join(s.Dir, "server.log") }

func (s *Server) initdb(ctx context.Context) error {
	secret := filepath.Join(s.Dir, "password")
	if err := os.WriteFile(secret, []byte(s.password+"\n"), 0o600); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	defer os.Remove(secret)
	if s.as != nil {
		if err := os.Chown(secret, int(s.as.Uid), int(s.as.Gid)); err != nil {
			return fmt.Errorf("pgtest: %w", err)
		}
	}
	out, err := s.command(ctx, "initdb", "--pgdata", s.data(), "--username", Admin, "--pwfile", secret,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions").CombinedOutput()
	if err != nil {
		return fmt.Errorf("pgtest: initdb: %w\n%s", err, out)
	}
	return nil
}

// Up starts the server, again after Down, on the same port, and waits until it
// answers.
func (s *Server) Up(ctx context.Context) error {
	if s.Port == 0 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("pgtest: find a free port: %w", err)
		}
		s.Port = l.Addr().(*net.TCPAddr).Port
		l.Close()
	}
	log, err := os.OpenFile(s.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	defer log.Close()
	args := []string{"-D", s.data(), "-k", s.Dir, "-p", strconv.Itoa(s.Port)}
	for _, setting := range []string{"listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off",
		"shared_buffers=16MB", "max_connections=60", "max_wal_size=256MB", "jit=off", "autovacuum=off", "log_min_messages=fatal", "logging_collector=off"} {
		args = append(args, "-c", setting)
	}
	s.proc = s.command(context.Background(), "postgres", args...) // it outlives the call
	s.proc.Stdout, s.proc.Stderr = log, log
	if err := s.proc.Start(); err != nil {
		return fmt.Errorf("pgtest: start postgres: %w", err)
	}
	s.PID = s.proc.Process.Pid
	done := make(chan struct{})
	s.done = done
	go func(p *exec.Cmd) {
		s.ended = p.Wait()
		close(done)
	}(s.proc)
	return s.answers(ctx)
}

// answers waits until the server takes connections.
func (s *Server) answers(ctx context.Context) error {
	db, err := sql.Open("pgx", s.URL("postgres", Admin, s.password))
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	defer db.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.done:
			b, _ := os.ReadFile(s.LogPath()) // for the message only
			return fmt.Errorf("pgtest: postgres ended: %w\n%s", s.ended, bytes.TrimSpace(b))
		case <-ctx.Done():
			return fmt.Errorf("pgtest: postgres does not answer: %w", err)
		}
	}
}

// Down stops the server as an administrator's restart does, ending every session,
// and keeps its data.
func (s *Server) Down() error { return s.stop(syscall.SIGINT) }

// Crash stops the server at once, as a crash does; Up recovers.
func (s *Server) Crash() error { return s.stop(syscall.SIGQUIT) }

func (s *Server) stop(how syscall.Signal) error {
	if s.proc == nil {
		return nil
	}
	if err := s.proc.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("pgtest: stop pid %d: %w", s.PID, err)
	}
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
		s.proc.Process.Kill()
		return fmt.Errorf("pgtest: pid %d did not end within a minute and was killed: see %s", s.PID, s.LogPath())
	}
	s.proc, s.PID = nil, 0
	return nil
}

// Release leaves the server running for whoever knows PID and Dir.
func (s *Server) Release() { s.proc = nil }

// Close stops the server and removes its directory.
func (s *Server) Close() error {
	return errors.Join(s.stop(syscall.SIGINT), os.RemoveAll(s.Dir))
}

// URL is how an account reaches a database of the server.
func (s *Server) URL(database, account, password string) string {
	u := url.URL{Scheme: "postgres", User: url.User(account), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)), Path: "/" + database, RawQuery: "sslmode=disable"}
	if password != "" {
		u.User = url.UserPassword(account, password)
	}
	return u.String()
}

// AdminURL is how the superuser reaches a database.
func (s *Server) AdminURL(database string) string { return s.URL(database, Admin, s.password) }

// Exec runs SQL as the superuser, on one connection.
func (s *Server) Exec(ctx context.Context, database string, statements ...string) (err error) {
	db, err := sql.Open("pgx", s.AdminURL(database))
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	for _, text := range statements {
		if _, err := db.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("pgtest: %q: %w", text, err)
		}
	}
	return nil
}
