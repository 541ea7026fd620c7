package openapi

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"

	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

type document struct {
	OpenAPI string                    `json:"openapi"`
	Paths   map[string]map[string]any `json:"paths"`
	Parts   struct {
		Schemas map[string]struct {
			Type       string         `json:"type"`
			Enum       []string       `json:"enum"`
			Properties map[string]any `json:"properties"`
		} `json:"schemas"`
	} `json:"components"`
}

const remedy = ": run node/api/generate.sh"

func read(t *testing.T) document {
	t.Helper()
	var d document
	if err := json.Unmarshal(JSON, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func files() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{
		assentv1.File_assent_v1_ledger_proto, assentv1.File_assent_v1_delivery_proto, assentv1.File_assent_v1_provider_proto, assentv1.File_assent_v1_errors_proto, assentv1.File_assent_v1_network_proto,
	}
}

// Every method, message, field and value of the .proto files is described, with
// its own words, and nothing else is.
func TestDescriptionHasWhatTheServicesHave(t *testing.T) {
	d := read(t)
	if d.OpenAPI != "3.1.0" {
		t.Errorf("version %s", d.OpenAPI)
	}
	methods, schemas := 2, map[string]bool{"Readiness": true, "connect.error": true} // health
	for _, f := range files() {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				methods++
				path := "/" + string(s.FullName()) + "/" + string(m.Name())
				post, ok := d.Paths[path]["post"].(map[string]any)
				if !ok {
					t.Errorf("%s is not described%s", path, remedy)
					continue
				}
				text, _ := post["description"].(string)
				if !strings.HasPrefix(text, string(m.Name())+" ") || len(text) < 20 {
					t.Errorf("%s is described as %q: say in the .proto file what it does", path, text)
				}
			}
		}
		for i := range f.Messages().Len() {
			m := f.Messages().Get(i)
			checkMessage(t, d, m)
			schemas[string(m.FullName())] = true
			for j := range m.Enums().Len() {
				checkEnum(t, d, m.Enums().Get(j))
				schemas[string(m.Enums().Get(j).FullName())] = true
			}
		}
		for i := range f.Enums().Len() {
			checkEnum(t, d, f.Enums().Get(i))
			schemas[string(f.Enums().Get(i).FullName())] = true
		}
	}
	if len(d.Paths) != methods {
		t.Errorf("%d paths are described, the services have %d%s", len(d.Paths), methods, remedy)
	}
	for name := range d.Parts.Schemas {
		if !schemas[name] {
			t.Errorf("%s is described and is in no .proto file%s", name, remedy)
		}
	}
}

func checkMessage(t *testing.T, d document, m protoreflect.MessageDescriptor) {
	t.Helper()
	s, ok := d.Parts.Schemas[string(m.FullName())]
	if !ok {
		t.Errorf("%s is not described%s", m.FullName(), remedy)
		return
	}
	for i := range m.Fields().Len() {
		if name := m.Fields().Get(i).JSONName(); s.Properties[name] == nil {
			t.Errorf("%s.%s is not described%s", m.FullName(), name, remedy)
		}
	}
	if len(s.Properties) != m.Fields().Len() {
		t.Errorf("%s is described with %d fields and has %d%s", m.FullName(), len(s.Properties), m.Fields().Len(), remedy)
	}
}

func checkEnum(t *testing.T, d document, e protoreflect.EnumDescriptor) {
	t.Helper()
	var want []string
	for i := range e.Values().Len() {
		want = append(want, string(e.Values().Get(i).Name()))
	}
	if got := d.Parts.Schemas[string(e.FullName())].Enum; !reflect.DeepEqual(got, want) {
		t.Errorf("%s is described with the values %v, it has %v%s", e.FullName(), got, want, remedy)
	}
}

func TestYAMLAndJSONSayTheSame(t *testing.T) {
	var y, j any
	if err := yaml.Unmarshal(YAML, &y); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(JSON, &j); err != nil {
		t.Fatal(err)
	}
	// Through JSON, in which there is one kind of number.
	b, err := json.Marshal(y)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(y, j) {
		t.Error("openapi.yaml and openapi.json differ" + remedy)
	}
}

// References lead somewhere.
func TestReferences(t *testing.T) {
	d := read(t)
	for _, part := range bytes.Split(JSON, []byte(`"$ref": "`))[1:] {
		ref, _, _ := strings.Cut(string(part), `"`)
		if name, ok := strings.CutPrefix(ref, "#/components/schemas/"); !ok || d.Parts.Schemas[name].Type == "" {
			t.Errorf("%s leads nowhere", ref)
		}
	}
}

// Where the tools are, generating again gives the committed bytes.
func TestGeneratedAnew(t *testing.T) {
	for _, tool := range []string{"protoc", "protoc-gen-connect-openapi"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed; TestDescriptionHasWhatTheServicesHave holds the file against the descriptors", tool)
		}
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "./generate.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, committed := range map[string][]byte{"openapi.yaml": YAML, "openapi.json": JSON} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, committed) {
			t.Errorf("%s is not what the .proto files give%s", name, remedy)
		}
	}
}
