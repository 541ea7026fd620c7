package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Edit returns a configuration file with some settings changed (keys as in
// "identity.voteKey"), comments and everything else as they were. The result is
// what Load reads; it is not checked here.
func Edit(file []byte, set map[string]string) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(file, &doc); err != nil {
		return nil, fmt.Errorf("edit configuration: %w", err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("edit configuration: it is no mapping of settings")
	}
	for _, key := range sortedKeys(set) {
		if err := setNode(doc.Content[0], strings.Split(key, "."), set[key]); err != nil {
			return nil, fmt.Errorf("edit configuration: %s: %w", key, err)
		}
	}
	return yaml.Marshal(&doc)
}

func setNode(m *yaml.Node, path []string, value string) error {
	if m.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d is no mapping of settings", m.Line)
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value != path[0] {
			continue
		}
		if len(path) > 1 {
			return setNode(m.Content[i+1], path[1:], value)
		}
		old := m.Content[i+1]
		m.Content[i+1] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, LineComment: old.LineComment, HeadComment: old.HeadComment, FootComment: old.FootComment}
		return nil
	}
	next := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	if len(path) > 1 {
		next = &yaml.Node{Kind: yaml.MappingNode}
		if err := setNode(next, path[1:], value); err != nil {
			return err
		}
	}
	m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: path[0]}, next)
	return nil
}
