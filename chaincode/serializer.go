package chaincode

import (
	"errors"
	"reflect"

	"github.com/hyperledger/fabric-contract-api-go/v2/metadata"
)

// Serializer passes arguments and results through as the strings they are. The
// contracts read their own canonical JSON, so a schema check between would cost
// more than the call and quote arguments in its errors.
//
// contractapi calls FromString on goroutines of its own, where a panic cannot
// be recovered: neither method can panic.
type Serializer struct{}

var stringType = reflect.TypeFor[string]()

// FromString passes an argument on.
func (Serializer) FromString(arg string, want reflect.Type, _ *metadata.ParameterMetadata, _ *metadata.ComponentMetadata) (reflect.Value, error) {
	if want != stringType {
		return reflect.Value{}, errors.New("contract function takes something other than strings")
	}
	return reflect.ValueOf(arg), nil
}

// ToString passes a result on.
func (Serializer) ToString(result reflect.Value, got reflect.Type, _ *metadata.ReturnMetadata, _ *metadata.ComponentMetadata) (string, error) {
	if got != stringType {
		return "", errors.New("contract function returns something other than a string")
	}
	return result.String(), nil
}
