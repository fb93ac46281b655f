package query_test

import (
	"errors"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

func TestConditionErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text    string
		column  int
		problem string
	}{
		{``, 1, "expected a property, a constant or a function, found the end of the text"},
		{`  `, 3, "found the end of the text"},
		{`a =`, 4, "found the end of the text"},
		{`a = 1 b`, 7, `expected AND, OR or the end of the condition, found "b"`},
		{`a = b = c`, 7, "expected AND, OR"},
		{`(a = 1`, 7, `expected ")" to close the parenthesis`},
		{`a = 1)`, 6, `found ")"`},
		{`AND a`, 1, `expected the name of a property, found "AND"`},
		{`tags.group = 1`, 6, `written [[group]]`},
		{`tags. = 1`, 7, `expected the name of a property, found "="`},
		{`tags.43 = 1`, 6, `expected the name of a property, found "43"`},
		{`tags.a-b = c d`, 14, `found "d"`},
		{`a IN (1, 2)`, 6, "a list in square brackets"},
		{`a IN [1 2]`, 9, `expected "," or "]" in the list`},
		{`a IN [1,`, 9, "found the end of the text"},
		{`a IN [b]`, 7, "a list holds constants only"},
		{`a IN [[b]]`, 6, "a list in square brackets"},
		{`LOWER(a) = 'b'`, 1, `unknown function "LOWER"; conditions on twins know IS_DEFINED, STARTSWITH, ENDSWITH, ARRAY_CONTAINS`},
		{`STARTS_WITH(a, 'b')`, 1, `unknown function "STARTS_WITH"; in queries it is spelled STARTSWITH`},
		{`a = 1 AND ends_with(a, 'b')`, 11, `unknown function "ends_with"; in queries it is spelled ENDSWITH`},
		{`ISDEFINED(a)`, 1, `unknown function "ISDEFINED"`},
		{`STARTSWITH(a)`, 13, `expected "," between the two arguments`},
		{`ENDSWITH(a, 'b'`, 16, `expected ")"`},
		{`IS_DEFINED('a')`, 12, "expected the name of a property, found a string"},
		{`COUNT() > 1`, 1, "unknown function"},
		{`a LIKE 'b%'`, 3, "LIKE is not part of IoT Hub's query language"},
		{`a = 1 ORDER BY b`, 7, "ORDER is not part"},
		{`a = 'b`, 5, "the string has no closing '"},
		{`a = "b'`, 5, `the string has no closing "`},
		{`a = 'b\d'`, 7, "unknown escape"},
		{`a = '\u12'`, 6, "four hexadecimal digits"},
		{`a = '\ud83d'`, 6, "half a surrogate pair"},
		{`[[a = 1`, 1, "no closing ]]"},
		{`a = 1x`, 5, "is no number"},
		{`a = 0x`, 5, "is no number"},
		{`a = 1e999`, 5, "too large"},
		{`a = 0xFFFFFFFFFFFFFFFFF`, 5, "too large"},
		{`a # b`, 3, "has no meaning here; put a name with unusual characters in [[ ]]"},

		// what people paste, with what to write
		{`SELECT * FROM devices WHERE tags.building = '43'`, 1, "leave out SELECT … WHERE, and write only what stands behind it, from column 29 on"},
		{" select deviceId\nfrom devices\nwhere a = 1", 2, "leave out SELECT … WHERE, and write only what stands behind it, from line 3, column 7 on"},
		{`SELECT * FROM devices`, 1, "it has no condition: to select all, write IS_DEFINED(deviceId)"},
		{`SELECT`, 1, "it has no condition"},
		{`WHERE tags.building = '43'`, 1, "leave out WHERE, and write only what stands behind it"},
		{`*`, 1, "* is no condition: to select all, write IS_DEFINED(deviceId)"},
		{`tags.building = ‘43’`, 17, `'‘' is a typographic quotation mark: a string stands in ' or "`},
		{`tags.building = “43”`, 17, `is a typographic quotation mark`},
		{"`tags`.building = '43'", 1, `is a typographic quotation mark`},
		{`a == 1`, 4, "= is the comparison: write it once"},
		{`a => 1`, 4, "the operator is spelled >="},
		{`a =< 1`, 4, "the operator is spelled <="},
		{`tags.x IS NULL`, 8, "write NOT IS_DEFINED(tags.x)"},
		{`(tags.x is not null)`, 9, "write IS_DEFINED(tags.x)"},
		{`tags.x IS DEFINED AND b`, 8, "write IS_DEFINED(tags.x)"},
		{`tags.x IS NOT DEFINED`, 8, "write NOT IS_DEFINED(tags.x)"},
		{`tags.x IS`, 8, "write IS_DEFINED(tags.x)"},
		{`1 IS NULL`, 3, "write NOT IS_DEFINED(the property)"},
		{`tags.x EXISTS`, 8, "write IS_DEFINED(tags.x)"},
		{`deviceId IN ('a','b')`, 13, `expected a list in square brackets, such as ['a', 'b'], found "("`},
		{`deviceId NOT IN ['a']`, 10, "NOT IN is spelled NIN"},
		{`tags.building = '43';`, 21, "leave out the semicolon"},
		{`a ; b`, 3, "leave out the semicolon"},
		{`tags.a = 1 && tags.b = 2`, 12, "& and && are written AND"},
		{`tags.a = 1 || tags.b = 2`, 12, "| and || are written OR"},
		{`!tags.a`, 1, "! is written NOT"},
		{`tags['cost-center'] = 1`, 5, "without quotation marks: tags.[[cost-center]]"},
		{`a BETWEEN 1 AND 2`, 3, "BETWEEN is not part of IoT Hub's query language; write >= and <="},
		{`a LIKE 'b%'`, 3, "STARTSWITH and ENDSWITH test the ends of a string"},
		{"a = '\xff'", 6, "not valid UTF-8"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			_, err := query.ParseCondition(tt.text)
			syntax, ok := errors.AsType[*query.SyntaxError](err)
			g.Expect(ok).To(BeTrue(), "%v", err)
			g.Expect(syntax.Problem).To(ContainSubstring(tt.problem))
			g.Expect(syntax.Column).To(Equal(tt.column))
			g.Expect(syntax.Line).To(Equal(1))
		})
	}
}

func TestErrorPosition(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	_, err := query.ParseCondition("tags.ü = 'é' AND\n  tags.ö = = 1")
	syntax, ok := errors.AsType[*query.SyntaxError](err)
	g.Expect(ok).To(BeTrue())
	g.Expect(*syntax).To(Equal(query.SyntaxError{
		Offset: 31, Line: 2, Column: 12,
		Problem: "= is the comparison: write it once",
	}))
	g.Expect(err).To(MatchError(HavePrefix("line 2, column 12: ")))
}

func TestLengthLimit(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	const frame = "a = ''"
	atLimit := "a = '" + strings.Repeat("é", query.MaxLength-len(frame)) + "'"
	_, err := query.ParseCondition(atLimit)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = query.ParseCondition(atLimit + " ")
	g.Expect(err).To(MatchError(ContainSubstring("longer than 8192 characters")))
}

func TestNestingLimit(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"parentheses": strings.Repeat("(", 4000),
		"closed":      strings.Repeat("(", 4000) + "a" + strings.Repeat(")", 4000),
		"NOT":         strings.Repeat("NOT ", 2000) + "a",
		"signs":       strings.Repeat("-", 4000) + "a",
		"sums":        "a" + strings.Repeat("+a", 4000),
		"functions":   strings.Repeat("STARTSWITH(", 700),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			_, err := query.ParseCondition(text)
			g.Expect(err).To(MatchError(ContainSubstring("levels")))
		})
	}
}

// The deepest condition that is accepted must still be accepted in its
// canonical spelling, which has more parentheses.
func TestDeepestConditionRoundTrips(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"NOT":  strings.Repeat("NOT ", 63) + "a",
		"sums": "a = b" + strings.Repeat("+a", 62),
		"long": "a = 1" + strings.Repeat(" OR a = 1", 900),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			condition, err := query.ParseCondition(text)
			g.Expect(err).NotTo(HaveOccurred())
			again, err := query.ParseCondition(condition.String())
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(again.String()).To(Equal(condition.String()))
		})
	}
}
