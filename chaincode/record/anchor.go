package record

import "errors"

// AnchorSpec is the argument of AnchorAnswers: the provider's commitment to what it
// will answer to one question about every subject during one epoch. Root is that of
// a tree of salted answers which tells nothing about any of them, nor how many they
// are; the bytes stand in the SPEC of node/answer.
type AnchorSpec struct {
	CodeHash   Hash // the template's
	Epoch      uint64
	Nonce      Hash // 32 random bytes, fresh for each tree
	Params     ParamValues
	Root       Hash
	TemplateID TemplateID
}

func (v *AnchorSpec) fields(c *codec) {
	hash(c, "codeHash", &v.CodeHash)
	number(c, "epoch", &v.Epoch)
	hash(c, "nonce", &v.Nonce)
	paramValues(c, "params", &v.Params, false)
	hash(c, "root", &v.Root)
	text(c, "templateId", &v.TemplateID, maxID)
}

// Check implements Checked.
func (v *AnchorSpec) Check() error {
	if v.Epoch == 0 {
		return errors.New("epoch: counts from 1")
	}
	if v.Nonce == (Hash{}) || v.Root == (Hash{}) || v.CodeHash == (Hash{}) {
		return errors.New("codeHash, nonce, root: zero")
	}
	return v.TemplateID.Check()
}

// Anchor is an anchored root. Its provider may replace it until the epoch is opened;
// from then on it never changes, and where there is none there will be none.
type Anchor struct {
	AnchorSpec
	AnchoredAt Millis
	AnchoredBy Address
	ProductID  ProductID
	Provider   OrgID
}

func (v *Anchor) fields(c *codec) {
	number(c, "anchoredAt", &v.AnchoredAt)
	address(c, "anchoredBy", &v.AnchoredBy)
	hash(c, "codeHash", &v.CodeHash)
	number(c, "epoch", &v.Epoch)
	hash(c, "nonce", &v.Nonce)
	paramValues(c, "params", &v.Params, false)
	text(c, "productId", &v.ProductID, maxID)
	text(c, "provider", &v.Provider, maxID)
	hash(c, "root", &v.Root)
	text(c, "templateId", &v.TemplateID, maxID)
}

// AnchorList is what ListAnchors returns.
type AnchorList struct{ Anchors []Anchor }

func (v *AnchorList) fields(c *codec) { objects(c, "anchors", &v.Anchors, MaxList) }

func (*AnchorList) maxSize() int { return maxListSize }

// anchorParams is what the digest of parameter values covers.
type anchorParams struct{ Params ParamValues }

func (v *anchorParams) fields(c *codec) { paramValues(c, "params", &v.Params, false) }

// Digest names a set of parameter values: keccak256(domain ‖ canonical JSON). The
// zero hash stands for values that are no parameters, which nothing is kept under.
func (v ParamValues) Digest() Hash {
	h, err := tagged(DomainParams, &anchorParams{v})
	if err != nil {
		return Hash{}
	}
	return h
}

// ParseParams reads parameter values from their JSON object, {"name":"value"}.
func ParseParams(text string) (ParamValues, error) {
	var v anchorParams
	if err := DecodeString(`{"params":`+text+`}`, &v); err != nil {
		return nil, err
	}
	return v.Params, nil
}

// JSON is the object that ParseParams reads; values out of bounds give "".
func (v ParamValues) JSON() string {
	b, err := Encode(&anchorParams{v})
	if err != nil {
		return ""
	}
	return string(b[len(`{"params":`) : len(b)-1])
}
