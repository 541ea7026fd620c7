package exposure

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark-crypto/ecc/bn254/twistededwards"
)

func publicKey(t testing.TB, private []byte) []byte {
	t.Helper()
	k, err := ecdh.X25519().NewPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return k.PublicKey().Bytes()
}

// The generators are what another implementation computes from their names.
func TestGeneratorsComeFromTheirNames(t *testing.T) {
	for name, want := range map[string]string{
		"G": "0e6a4f7a49f8e822e46b67a2ef79db01dc93c325d61e76c9b796adf42101ac910ba09ce7821bbf61cf1647ab1189a70f6fd7560b3d01b198bd6153eb3312389d",
		"H": "0b106470428bb3502ff9d379700efdab8ce42eaf142e9cb2347740b098620ec62dfb708292378b4f79a3004e6eeefe9c902a0e9121cdfdae2fa10716dbbd00e0",
	} {
		p := hashToGroup(name)
		if got := hex.EncodeToString(p.Bytes()); got != want {
			t.Errorf("%s = %s", name, got)
		}
		if _, err := DecodePoint(p.Bytes()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The tables compute what the library's own multiplication does.
func TestTablesAgreeWithTheLibrary(t *testing.T) {
	const seed = 3
	r := fromSeed(seed)
	for range 20 {
		v, b := wideScalar([64]byte(bytesOf(r, 64))), wideScalar([64]byte(bytesOf(r, 64)))
		g, h := generatorG().point, generatorH().point
		var x, y twistededwards.PointAffine
		x.ScalarMultiplication(&g.p, v.big())
		y.ScalarMultiplication(&h.p, b.big())
		if !(Point{x}).add(Point{y}).Equal(pedersen(v, b)) {
			t.Fatalf("seed %d: they differ", seed)
		}
	}
	if !pedersen(scalarOf(0), scalarOf(0)).Equal(identity()) {
		t.Error("0·G + 0·H is not the identity")
	}
}

func TestPointsThatAreNone(t *testing.T) {
	good := generatorG().point
	x, y := good.p.X.Bytes(), good.p.Y.Bytes()
	unreduced := new(big.Int).Add(number(&good.p.X), fr.Modulus()).FillBytes(make([]byte, 32))
	var two twistededwards.PointAffine // (0, -1) has order two
	two.Y.SetOne()
	two.Y.Neg(&two.Y)
	var shifted twistededwards.PointAffine
	shifted.Add(&good.p, &two)
	for name, b := range map[string][]byte{
		"empty": nil, "short": x[:], "identity": identity().Bytes(), "off the curve": append(x[:], x[:]...),
		"unreduced": append(unreduced, y[:]...), "small order": Point{two}.Bytes(), "outside the group": Point{shifted}.Bytes(),
	} {
		if _, err := DecodePoint(b); !errors.Is(err, ErrPoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p, err := DecodePoint(good.Bytes()); err != nil || !p.Equal(good) {
		t.Errorf("a good point: %v", err)
	}
}

func TestScalarsThatAreNone(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty": nil, "the order": order().FillBytes(make([]byte, 32)), "all ones": bytes.Repeat([]byte{255}, 32),
	} {
		if _, err := DecodeScalar(b); !errors.Is(err, ErrScalar) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Bad points and scalars within a share are refused wherever they stand.
func TestASharesPartsAreEachChecked(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	good := w.share(t, 1).Bytes()
	for name, c := range map[string]struct {
		at   int
		with []byte
		want error
	}{
		"version":         {0, []byte{2}, ErrFormat},
		"seat":            {33, []byte{3}, ErrFormat},
		"banks":           {34, []byte{4}, ErrFormat},
		"pledge identity": {35, identity().Bytes(), ErrPoint},
		"proof":           {35 + PointSize, bytes.Repeat([]byte{255}, 32), ErrFormat},
		"proof's list":    {35 + PointSize + 131, []byte{1}, ErrFormat},
		"value":           {35 + PledgeSize, bytes.Repeat([]byte{255}, 32), ErrScalar},
		"blinding":        {35 + PledgeSize + 32, bytes.Repeat([]byte{255}, 32), ErrScalar},
		"mask identity":   {len(good) - PointSize, identity().Bytes(), ErrPoint},
		"mask off curve":  {len(good) - PointSize, bytes.Repeat([]byte{1}, 64), ErrPoint},
	} {
		bad := bytes.Clone(good)
		copy(bad[c.at:], c.with)
		if _, err := DecodeShare(bad); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h, err := DecodeShare(good)
	if err != nil || !bytes.Equal(h.Bytes(), good) {
		t.Errorf("a good share: %v", err)
	}
	for _, b := range [][]byte{append(bytes.Clone(good), 0), good[:40], make([]byte, MaxShare+1)} {
		if _, err := DecodeShare(b); !errors.Is(err, ErrFormat) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
}

// Secrets do not print themselves, wherever they stand.
func TestSecretsDoNotPrint(t *testing.T) {
	w := newWorld(t, 987_654_321, 2, 3)
	var log strings.Builder
	l := slog.New(slog.NewTextHandler(&log, nil))
	o, s := w.banks[0].opening, w.secrets(t, 0)[1]
	l.Info("x", "scalar", o.Value, "opening", o, "pair", s)
	out := fmt.Sprintf("%v %+v %#v %s %x %d %v", o, o, o, o.Value, o.Value, o.Blinding, &s) + log.String()
	for _, secret := range []string{"987654321", fmt.Sprintf("%x", 987654321), o.Blinding.big().String(), hex.EncodeToString(o.Blinding.Bytes())} {
		if strings.Contains(out, secret) {
			t.Errorf("a secret in %s", out)
		}
	}
	if n := strings.Count(out, "[pair secret]"); n != 2 {
		t.Errorf("the pair's secret shows its mark %d times, want 2: %s", n, out)
	}
}

func FuzzDecode(f *testing.F) {
	w := newWorld(f, 1, 2, 3)
	f.Add(w.share(f, 1).Bytes())
	f.Add(w.banks[0].pledge.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := DecodeShare(b); err == nil && !bytes.Equal(h.Bytes(), b) {
			t.Error("share: another encoding")
		}
		if p, err := DecodePledge(b); err == nil && !bytes.Equal(p.Bytes(), b) {
			t.Error("pledge: another encoding")
		}
		if v, err := DecodeVerdict(b); err == nil && !bytes.Equal(v.Bytes(), b) {
			t.Error("verdict: another encoding")
		}
		if o, err := DecodePairOpening(b); err == nil && !bytes.Equal(o.Bytes(), b) {
			t.Error("opening: another encoding")
		}
		if _, err := ReadVerifyingKey(InRange, b); err == nil && len(b) < 100 {
			t.Error("a key out of nothing")
		}
	})
}
