package link

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ByProcess identifies the dialling process: every node dials from 127.0.0.1, so
// the connection's other end is looked up in /proc. processes lists pids and
// whose they are.
func ByProcess(processes func() map[int]string) Identify {
	return func(conn net.Conn) (string, error) {
		near, far := conn.LocalAddr().(*net.TCPAddr).AddrPort(), conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		f, err := os.Open("/proc/net/tcp")
		if err != nil {
			return "", err
		}
		defer f.Close()
		inode, err := findSocket(f, far, near)
		if err != nil {
			return "", err
		}
		for pid, name := range processes() {
			if holds(pid, inode) {
				return name, nil
			}
		}
		return "", fmt.Errorf("no node dials from %s", far)
	}
}

// findSocket returns the inode of the socket from local to remote in a table of
// the form of /proc/net/tcp.
func findSocket(table io.Reader, local, remote netip.AddrPort) (string, error) {
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 {
			continue
		}
		l, lerr := parseAddr(f[1])
		r, rerr := parseAddr(f[2])
		if lerr == nil && rerr == nil && l == local && r == remote && f[9] != "0" {
			return f[9], nil
		}
	}
	return "", errors.Join(lines.Err(), fmt.Errorf("no socket from %s to %s", local, remote))
}

// parseAddr reads 0100007F:1F90: the address in the machine's byte order.
func parseAddr(s string) (netip.AddrPort, error) {
	host, port, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	p, perr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || perr != nil || len(b) != 4 {
		return netip.AddrPort{}, fmt.Errorf("address %q", s)
	}
	var ip [4]byte
	binary.BigEndian.PutUint32(ip[:], binary.NativeEndian.Uint32(b))
	return netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(p)), nil
}

// holds reports whether a process has a socket open.
func holds(pid int, inode string) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	want := []byte("socket:[" + inode + "]")
	for _, e := range entries {
		if at, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && bytes.Equal([]byte(at), want) {
			return true
		}
	}
	return false
}
