package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// document is openapi.json, as far as the tests look at it.
type document struct {
	OpenAPI    string
	Paths      map[string]pathItem
	Components struct {
		Parameters map[string]parameter
		Responses  map[string]response
		Schemas    map[string]*schema
	}
}

type pathItem struct {
	Parameters               []reference
	Get, Post, Patch, Delete *documented
}

// operation returns that of a method, nil if there is none.
func (p pathItem) operation(method string) *documented {
	return map[string]*documented{"GET": p.Get, "POST": p.Post, "PATCH": p.Patch, "DELETE": p.Delete}[method]
}

type documented struct {
	ID          string `json:"operationId"`
	Summary     string
	Description string
	Right       string `json:"x-right"`
	Parameters  []reference
	RequestBody *response
	Responses   map[string]response
}

type reference struct {
	Ref string `json:"$ref"`
}

type parameter struct {
	Name, In, Description string
	Required              bool
	Schema                *schema
}

type response struct {
	Ref         string `json:"$ref"`
	Description string
	Required    bool
	Headers     map[string]parameter
	Content     map[string]struct{ Schema *schema }
}

// schema is the part of JSON Schema that the document uses; reading it fails on any
// other keyword.
type schema struct {
	Ref                  string             `json:"$ref"`
	Type                 string             `json:"type"`
	Description          string             `json:"description"`
	Properties           map[string]*schema `json:"properties"`
	Required             []string           `json:"required"`
	AdditionalProperties json.RawMessage    `json:"additionalProperties"`
	Items                *schema            `json:"items"`
	MinItems             int                `json:"minItems"`
	Enum                 []string           `json:"enum"`
	Format               string             `json:"format"`
	Minimum              *float64           `json:"minimum"`
	Maximum              *float64           `json:"maximum"`
	Default              any                `json:"default"`
}

// UnmarshalJSON refuses what check would not look at.
func (s *schema) UnmarshalJSON(b []byte) error {
	type plain schema
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	return d.Decode((*plain)(s))
}

func readDocument(t testing.TB) *document {
	t.Helper()
	d := new(document)
	require.NoError(t, json.Unmarshal(openAPI, d))
	return d
}

// resolve follows a reference to a schema.
func (d *document) resolve(s *schema) *schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return d.Components.Schemas[name]
	}
	return s
}

// parameter follows a reference to a parameter.
func (d *document) parameter(r reference) parameter {
	return d.Components.Parameters[strings.TrimPrefix(r.Ref, "#/components/parameters/")]
}

// body is the schema of what an operation takes, nil if it takes nothing.
func (d *document) body(op *documented) *schema {
	if op.RequestBody == nil {
		return nil
	}
	return d.resolve(op.RequestBody.Content["application/json"].Schema)
}

// check holds an answer against what is documented for an operation.
func (d *document) check(t testing.TB, method, pattern string, a answer) {
	t.Helper()
	where := fmt.Sprintf("%s %s: %d %s", method, pattern, a.Status, a.Body)
	documented := d.Components.Responses["Problem"]
	if a.Status < 400 {
		op := d.Paths[pattern].operation(method)
		require.NotNil(t, op, where)
		var ok bool
		documented, ok = op.Responses[fmt.Sprint(a.Status)]
		require.True(t, ok, where)
		for name := range documented.Headers {
			require.NotEmpty(t, a.Header.Get(name), where)
		}
	}
	contentType := a.Header.Get("Content-Type")
	if len(documented.Content) == 0 {
		require.Empty(t, a.Body, where)
		return
	}
	content, ok := documented.Content[contentType]
	require.True(t, ok, "%s is %q", where, contentType)
	if content.Schema.Format == "binary" {
		return
	}
	var v any
	require.NoError(t, json.Unmarshal([]byte(a.Body), &v), where)
	require.NoError(t, d.validate(content.Schema, v, "answer"), where)
}

// validate holds a value against a schema.
func (d *document) validate(s *schema, v any, at string) error {
	s = d.resolve(s)
	switch s.Type {
	case "": // anything
	case "string":
		text, ok := v.(string)
		if !ok {
			return fmt.Errorf("%s is no string", at)
		}
		return s.validateText(text, at)
	case "boolean":
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("%s is no boolean", at)
		}
	case "integer", "number":
		n, ok := v.(float64)
		if !ok || s.Type == "integer" && n != math.Trunc(n) {
			return fmt.Errorf("%s is no %s", at, s.Type)
		}
		if s.Minimum != nil && n < *s.Minimum || s.Maximum != nil && n > *s.Maximum {
			return fmt.Errorf("%s is %v, out of range", at, n)
		}
	case "array":
		list, ok := v.([]any)
		if !ok || len(list) < s.MinItems {
			return fmt.Errorf("%s is no array, or a short one", at)
		}
		for i, e := range list {
			if err := d.validate(s.Items, e, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case "object":
		return d.validateObject(s, v, at)
	default:
		return fmt.Errorf("%s: type %q", at, s.Type)
	}
	return nil
}

func (s *schema) validateText(text, at string) error {
	var err error
	switch s.Format {
	case "":
	case "date-time":
		var when time.Time
		if when, err = time.Parse(time.RFC3339, text); err == nil && (when.Format("2006-01-02T15:04:05.000000Z") != text || when.Year() < 2000) {
			err = errors.New("it is not in UTC, has not six fraction digits, or is zero")
		}
	case "uri":
		var u *url.URL
		if u, err = url.Parse(text); err == nil && !u.IsAbs() {
			err = errors.New("it is relative")
		}
	default:
		err = fmt.Errorf("format %q", s.Format)
	}
	if err == nil && s.Enum != nil && !slices.Contains(s.Enum, text) {
		err = fmt.Errorf("it is none of %q", s.Enum)
	}
	if err != nil {
		return fmt.Errorf("%s is %q: %w", at, text, err)
	}
	return nil
}

func (d *document) validateObject(s *schema, v any, at string) error {
	object, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%s is no object", at)
	}
	for _, name := range s.Required {
		if _, ok := object[name]; !ok {
			return fmt.Errorf("%s.%s is missing", at, name)
		}
	}
	for name, member := range object {
		of := s.Properties[name]
		if of == nil {
			if string(s.AdditionalProperties) == "false" {
				return fmt.Errorf("%s.%s is not documented", at, name)
			}
			of = new(schema)
			if err := json.Unmarshal(s.AdditionalProperties, of); err != nil {
				return fmt.Errorf("%s.%s: %w", at, name, err)
			}
		}
		if err := d.validate(of, member, at+"."+name); err != nil {
			return err
		}
	}
	return nil
}
