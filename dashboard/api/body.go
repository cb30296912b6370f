package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hookpost/hookpost/store"
)

// maxBody bounds what a request may hold, in bytes.
const maxBody = 1 << 20

// content are the fields that an operation takes, each with a pointer to what it is
// read into.
type content map[string]any

// body reads the object in the request's body; an empty one is {}. The fields that
// can't be used, and the required ones that are missing, are told, up to maxFaults.
func (c *call) body(want content, required ...string) error {
	b, err := c.readBody()
	if err != nil {
		return err
	}
	var faults []fault
	given := map[string]bool{}
	err = eachField(b, func(name string, value json.RawMessage) bool {
		if text := faultOf(want, given, name, value); text != "" {
			faults = append(faults, fieldFault(name, text))
		}
		if _, known := want[name]; known {
			given[name] = true
		}
		return len(faults) < maxFaults
	})
	if err != nil {
		return problemOf(malformed, "the body is not a JSON object: "+err.Error())
	}
	for _, name := range required {
		if !given[name] && len(faults) < maxFaults {
			faults = append(faults, fieldFault(name, "is missing; it is "+described(want[name])))
		}
	}
	return refused(invalid, faults)
}

// faultOf reads a field and says what is wrong with it.
func faultOf(want content, given map[string]bool, name string, value json.RawMessage) string {
	into, known := want[name]
	switch {
	case !known:
		return "is not a field here; " + fieldList(want)
	case given[name]:
		return "is there twice"
	case string(value) == "null":
		return "is null; leave the field out instead"
	case isLong(into, value):
		return fmt.Sprintf("has more than %d elements", maxElements)
	case json.Unmarshal(value, into) != nil, !isWritable(into):
		return "is not " + described(into)
	case !isText(into):
		return "contains a NUL"
	}
	return ""
}

func fieldList(want content) string {
	if len(want) == 0 {
		return "there are none"
	}
	return "the fields are " + strings.Join(slices.Sorted(maps.Keys(want)), ", ")
}

// maxElements bounds a list before it is read. The sender accepts fewer.
const maxElements = 10_000

// isLong reports whether a list may have more elements. No element that is acceptable
// has a comma.
func isLong(into any, value json.RawMessage) bool {
	_, isList := into.(*[]string)
	return isList && bytes.Count(value, []byte(",")) >= maxElements
}

// isText reports whether a store can look for a string that was read.
func isText(into any) bool {
	switch s := into.(type) {
	case *string:
		return store.IsText(*s)
	case **string:
		return *s == nil || store.IsText(**s)
	}
	return true
}

// isWritable reports whether a time that was read can be written again, in UTC:
// the year 10000 begins earlier in the east.
func isWritable(into any) bool {
	t, ok := into.(*time.Time)
	return !ok || t.UTC().Year() >= 0 && t.UTC().Year() <= 9999
}

// described says what a field that is read into a variable must be.
func described(into any) string {
	switch into.(type) {
	case *[]string:
		return "a list of strings"
	case *bool:
		return "true or false"
	case **int:
		return "a whole number"
	case *time.Time:
		return "a time such as 2026-05-24T10:02:14Z"
	}
	return "a string"
}

// readBody reads a body that is to be JSON; nil stands for none.
func (c *call) readBody() ([]byte, error) {
	b, err := io.ReadAll(c.r.Body)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, problemOf(tooLarge, fmt.Sprintf("the body has more than %d bytes", maxBody))
	}
	if err != nil {
		return nil, problemOf(malformed, "the body ended early")
	}
	contentType := c.r.Header.Get("Content-Type")
	if len(b) == 0 && contentType == "" {
		return nil, nil
	}
	if !isJSON(contentType) {
		c.w.Header().Set("Accept-Post", "application/json")
		return nil, problemOf(wrongType, "the Content-Type must be application/json, in UTF-8")
	}
	if !utf8.Valid(b) {
		return nil, problemOf(malformed, "the body is not UTF-8")
	}
	return b, nil
}

func isJSON(contentType string) bool {
	kind, params, err := mime.ParseMediaType(contentType)
	charset := params["charset"]
	return err == nil && kind == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8"))
}

// eachField calls f with the fields of an object in their order, until it returns
// false. Nothing is an object without fields. Unlike encoding/json alone it tells
// upper from lower case, and twice from once. A value lives as long as the call. A body that is not an object is an error
// before the first call.
func eachField(b []byte, f func(name string, value json.RawMessage) bool) error {
	if len(b) == 0 {
		return nil
	}
	if !json.Valid(b) {
		var any json.RawMessage
		return json.Unmarshal(b, &any) // which says where
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("it is another kind of value")
	}
	var value json.RawMessage
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		if err := d.Decode(&value); err != nil {
			return err
		}
		if name, _ := t.(string); !f(name, value) {
			return nil
		}
	}
	return nil
}
