package record

import (
	"errors"
	"fmt"
)

const (
	maxNotice   = 16 << 10
	maxSource   = 8 << 10
	maxColumns  = 64
	maxParams   = 8
	maxValues   = 64
	maxOutputs  = 64
	maxValue    = 64
	maxLanguage = 35

	// MinAnswerTTL and MaxAnswerTTL bound how long an answer may be due.
	MinAnswerTTL Millis = 1_000
	MaxAnswerTTL Millis = 7 * 86_400_000
)

// NoticeSpec is the argument of PublishNotice: a privacy notice, one language,
// never personalised.
type NoticeSpec struct {
	Language string // BCP 47 tag
	NoticeID NoticeID
	Text     string
	Title    string
}

func (v *NoticeSpec) fields(c *codec) {
	text(c, "language", &v.Language, maxLanguage)
	text(c, "noticeId", &v.NoticeID, maxID)
	text(c, "text", &v.Text, maxNotice)
	text(c, "title", &v.Title, maxTitle)
}

// Check implements Checked.
func (v *NoticeSpec) Check() error {
	if err := v.NoticeID.Check(); err != nil {
		return err
	}
	if err := checkLanguage(v.Language); err != nil {
		return err
	}
	if v.Text == "" {
		return errors.New("text: empty")
	}
	return checkTitle("title", v.Title)
}

// Notice is a published notice. Consents name it by its hash.
type Notice struct {
	NoticeSpec
	NoticeHash  Hash
	OrgID       OrgID
	PublishedAt Millis
}

func (v *Notice) fields(c *codec) {
	text(c, "language", &v.Language, maxLanguage)
	hash(c, "noticeHash", &v.NoticeHash)
	text(c, "noticeId", &v.NoticeID, maxID)
	text(c, "orgId", &v.OrgID, maxID)
	number(c, "publishedAt", &v.PublishedAt)
	text(c, "text", &v.Text, maxNotice)
	text(c, "title", &v.Title, maxTitle)
}

// Class says what may leave a column, and how much of it.
type Class struct {
	BitsPerEpoch uint64 // ANSWER_ONLY: leak account of one subject, per epoch
	BitsPerYear  uint64 // ANSWER_ONLY: and per year
	EpsilonMicro uint64 // STAT_ONLY: privacy budget, millionths
	K            uint64 // STAT_ONLY: smallest cohort
	Kind         ClassKind
}

func (v *Class) fields(c *codec) {
	optNumber(c, "bitsPerEpoch", &v.BitsPerEpoch)
	optNumber(c, "bitsPerYear", &v.BitsPerYear)
	optNumber(c, "epsilonMicro", &v.EpsilonMicro)
	optNumber(c, "k", &v.K)
	enum(c, "kind", &v.Kind, classKinds)
}

func (v *Class) check() error {
	answer := v.Kind == ClassAnswerOnly
	if answer && (v.BitsPerEpoch == 0 || v.BitsPerYear < v.BitsPerEpoch) {
		return errors.New("class: ANSWER_ONLY wants bitsPerEpoch, and bitsPerYear at least as large")
	}
	if !answer && (v.BitsPerEpoch != 0 || v.BitsPerYear != 0) {
		return errors.New("class: bits belong to ANSWER_ONLY")
	}
	stat := v.Kind == ClassStatOnly
	if stat && (v.K < 2 || v.EpsilonMicro == 0) {
		return errors.New("class: STAT_ONLY wants k of at least 2, and epsilonMicro")
	}
	if !stat && (v.K != 0 || v.EpsilonMicro != 0) {
		return errors.New("class: k and epsilonMicro belong to STAT_ONLY")
	}
	return nil
}

// Column is one column of a data product.
type Column struct {
	Class     Class
	DataClass DataClass
	Name      string
	Type      ColumnType
}

func (v *Column) fields(c *codec) {
	object(c, "class", &v.Class)
	enum(c, "dataClass", &v.DataClass, dataClasses)
	text(c, "name", &v.Name, maxID)
	enum(c, "type", &v.Type, columnTypes)
}

// ProductSpec is the argument of PublishProduct.
type ProductSpec struct {
	Columns   []Column // strictly ascending by name
	Methods   []Method // accepted ways of authorising, strictly ascending
	ProductID ProductID
	Purposes  []Purpose // accepted purposes, strictly ascending
	Title     string
	Version   uint64
}

func (v *ProductSpec) fields(c *codec) {
	objects(c, "columns", &v.Columns, maxColumns)
	enums(c, "methods", &v.Methods, methods)
	text(c, "productId", &v.ProductID, maxID)
	enums(c, "purposes", &v.Purposes, purposes)
	text(c, "title", &v.Title, maxTitle)
	number(c, "version", &v.Version)
}

// Check implements Checked.
func (v *ProductSpec) Check() error {
	if err := v.ProductID.Check(); err != nil {
		return err
	}
	if v.Version == 0 {
		return errors.New("version: counts from 1")
	}
	if len(v.Columns) == 0 {
		return errors.New("columns: want at least one")
	}
	for i := range v.Columns {
		col := &v.Columns[i]
		if i > 0 && v.Columns[i-1].Name >= col.Name {
			return errors.New("columns: want strictly ascending names")
		}
		if err := checkIdentifier("column name", col.Name); err != nil {
			return err
		}
		if err := col.Class.check(); err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	if err := checkSet("methods", v.Methods, 1); err != nil {
		return err
	}
	if err := checkSet("purposes", v.Purposes, 1); err != nil {
		return err
	}
	return checkTitle("title", v.Title)
}

// Column returns the named column.
func (v *ProductSpec) Column(name string) (*Column, bool) {
	for i := range v.Columns {
		if v.Columns[i].Name == name {
			return &v.Columns[i], true
		}
	}
	return nil, false
}

// Product is a data product: what a provider offers. It never changes but for
// being retired, or suspended by an authority; a new version is a new product id.
type Product struct {
	ProductSpec
	Provider    OrgID
	PublishedAt Millis
	PublishedBy Address
	RetiredAt   Millis
	Suspension  *Suspension // nil: not suspended
}

func (v *Product) fields(c *codec) {
	objects(c, "columns", &v.Columns, maxColumns)
	enums(c, "methods", &v.Methods, methods)
	text(c, "productId", &v.ProductID, maxID)
	text(c, "provider", &v.Provider, maxID)
	number(c, "publishedAt", &v.PublishedAt)
	address(c, "publishedBy", &v.PublishedBy)
	enums(c, "purposes", &v.Purposes, purposes)
	optNumber(c, "retiredAt", &v.RetiredAt)
	optObject(c, "suspension", &v.Suspension)
	text(c, "title", &v.Title, maxTitle)
	number(c, "version", &v.Version)
}

// Param is a parameter of a template and every value it may take.
type Param struct {
	Name   string
	Type   ColumnType
	Values []string // distinct, in the provider's order
}

func (v *Param) fields(c *codec) {
	text(c, "name", &v.Name, maxID)
	enum(c, "type", &v.Type, columnTypes)
	texts(c, "values", &v.Values, maxValues, maxValue)
}

// TemplateSpec is the argument of ProposeTemplate, and what its code hash covers.
type TemplateSpec struct {
	AnswerTTL  Millis      // how long after the permit the answer is due, milliseconds
	Cohort     *CohortPlan // COHORT only
	Columns    []string    // columns the source reads, strictly ascending
	CostLimit  uint64      // evaluation cost, in the evaluator's units
	Kind       TemplateKind
	Outputs    []string // everything it can say, NO_RECORD among it, in the provider's order
	Params     []Param  // strictly ascending by name
	ProductID  ProductID
	Source     string // CEL
	TemplateID TemplateID
	Version    uint64
}

func (v *TemplateSpec) fields(c *codec) {
	number(c, "answerTtlMs", &v.AnswerTTL)
	optObject(c, "cohort", &v.Cohort)
	texts(c, "columns", &v.Columns, maxColumns, maxID)
	number(c, "costLimit", &v.CostLimit)
	enum(c, "kind", &v.Kind, templateKinds)
	texts(c, "outputs", &v.Outputs, maxOutputs, maxValue)
	objects(c, "params", &v.Params, maxParams)
	text(c, "productId", &v.ProductID, maxID)
	text(c, "source", &v.Source, maxSource)
	text(c, "templateId", &v.TemplateID, maxID)
	number(c, "version", &v.Version)
}

// Check implements Checked.
func (v *TemplateSpec) Check() error {
	if err := v.TemplateID.Check(); err != nil {
		return err
	}
	if err := v.ProductID.Check(); err != nil {
		return err
	}
	if v.Version == 0 || v.CostLimit == 0 {
		return errors.New("version and costLimit: count from 1")
	}
	if v.Source == "" {
		return errors.New("source: empty")
	}
	if v.AnswerTTL < MinAnswerTTL || v.AnswerTTL > MaxAnswerTTL {
		return fmt.Errorf("answerTtlMs: want %d to %d", MinAnswerTTL, MaxAnswerTTL)
	}
	if err := checkSet("columns", v.Columns, 1); err != nil {
		return err
	}
	switch {
	case v.Kind == CohortKind:
		return v.checkCohort()
	case v.Cohort != nil:
		return errors.New("cohort: belongs to COHORT")
	case v.Kind == Total:
		return v.checkTotal()
	}
	if err := checkValues("outputs", v.Outputs, 2); err != nil {
		return err
	}
	if !HasItem(v.Outputs, NoRecord) {
		return errors.New("outputs: want NO_RECORD among them")
	}
	return v.checkParams()
}

func (v *TemplateSpec) checkParams() error {
	for i := range v.Params {
		p := &v.Params[i]
		if i > 0 && v.Params[i-1].Name >= p.Name {
			return errors.New("params: want strictly ascending names")
		}
		if err := checkIdentifier("parameter name", p.Name); err != nil {
			return err
		}
		if err := checkValues("parameter values", p.Values, 1); err != nil {
			return err
		}
	}
	return nil
}

// Accepts reports whether values gives every parameter, and nothing else, a
// value from its enumeration.
func (v *TemplateSpec) Accepts(values ParamValues) bool {
	if len(values) != len(v.Params) {
		return false
	}
	for i := range values {
		if values[i].Name != v.Params[i].Name || !listed(values[i].Value, v.Params[i].Values) {
			return false
		}
	}
	return true
}

// Template is an approved query template. It never changes but for being
// retired, or suspended by an authority; new text is a new template id.
type Template struct {
	TemplateSpec
	ApprovedAt Millis
	ApprovedBy Address // never ProposedBy
	CodeHash   Hash
	ProposedAt Millis
	ProposedBy Address
	Provider   OrgID
	RetiredAt  Millis
	Suspension *Suspension // nil: not suspended
}

func (v *Template) fields(c *codec) {
	number(c, "answerTtlMs", &v.AnswerTTL)
	number(c, "approvedAt", &v.ApprovedAt)
	address(c, "approvedBy", &v.ApprovedBy)
	hash(c, "codeHash", &v.CodeHash)
	optObject(c, "cohort", &v.Cohort)
	texts(c, "columns", &v.Columns, maxColumns, maxID)
	number(c, "costLimit", &v.CostLimit)
	enum(c, "kind", &v.Kind, templateKinds)
	texts(c, "outputs", &v.Outputs, maxOutputs, maxValue)
	objects(c, "params", &v.Params, maxParams)
	text(c, "productId", &v.ProductID, maxID)
	number(c, "proposedAt", &v.ProposedAt)
	address(c, "proposedBy", &v.ProposedBy)
	text(c, "provider", &v.Provider, maxID)
	optNumber(c, "retiredAt", &v.RetiredAt)
	text(c, "source", &v.Source, maxSource)
	optObject(c, "suspension", &v.Suspension)
	text(c, "templateId", &v.TemplateID, maxID)
	number(c, "version", &v.Version)
}

// Epoch is a product's current accounting period. Epochs count from 1.
type Epoch struct {
	Epoch     uint64
	OpenedAt  Millis
	OpenedBy  Address
	ProductID ProductID
	Provider  OrgID
}

func (v *Epoch) fields(c *codec) {
	number(c, "epoch", &v.Epoch)
	number(c, "openedAt", &v.OpenedAt)
	address(c, "openedBy", &v.OpenedBy)
	text(c, "productId", &v.ProductID, maxID)
	text(c, "provider", &v.Provider, maxID)
}

// checkIdentifier keeps names that templates use to [a-z][a-z0-9_]*.
func checkIdentifier(what, s string) error {
	ok := s != "" && s[0] >= 'a' && s[0] <= 'z'
	for i := 0; ok && i < len(s); i++ {
		ok = s[i] >= 'a' && s[i] <= 'z' || s[i] >= '0' && s[i] <= '9' || s[i] == '_'
	}
	if !ok {
		return fmt.Errorf("%s: want a lower-case identifier", what)
	}
	return nil
}

func checkValues(what string, values []string, min int) error {
	if len(values) < min {
		return fmt.Errorf("%s: want at least %d", what, min)
	}
	for i, v := range values {
		if v == "" || !printable(v) {
			return fmt.Errorf("%s: want text without control characters", what)
		}
		if listed(v, values[:i]) {
			return fmt.Errorf("%s: repeated", what)
		}
	}
	return nil
}

func checkLanguage(s string) error {
	ok := len(s) >= 2 && s[0] != '-' && s[len(s)-1] != '-'
	for i := 0; ok && i < len(s); i++ {
		ok = s[i] != '.' && s[i] != '_' && nameByte(s[i], false)
	}
	if !ok {
		return errors.New("language: want a BCP 47 tag")
	}
	return nil
}
