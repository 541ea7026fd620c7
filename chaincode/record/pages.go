package record

// What read functions return when there is more than one record. A page's
// bookmark is passed back to get the next page; "" means there is none.

const (
	// MaxPage bounds a page.
	MaxPage = 100
	// MaxList bounds a list that is not paged.
	MaxList = 1_000

	maxBookmark = 512
)

type MemberList struct{ Members []Member }

func (v *MemberList) fields(c *codec) { objects(c, "members", &v.Members, MaxList) }

type ClientList struct{ Clients []Client }

func (v *ClientList) fields(c *codec) { objects(c, "clients", &v.Clients, MaxList) }

type NodeList struct{ Nodes []Node }

func (v *NodeList) fields(c *codec) { objects(c, "nodes", &v.Nodes, MaxList) }

type DataKeyList struct{ DataKeys []DataKey }

func (v *DataKeyList) fields(c *codec) { objects(c, "dataKeys", &v.DataKeys, MaxList) }

type ProductList struct{ Products []Product }

func (v *ProductList) fields(c *codec) { objects(c, "products", &v.Products, MaxList) }

type TemplateList struct{ Templates []Template }

func (v *TemplateList) fields(c *codec) { objects(c, "templates", &v.Templates, MaxList) }

type ConsentPage struct {
	Bookmark string
	Consents []Consent
}

func (v *ConsentPage) fields(c *codec) {
	optText(c, "bookmark", &v.Bookmark, maxBookmark)
	objects(c, "consents", &v.Consents, MaxPage)
}

type RequestPage struct {
	Bookmark string
	Requests []Request
}

func (v *RequestPage) fields(c *codec) {
	optText(c, "bookmark", &v.Bookmark, maxBookmark)
	objects(c, "requests", &v.Requests, MaxPage)
}

func (*MemberList) maxSize() int   { return maxListSize }
func (*ClientList) maxSize() int   { return maxListSize }
func (*NodeList) maxSize() int     { return maxListSize }
func (*DataKeyList) maxSize() int  { return maxListSize }
func (*ProductList) maxSize() int  { return maxListSize }
func (*TemplateList) maxSize() int { return maxListSize }
func (*ConsentPage) maxSize() int  { return maxListSize }
func (*RequestPage) maxSize() int  { return maxListSize }

const maxListSize = 8 << 20

// maxSize bounds the JSON form of r.
func maxSize(r Record) int {
	if l, ok := r.(interface{ maxSize() int }); ok {
		return l.maxSize()
	}
	return MaxSize
}
