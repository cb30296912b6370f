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

// body reads the object in the request's body; an empty one is {}. Every field that
// can't be used, and every required one that is missing, is told.
func (c *call) body(want content, required ...string) error {
	object, err := c.readObject()
	if err != nil {
		return err
	}
	var faults []fault
	given := map[string]bool{}
	for _, f := range object {
		into, known := want[f.name]
		switch {
		case !known:
			faults = append(faults, fieldFault(f.name, "is not a field here; "+fieldList(want)))
		case given[f.name]:
			faults = append(faults, fieldFault(f.name, "is there twice"))
		case string(f.value) == "null":
			faults = append(faults, fieldFault(f.name, "is null; leave the field out instead"))
		case json.Unmarshal(f.value, into) != nil, !isWritable(into):
			faults = append(faults, fieldFault(f.name, "is not "+described(into)))
		case !isText(into):
			faults = append(faults, fieldFault(f.name, "contains a NUL"))
		}
		given[f.name] = true
	}
	for _, name := range required {
		if !given[name] {
			faults = append(faults, fieldFault(name, "is missing; it is "+described(want[name])))
		}
	}
	if len(faults) > 0 {
		return problemOf(invalid, "", faults...)
	}
	return nil
}

func fieldList(want content) string {
	if len(want) == 0 {
		return "there are none"
	}
	return "the fields are " + strings.Join(slices.Sorted(maps.Keys(want)), ", ")
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

// field is one member of an object.
type field struct {
	name  string
	value json.RawMessage
}

// readObject reads a JSON object, its fields in their order.
func (c *call) readObject() ([]field, error) {
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
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
	if len(b) == 0 {
		return nil, nil
	}
	if !utf8.Valid(b) {
		return nil, problemOf(malformed, "the body is not UTF-8")
	}
	list, err := parseObject(b)
	if err != nil {
		return nil, problemOf(malformed, "the body is not a JSON object: "+err.Error())
	}
	return list, nil
}

func isJSON(contentType string) bool {
	kind, params, err := mime.ParseMediaType(contentType)
	charset := params["charset"]
	return err == nil && kind == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8"))
}

// parseObject splits an object into its fields. Unlike encoding/json alone it tells
// upper from lower case, and twice from once.
func parseObject(b []byte) (list []field, err error) {
	if !json.Valid(b) {
		var any json.RawMessage
		return nil, json.Unmarshal(b, &any) // which says where
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is another kind of value")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		f := field{}
		f.name, _ = name.(string) // as the name of a member is
		if err := d.Decode(&f.value); err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}
