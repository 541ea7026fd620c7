package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
)

func about() About {
	return About{
		Format: Format, ChainID: "0x" + strings.Repeat("ab", 32), Network: "test", Member: "bank", NodeID: "node-1", Kind: "validator",
		Software: "dev", Made: "2026-11-22T00:00:00Z", VoteKeys: []string{"0x01"}, Blocks: true,
	}
}

func identity(t testing.TB) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// entries are what a small backup holds, in order.
func entries() []struct {
	name    string
	content []byte
} {
	chunk := AppendBlock(AppendBlock(nil, []byte("genesis"), nil), []byte("block one"), []byte("votes"))
	return []struct {
		name    string
		content []byte
	}{
		{ConfigName, []byte("identity: {}\n")}, {GenesisName, []byte("the genesis file")}, {CardName, []byte(`{"member":"bank"}`)},
		{KeyName("data"), []byte("the data key")}, {KeyName("host"), []byte("the host key")},
		{PrivateName, bytes.Repeat([]byte("row "), 40_000)}, {ManifestName, []byte("what state")}, {BlocksName(0), chunk},
		{HeadersName(2), AppendBlock(nil, []byte("header two"), []byte("votes"))}, {BlocksName(3), AppendBlock(nil, []byte("three"), []byte("votes"))},
		{ChunkName(0), []byte("rows")}, {ChunkName(1), []byte("receipts")},
	}
}

// written makes a backup to one recipient.
func written(t testing.TB, to age.Recipient) ([]byte, *Seal) {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, []age.Recipient{to}, about())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries() {
		if err := w.AddBytes(e.name, e.content); err != nil {
			t.Fatal(err)
		}
	}
	seal, err := w.Close(2)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), seal
}

func drain(r *Reader) (map[string][]byte, error) {
	got := map[string][]byte{}
	for {
		name, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		if got[name], err = io.ReadAll(r); err != nil {
			return got, err
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	id := identity(t)
	file, seal := written(t, id.Recipient())
	r, err := NewReader(bytes.NewReader(file), []age.Identity{identity(t), id})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(about(), r.About()); diff != "" {
		t.Error(diff)
	}
	got, err := drain(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries() {
		if !bytes.Equal(got[e.name], e.content) {
			t.Errorf("%s is not what was written", e.name)
		}
	}
	if len(got) != len(entries()) {
		t.Errorf("%d entries, want %d", len(got), len(entries()))
	}
	encoded, err := seal.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseSeal(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Check(t.Context(), bytes.NewReader(file), nil); err != nil {
		t.Error(err)
	}
}

func TestOnlyRecipientsOpenIt(t *testing.T) {
	file, _ := written(t, identity(t).Recipient())
	if _, err := NewReader(bytes.NewReader(file), []age.Identity{identity(t)}); err == nil || !strings.Contains(err.Error(), "other recipients") {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := NewWriter(io.Discard, nil, about()); err == nil {
		t.Error("written to nobody, so in the clear")
	}
	for _, e := range entries() {
		if bytes.Contains(file, e.content) {
			t.Errorf("%s stands there in the clear", e.name)
		}
	}
}

// TestEveryDamageIsFound changes single bytes and lengths anywhere: by its hashes
// and by opening it, neither lets one pass.
func TestEveryDamageIsFound(t *testing.T) {
	id := identity(t)
	file, seal := written(t, id.Recipient())
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range 60 {
		damaged := bytes.Clone(file)
		at := rng.IntN(len(damaged))
		switch i % 3 {
		case 0:
			damaged[at] ^= 1 << rng.IntN(8)
		case 1:
			damaged = damaged[:at]
		default:
			damaged = append(damaged, byte(at))
		}
		if err := seal.Check(t.Context(), bytes.NewReader(damaged), nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("damage %d at %d, by the hashes: %v", i%3, at, err)
		}
		r, err := NewReader(bytes.NewReader(damaged), []age.Identity{id})
		if err == nil {
			_, err = drain(r)
		}
		if err == nil {
			t.Errorf("damage %d at %d, by opening it: not found", i%3, at)
		}
	}
}

// plain makes an archive without encryption, for what an attacker who has the
// public key could write.
func plain(t testing.TB, list func([]listed) []listed, names ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	var all []listed
	put := func(name string, b []byte) {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(b))}
		if strings.HasSuffix(name, "->") {
			h.Name, h.Typeflag, h.Linkname, h.Size = strings.TrimSuffix(name, "->"), tar.TypeSymlink, "/etc/passwd", 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		sum := sha256.Sum256(b)
		all = append(all, listed{h.Name, h.Size, hex.EncodeToString(sum[:])})
	}
	a, err := json.Marshal(about())
	if err != nil {
		t.Fatal(err)
	}
	put(AboutName, a)
	for _, name := range names {
		put(name, []byte("content of "+name))
	}
	if list != nil {
		all = list(all)
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	put(ListName, b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestForgedArchivesAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		list  func([]listed) []listed
		names []string
	}{
		"a path out of the home":      {nil, []string{"../../etc/cron.d/x"}},
		"an absolute path":            {nil, []string{"/etc/passwd"}},
		"a key with a path":           {nil, []string{"keys/../config.yaml.key.json"}},
		"a link":                      {nil, []string{"config.yaml->"}},
		"a name twice":                {nil, []string{ConfigName, ConfigName}},
		"another order":               {nil, []string{GenesisName, ConfigName}},
		"an ordering log":             {nil, []string{"data/wal/0.wal"}},
		"a list that lacks an entry":  {func(l []listed) []listed { return l[1:] }, []string{ConfigName}},
		"a list with another hash":    {func(l []listed) []listed { l[1].SHA256 = l[0].SHA256; return l }, []string{ConfigName}},
		"a list with one entry more":  {func(l []listed) []listed { return append(l, l[0]) }, []string{ConfigName}},
		"a list with another size":    {func(l []listed) []listed { l[0].Size++; return l }, nil},
		"blocks before the database":  {nil, []string{BlocksName(0), PrivateName}},
		"headers of heights before":   {nil, []string{BlocksName(2), HeadersName(1)}},
		"headers of the same height":  {nil, []string{BlocksName(2), HeadersName(2)}},
		"a chunk before the blocks":   {nil, []string{ChunkName(0), BlocksName(0)}},
		"a manifest after the blocks": {nil, []string{BlocksName(0), ManifestName}},
		"a small file that is large":  {nil, []string{ConfigName + strings.Repeat("x", 3)}},
		"blocks with a strange name":  {nil, []string{"blocks/1"}},
		"something under data":        {nil, []string{"data/private.db"}},
		"two lists, one in the midst": {nil, []string{ListName}},
	} {
		r, err := newReader(bytes.NewReader(plain(t, tc.list, tc.names...)))
		if err == nil {
			_, err = drain(r)
		}
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, err := newReader(bytes.NewReader(plain(t, nil, ConfigName)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := drain(r); err != nil {
		t.Errorf("an honest archive: %v", err)
	}
}

func TestBlocksOfAnEntry(t *testing.T) {
	var b []byte
	for i := range 5 {
		b = AppendBlock(b, fmt.Appendf(nil, "block %d", i), fmt.Appendf(nil, "votes %d", i))
	}
	n := 0
	if err := ReadBlocks(bytes.NewReader(b), func(block, cert []byte) error {
		if string(block) != fmt.Sprintf("block %d", n) || string(cert) != fmt.Sprintf("votes %d", n) {
			t.Errorf("pair %d is %q, %q", n, block, cert)
		}
		n++
		return nil
	}); err != nil || n != 5 {
		t.Errorf("%d blocks, %v", n, err)
	}
	for cut := 1; cut < len(b); cut++ {
		pairs := 0
		err := ReadBlocks(bytes.NewReader(b[:cut]), func(_, _ []byte) error { pairs++; return nil })
		if whole := cut%16 == 0; whole != (err == nil) || err == nil && pairs != cut/16 {
			t.Errorf("cut at %d: %d pairs, %v", cut, pairs, err)
		}
	}
}

// FuzzArchive reads what was decrypted: anybody who has the public key can write it.
func FuzzArchive(f *testing.F) {
	f.Add(plain(f, nil, ConfigName, GenesisName, PrivateName, BlocksName(0)))
	f.Add(plain(f, func(l []listed) []listed { return l[1:] }, ConfigName))
	f.Add([]byte("about.json"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := newReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		got, err := drain(r)
		for name, content := range got {
			if rank(name) == 0 || strings.Contains(name, "..") || strings.HasPrefix(name, "/") {
				t.Fatalf("entry %q was handed out", name)
			}
			if len(content) > len(b) {
				t.Fatalf("entry %q has %d bytes out of %d", name, len(content), len(b))
			}
		}
	})
}

func FuzzBlocks(f *testing.F) {
	f.Add(AppendBlock(AppendBlock(nil, []byte("genesis"), nil), []byte("one"), []byte("votes")))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		if err := ReadBlocks(bytes.NewReader(b), func(block, cert []byte) error {
			again = AppendBlock(again, block, cert)
			return nil
		}); err == nil && len(again) > len(b) {
			t.Fatalf("%d bytes read out of %d", len(again), len(b))
		}
	})
}

func FuzzSeal(f *testing.F) {
	_, seal := written(f, identity(f).Recipient())
	b, err := seal.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"bytes":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSeal(b)
		if err != nil {
			return
		}
		if err := s.Check(t.Context(), strings.NewReader("something"), nil); err == nil && s.Bytes != 9 {
			t.Fatal("a file of another length passed")
		}
	})
}

// A backup of format 1, which older releases wrote, is read; one of a later format is
// not.
func TestFormatsThatAreRead(t *testing.T) {
	for format, ok := range map[int]bool{0: false, 1: true, Format: true, Format + 1: false} {
		a := about()
		a.Format = format
		if err := a.check(); (err == nil) != ok {
			t.Errorf("format %d: %v", format, err)
		}
	}
}
